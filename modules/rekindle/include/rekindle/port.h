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

/** Where an image lies in the secondary slot under the configured swap mode. */
struct rekindle_slot_info {
	/** Offset of an update's first byte. */
	uint32_t image_offset;
	/** Largest update, header and TLVs included. */
	uint32_t image_max;
	/** Bytes at the slot's end that belong to the trailer, in whole sectors. */
	uint32_t trailer_size;
};

int rekindle_area_info(uint8_t area, struct rekindle_area_info *info);
int rekindle_area_read(uint8_t area, uint32_t offset, uint8_t *data, size_t len);
int rekindle_area_write(uint8_t area, uint32_t offset, const uint8_t *data, size_t len);
int rekindle_area_erase(uint8_t area, uint32_t offset, size_t len);
int rekindle_slot_info(struct rekindle_slot_info *info);

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

/** True for the first caller of this boot, false for every other; from any thread. */
bool rekindle_claim_device(void);

/** Bytes of the calling thread's stack that were never used; 0 without INIT_STACKS. */
size_t rekindle_stack_unused(void);

/** Starts the watchdog, if REKINDLE_WATCHDOG is set; from then on it must be fed. */
int rekindle_watchdog_start(uint32_t timeout_ms);
void rekindle_watchdog_feed(void);

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
