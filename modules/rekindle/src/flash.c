/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The session owns the order of flash operations, so every call here is exactly one
 * call of the flash map: no buffer, no retry, no erase ahead.
 */

#include <errno.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/flash.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/sys/util.h>

#include <rekindle/port.h>

BUILD_ASSERT(DT_HAS_CHOSEN(rekindle_journal),
	     "the devicetree must choose a partition as rekindle,journal");

#define JOURNAL_ID DT_FIXED_PARTITION_ID(DT_CHOSEN(rekindle_journal))

/* MCUboot, bootutil: boot_trailer_sz(). A swap keeps one status entry per sector and
 * state; behind them lie the sizes of the swap (and, swapping by offset, of the TLVs),
 * swap info, copy done and image ok, each in a field of BOOT_MAX_ALIGN, and the magic
 * of 16 bytes. Encryption keys are not accounted for.
 */
#define MAGIC_SIZE   16U
#define FIELD_SIZE   MAX(8U, CONFIG_MCUBOOT_BOOT_MAX_ALIGN)
#define TRAILER_INFO (5U * FIELD_SIZE + ROUND_UP(MAGIC_SIZE, FIELD_SIZE))

#ifdef CONFIG_MCUBOOT_BOOTLOADER_MODE_SWAP_USING_OFFSET
#define STATUS_STATES 2U
#else
#define STATUS_STATES 3U
#endif

static const uint8_t area_ids[] = {
	[REKINDLE_AREA_PRIMARY] = DT_FIXED_PARTITION_ID(DT_CHOSEN(zephyr_code_partition)),
	[REKINDLE_AREA_SECONDARY] = FIXED_PARTITION_ID(slot1_partition),
	[REKINDLE_AREA_JOURNAL] = JOURNAL_ID,
};

/* Opened when first used, and never closed; NULL if that cannot be. */
static const struct flash_area *open_area(uint8_t area)
{
	static const struct flash_area *opened[ARRAY_SIZE(area_ids)];

	if (area >= ARRAY_SIZE(area_ids)) {
		return NULL;
	}
	if (opened[area] == NULL) {
		(void)flash_area_open(area_ids[area], &opened[area]);
	}
	return opened[area];
}

int rekindle_area_info(uint8_t area, struct rekindle_area_info *info)
{
	const struct flash_area *fa = open_area(area);
	const struct flash_parameters *parameters;
	struct flash_pages_info page;
	int rc;

	if (fa == NULL) {
		return -ENODEV;
	}
	rc = flash_get_page_info_by_offs(fa->fa_dev, fa->fa_off, &page);
	if (rc == 0) {
		parameters = flash_get_parameters(fa->fa_dev);
		info->size = (uint32_t)fa->fa_size;
		info->sector_size = (uint32_t)page.size;
		info->write_block = (uint32_t)parameters->write_block_size;
		info->erased = parameters->erase_value;
	}
	return rc;
}

int rekindle_area_read(uint8_t area, uint32_t offset, uint8_t *data, size_t len)
{
	const struct flash_area *fa = open_area(area);

	return (fa == NULL) ? -ENODEV : flash_area_read(fa, (off_t)offset, data, len);
}

/* Nothing but MCUboot writes to the running image. */
static const struct flash_area *open_writable(uint8_t area)
{
	return (area == REKINDLE_AREA_PRIMARY) ? NULL : open_area(area);
}

int rekindle_area_write(uint8_t area, uint32_t offset, const uint8_t *data, size_t len)
{
	const struct flash_area *fa = open_writable(area);

	return (fa == NULL) ? -EACCES : flash_area_write(fa, (off_t)offset, data, len);
}

int rekindle_area_erase(uint8_t area, uint32_t offset, size_t len)
{
	const struct flash_area *fa = open_writable(area);

	return (fa == NULL) ? -EACCES : flash_area_erase(fa, (off_t)offset, len);
}

int rekindle_layout(struct rekindle_layout *layout)
{
	struct rekindle_area_info primary;
	struct rekindle_area_info slot;
	struct rekindle_area_info journal;
	uint32_t trailer;

	if (rekindle_area_info(REKINDLE_AREA_PRIMARY, &primary) != 0 ||
	    rekindle_area_info(REKINDLE_AREA_SECONDARY, &slot) != 0 ||
	    rekindle_area_info(REKINDLE_AREA_JOURNAL, &journal) != 0) {
		return -ENODEV;
	}
	trailer = CONFIG_REKINDLE_BOOT_MAX_SECTORS * STATUS_STATES * slot.write_block +
		  TRAILER_INFO;
	trailer = ROUND_UP(trailer, slot.sector_size);
	/* Swapping by move or by offset needs one sector to move through. */
	if (slot.size < slot.sector_size + trailer) {
		return -ENOSPC;
	}
	layout->primary_size = primary.size;
	layout->slot_size = slot.size;
	layout->sector_size = slot.sector_size;
	/* The journal lies on the same chip on every board so far; if not, the larger block
	 * serves both.
	 */
	layout->write_block = MAX(slot.write_block, journal.write_block);
	/* boot_get_image_start_offset() would answer 0 while a revert is due, because
	 * it then means the old image that lies in the secondary slot. An update
	 * always starts behind the first sector in this mode.
	 */
	layout->image_offset = IS_ENABLED(CONFIG_MCUBOOT_BOOTLOADER_MODE_SWAP_USING_OFFSET)
				       ? slot.sector_size
				       : 0U;
	layout->image_max = slot.size - slot.sector_size - trailer;
	layout->trailer_size = trailer;
	layout->journal_size = journal.size;
	layout->journal_sector = journal.sector_size;
	return 0;
}
