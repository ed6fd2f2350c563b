/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief What the update session needs of Zephyr.
 *
 * Plain functions with plain types only, so that both C and Rust can call them
 * without knowing any structure whose layout follows the configuration.
 *
 * Unless said otherwise a function returns 0 or a negative errno value and must be
 * called from one thread, never from an interrupt.
 */

#ifndef REKINDLE_PORT_H_
#define REKINDLE_PORT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rekindle/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The running image's slot. */
#define REKINDLE_AREA_PRIMARY   0
/** The slot an update is staged in. */
#define REKINDLE_AREA_SECONDARY 1
/** The session's journal. */
#define REKINDLE_AREA_JOURNAL   2

/** Geometry of a flash area, in bytes. */
struct rekindle_area_info {
	uint32_t size;
	/** Smallest unit that can be erased; all sectors of an area are equal. */
	uint32_t sector_size;
	/** Writes start and end on multiples of this. */
	uint32_t write_block;
	/** Value of erased bytes. */
	uint8_t erased;
};

/** The slots and the journal, and where an image lies under the configured swap mode; in bytes. */
struct rekindle_layout {
	uint32_t primary_size;
	uint32_t slot_size;
	/** Of the secondary slot. */
	uint32_t sector_size;
	/** Serves slot and journal. */
	uint32_t write_block;
	/** Offset of an update's first byte in the secondary slot. */
	uint32_t image_offset;
	/** Largest update, header and TLVs included. */
	uint32_t image_max;
	/** Bytes at the slot's end that belong to the trailer, in whole sectors. */
	uint32_t trailer_size;
	uint32_t journal_size;
	uint32_t journal_sector;
};

/** What Kconfig says about updates. */
struct rekindle_policy {
	/** Time in which an image under test must confirm itself. */
	uint32_t confirm_deadline_ms;
	/** It is not confirmed before a controller was answered. */
	bool confirm_answered;
	/** The whole slot is erased at START. */
	bool erase_at_start;
	/** Images older than the running one are refused. */
	bool refuse_downgrade;
	/** Images must name this vendor, or this class. */
	bool has_vendor;
	bool has_class;
	uint8_t vendor_id[16];
	uint8_t class_id[16];
};

extern const struct rekindle_policy rekindle_policy;

/** What Kconfig says about the link. */
struct rekindle_traffic {
	/** Idle time after which a session no longer counts. */
	uint32_t takeover_ms;
	/** Half duplex: silence after which the line is free. */
	uint16_t quiet_ms;
	/** Most frames to announce, 1 to 255; the link's capacity may allow fewer. */
	uint8_t window;
	/** Only one side of the link can send at a time. */
	bool half_duplex;
	/** The device is alone with its controller on the link. */
	bool point_to_point;
	/** Bytes come with the timing of a serial line: a silence ends a frame. */
	bool serial;
};

extern const struct rekindle_traffic rekindle_traffic;

/**
 * The public keys of which one must have signed an image, with REKINDLE_VERIFY_SIGNATURE:
 * made from PEM files by the build, all of the algorithm that Kconfig chose.
 */
struct rekindle_keys {
	/** SHA-256 of each key's SubjectPublicKeyInfo: how an image names it. */
	const uint8_t (*names)[32];
	/** Their points in the same order, one behind the other: 65 bytes each for ECDSA
	 * P-256 (uncompressed), 32 for Ed25519.
	 */
	const uint8_t *points;
	size_t count;
};

extern const struct rekindle_keys rekindle_keys;

/**
 * Checks an ECDSA P-256 signature (its two integers of 32 bytes, big-endian) over a SHA-256,
 * by PSA's crypto API. With REKINDLE_SIGNATURE_PSA only.
 */
bool rekindle_verify_p256(const uint8_t point[65], const uint8_t hash[32],
			  const uint8_t signature[64]);

int rekindle_area_info(uint8_t area, struct rekindle_area_info *info);
int rekindle_area_read(uint8_t area, uint32_t offset, uint8_t *data, size_t len);
int rekindle_area_write(uint8_t area, uint32_t offset, const uint8_t *data, size_t len);
int rekindle_area_erase(uint8_t area, uint32_t offset, size_t len);
int rekindle_layout(struct rekindle_layout *layout);

/** Asks MCUboot to run the staged image at the next boot. */
int rekindle_request_upgrade(bool permanent);
/** Confirms the running image. */
int rekindle_confirm(void);
/** Whether the running image stays: no revert is due. */
bool rekindle_is_confirmed(void);
/** What MCUboot would do at the next boot: one of BOOT_SWAP_TYPE_*. */
int rekindle_swap_type(void);

/** Causes of the last reset (hwinfo's RESET_* bits), 0 if not known. */
uint32_t rekindle_reset_cause(void);
/** Milliseconds since boot. */
uint64_t rekindle_uptime_ms(void);
void rekindle_sleep_ms(uint32_t ms);
/** Resets the whole system. */
void rekindle_reboot(void);
/** Fills @p data with random bytes; their quality is that of the board's source. */
void rekindle_random(uint8_t *data, size_t len);

/**
 * The device's address on the bus: folded from the SoC's unique id, else drawn once and
 * kept in settings.
 */
uint64_t rekindle_device_address(void);
/** A number that differs from that of the boot before. To be called once per boot. */
uint32_t rekindle_boot_number(void);

/** Says where the session's code panicked, and stops as a fatal error does. */
void rekindle_panic(const char *file, size_t file_len, uint32_t line);

/** True for the first caller of this boot, false for every other; from any thread. */
bool rekindle_claim_device(void);

/** Bytes of the calling thread's stack that were never used; 0 without INIT_STACKS. */
size_t rekindle_stack_unused(void);

/** Puts the watchdog's reset off; does nothing without REKINDLE_WATCHDOG. */
void rekindle_watchdog_feed(void);

/** For the session: makes its state known to @ref rekindle_busy and @ref rekindle_state. */
void rekindle_publish_busy(bool busy);
void rekindle_publish(const struct rekindle_state *state);

/** What other threads ask of the session of an application in C, as bits. */
#define REKINDLE_REQUEST_EMERGENCY 1U
#define REKINDLE_REQUEST_RESET     2U

/** For the session: takes what was asked for since the last call. */
uint32_t rekindle_take_requests(void);
/** For the session: it runs (0), or why it cannot. */
void rekindle_started(int result);

/**
 * Leaves a word for the session's application, to be taken in its loop: how other threads
 * talk to an application that is written in Rust; one in C does not have it. From any thread
 * and from interrupts.
 *
 * @return 0, or -ENOMSG while too many wait.
 */
int rekindle_post(uint32_t word);
/** Takes the oldest word; false if there is none. */
bool rekindle_take(uint32_t *word);

/** Opens the link: the UART chosen as rekindle,uart. */
int rekindle_link_open(void);
/**
 * Waits for received bytes.
 *
 * @param timeout_ms negative: without limit, 0: not at all.
 * @return bytes stored at @p data, 0 after the timeout.
 */
size_t rekindle_link_read(uint8_t *data, size_t capacity, int32_t timeout_ms);
/** Queues bytes to send; waits for room for at most @p timeout_ms. */
int rekindle_link_write(const uint8_t *data, size_t len, int32_t timeout_ms);
/** Waits until everything queued has left the transmitter. */
int rekindle_link_drain(int32_t timeout_ms);
/** Bytes that can be received ahead. */
uint32_t rekindle_link_capacity(void);
/** Bytes that were lost since boot because nobody had read in time. */
uint32_t rekindle_link_overruns(void);

#ifdef __cplusplus
}
#endif

#endif /* REKINDLE_PORT_H_ */
