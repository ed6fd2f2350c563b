/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * In MCUboot: tells the journal that serial recovery was entered.
 *
 * From then on anybody may have written to the slots, so the session is over and of an open
 * attempt only what the running image proves can be said. The journal is an append-only log
 * (rust/rekindle-session/src/journal), and this appends one record to it. Where it cannot,
 * it erases the journal: to forget is better than to claim what is not so.
 */

#include <string.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/flash.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/sys/byteorder.h>
#include <zephyr/sys/crc.h>
#include <zephyr/sys/util.h>

#include <bootutil/mcuboot_status.h>

#define BLOCK        32U
#define BLOCKS_MAX   3U
#define CRC_SIZE     4U
#define KIND_FOREIGN 9U

#define JOURNAL_ID DT_FIXED_PARTITION_ID(DT_CHOSEN(rekindle_journal))

static bool crc_right(const uint8_t *bytes, size_t len)
{
	return crc32_ieee(bytes, len - CRC_SIZE) == sys_get_le32(&bytes[len - CRC_SIZE]);
}

static bool is_blank(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != 0xFFU) {
			return false;
		}
	}
	return true;
}

/* Offset of the sector that is the journal: the one with the newer header. False when
 * there is none.
 */
static bool find_sector(const struct flash_area *fa, uint32_t sector_size, uint32_t *start)
{
	uint32_t newest = 0;
	bool found = false;

	for (uint32_t at = 0; at <= sector_size; at += sector_size) {
		uint8_t header[BLOCK];

		if (flash_area_read(fa, at, header, sizeof(header)) == 0 &&
		    memcmp(header, "RKJ1", 4) == 0 && crc_right(header, sizeof(header)) &&
		    (!found || sys_get_le32(&header[4]) > newest)) {
			newest = sys_get_le32(&header[4]);
			*start = at;
			found = true;
		}
	}
	return found;
}

/* Offset behind the last record, as the session sees it; negative when there is no room. */
static int32_t find_end(const struct flash_area *fa, uint32_t start, uint32_t sector_size)
{
	uint32_t stop = start + sector_size;
	uint32_t at = start + BLOCK;
	uint8_t record[BLOCK * BLOCKS_MAX];

	while (at < stop) {
		size_t len = MIN(sizeof(record), stop - at);

		if (flash_area_read(fa, at, record, len) != 0) {
			return -1;
		}
		if (is_blank(record, BLOCK)) {
			break;
		}
		if (IN_RANGE(record[1], 1U, BLOCKS_MAX) && record[1] * BLOCK <= len &&
		    crc_right(record, record[1] * BLOCK)) {
			at += record[1] * BLOCK;
		} else {
			at += BLOCK;
		}
	}
	/* What follows must be blank, else the session takes the sector for full. */
	for (uint32_t rest = at; rest < stop; rest += BLOCK) {
		if (flash_area_read(fa, rest, record, BLOCK) != 0 || !is_blank(record, BLOCK)) {
			return -1;
		}
	}
	return at < stop ? (int32_t)at : -1;
}

static int append(const struct flash_area *fa, uint32_t at)
{
	uint8_t record[BLOCK];

	memset(record, 0xFF, sizeof(record));
	record[0] = KIND_FOREIGN;
	record[1] = 1U;
	sys_put_le32(crc32_ieee(record, BLOCK - CRC_SIZE), &record[BLOCK - CRC_SIZE]);
	return flash_area_write(fa, at, record, sizeof(record));
}

static void note_recovery(void)
{
	const struct flash_area *fa;
	struct flash_pages_info page;
	uint32_t start = 0;
	int32_t end;

	if (flash_area_open(JOURNAL_ID, &fa) != 0) {
		return;
	}
	if (flash_get_page_info_by_offs(flash_area_get_device(fa), fa->fa_off, &page) == 0 &&
	    find_sector(fa, page.size, &start)) {
		end = find_end(fa, start, page.size);
		if (end < 0 || append(fa, (uint32_t)end) != 0) {
			/* The older sector first: alone, it would be the journal again. */
			(void)flash_area_erase(fa, page.size - start, page.size);
			(void)flash_area_erase(fa, start, page.size);
		}
	}
	flash_area_close(fa);
}

void mcuboot_status_change(mcuboot_status_type_t status)
{
	if (status == MCUBOOT_STATUS_SERIAL_DFU_ENTERED) {
		note_recovery();
	}
}
