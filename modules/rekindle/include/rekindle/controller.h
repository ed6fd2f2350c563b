/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief What a controller needs of Zephyr beside what its own update needs (rekindle/port.h).
 *
 * Plain functions with plain types only. Unless said otherwise a function returns 0 or a negative errno value and
 * must be called from the controller's thread, never from an interrupt.
 */

#ifndef REKINDLE_CONTROLLER_H_
#define REKINDLE_CONTROLLER_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What Kconfig says about the controller. */
struct rekindle_controller {
	/** Baud rate of the bus. */
	uint32_t baud;
	/** Distance of the checkpoints of an image that is being received, in bytes. */
	uint32_t checkpoint;
	/** Frames that the bus's transmit queue holds. */
	uint8_t bus_window;
	/** Frames that a client may have on the way. */
	uint8_t client_window;
	/** Updates of appliances are passed on, not stored. */
	bool transparent;
	/** Only one side of the bus can send at a time. */
	bool half_duplex;
	/** An image for an appliance must name @ref vendor_id. */
	bool has_vendor;
	/** An image for an appliance must name @ref class_id. */
	bool has_class;
	uint8_t vendor_id[16];
	uint8_t class_id[16];
};

extern const struct rekindle_controller rekindle_controller;

/** Lets @ref rekindle_link_read return before its time; from any thread and from interrupts. */
void rekindle_wake(void);
/** How long @ref rekindle_link_read may wait at most, from now on. */
void rekindle_limit_pause(uint32_t ms);

/** Seconds since 1970, UTC, by Zephyr's clock; 0 while nobody has set it. */
uint64_t rekindle_unix_s(void);

/* The store: files by number on a littlefs in the partition files_partition. */

/** Files of the store, and the numbers of them. */
#define REKINDLE_STORE_FILES 5

/** Mounts the file system, which is made on an empty partition; tells the room for an image in bytes. */
int rekindle_store_open(uint32_t *room);
/** Puts @p data at byte @p at, which becomes the file's end; -EINVAL if the file is shorter. */
int rekindle_store_append(uint8_t file, uint32_t at, const uint8_t *data, size_t len);
/** Makes what was appended durable. */
int rekindle_store_sync(uint8_t file);
/** Reads up to @p len bytes; how many, 0 behind the end and of a file that does not exist. */
int rekindle_store_read(uint8_t file, uint32_t offset, uint8_t *data, size_t len);
/** Gives a file another's name and takes that one's place. */
int rekindle_store_commit(uint8_t from, uint8_t to);
/** Removes a file; one that does not exist is no fault. */
int rekindle_store_remove(uint8_t file);

/* Clients over TCP and WebSocket. Each has a number below CONFIG_REKINDLE_CONTROLLER_CLIENTS. */

/** Nobody has this number. */
#define REKINDLE_CLIENT_FREE 0
/** A connection over TCP. */
#define REKINDLE_CLIENT_TCP  1
/** A connection to the port for WebSocket; nothing of the upgrade has been read. */
#define REKINDLE_CLIENT_WEB  2
/** Gone, and all that it had sent is taken, or given up; to be answered with @ref rekindle_client_release. */
#define REKINDLE_CLIENT_GONE 3

/** Listens, from now on and whatever the network does. */
int rekindle_clients_listen(void);
/** One of these; what is none of them asks for nothing. */
uint8_t rekindle_client_state(uint8_t client);
/** It has sent a whole frame: its place is not given to another one for a while. */
void rekindle_client_heard(uint8_t client);
/** Takes what has arrived; 0 if nothing has, and of one that was given up. */
size_t rekindle_client_read(uint8_t client, uint8_t *data, size_t capacity);
/**
 * Sends all of @p data, now or when the connection takes it. A client that takes too little is given up; to one that
 * is not there, or is to go, nothing is sent.
 */
void rekindle_client_write(uint8_t client, const uint8_t *data, size_t len);
/** Sends what waits; true while something still does. */
bool rekindle_clients_flush(void);
/** Ends the connection when it has taken what was written, or does not take it for seconds. */
void rekindle_client_end(uint8_t client);
/** The number may be used again. */
void rekindle_client_release(uint8_t client);
/** The least that any of the clients' threads has left of its stack since boot, in bytes; 0 if it is not known. */
size_t rekindle_clients_stack_unused(void);

/* The bus: the UART chosen as rekindle,uart, as the link of rekindle/port.h is to an appliance. */

int rekindle_bus_open(void);
size_t rekindle_bus_read(uint8_t *data, size_t capacity, int32_t timeout_ms);
int rekindle_bus_write(const uint8_t *data, size_t len, int32_t timeout_ms);
uint32_t rekindle_bus_overruns(void);

/* The controller's own receiver: the other end of the link of rekindle/port.h. */

/** Hands a frame to the receiver; it is lost if there is no room. */
void rekindle_own_put(const uint8_t *data, size_t len);
/** Takes what the receiver has sent; 0 if nothing. */
size_t rekindle_own_take(uint8_t *data, size_t capacity);

/**
 * Copies the public key of this number (SubjectPublicKeyInfo in DER); its length, 0 if there is none. Of one that is
 * longer than @p capacity nothing is copied.
 */
size_t rekindle_trusted_key(uint8_t number, uint8_t *der, size_t capacity);

/** Most bytes of the origins that may be configured. */
#define REKINDLE_ORIGINS_MAX 256

/** Copies the origins of pages that a browser may connect from, with spaces between them; how many bytes. */
size_t rekindle_origins(char *list, size_t capacity);

/**
 * Whether somebody holds the button for root mode now, and has done so for five seconds. To be called at boot; waits
 * only while it is held.
 */
bool rekindle_root_held(void);

#ifdef __cplusplus
}
#endif

#endif /* REKINDLE_CONTROLLER_H_ */
