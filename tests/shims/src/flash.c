/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The flash areas: what tests/shared/flash_expectations.rs expects of every flash under
 * the session, and what only a device with MCUboot has.
 */

#include <errno.h>
#include <string.h>

#include <zephyr/dfu/mcuboot.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/ztest.h>

#include <rekindle/port.h>

#define SECTOR      4096U
#define SLOT        (512U * 1024U)
#define WRITE_BLOCK DT_PROP(DT_CHOSEN(zephyr_flash), write_block_size)

ZTEST(flash, test_geometry_is_that_of_the_devicetree)
{
	struct rekindle_area_info info;

	zassert_ok(rekindle_area_info(REKINDLE_AREA_PRIMARY, &info));
	zassert_equal(info.size, FIXED_PARTITION_SIZE(slot0_partition));
	zassert_equal(info.sector_size, SECTOR);
	zassert_equal(info.write_block, WRITE_BLOCK);
	zassert_equal(info.erased, 0xff);
	zassert_ok(rekindle_area_info(REKINDLE_AREA_SECONDARY, &info));
	zassert_equal(info.size, FIXED_PARTITION_SIZE(slot1_partition));
	zassert_ok(rekindle_area_info(REKINDLE_AREA_JOURNAL, &info));
	zassert_equal(info.size, 2 * SECTOR);
	zassert_equal(rekindle_area_info(3, &info), -ENODEV);
}

ZTEST(flash, test_update_lies_behind_the_first_sector)
{
	/* The trailer has two states of a write block each for 256 sectors. */
	const uint32_t trailer = (WRITE_BLOCK == 32) ? 5 * SECTOR : SECTOR;
	struct rekindle_layout layout;

	zassert_ok(rekindle_layout(&layout));
	zassert_equal(layout.image_offset, SECTOR);
	zassert_equal(layout.image_offset, boot_get_image_start_offset(
						   FIXED_PARTITION_ID(slot1_partition)));
	zassert_equal(layout.trailer_size, trailer);
	/* One more sector to move through. */
	zassert_equal(layout.image_max, SLOT - SECTOR - trailer);
	zassert_equal(layout.primary_size, FIXED_PARTITION_SIZE(slot0_partition));
	zassert_equal(layout.slot_size, SLOT);
	zassert_equal(layout.sector_size, SECTOR);
	zassert_equal(layout.write_block, WRITE_BLOCK);
	zassert_equal(layout.journal_size, 2 * SECTOR);
	zassert_equal(layout.journal_sector, SECTOR);
}

static void check_erase_write_read(uint8_t area, uint32_t offset)
{
	uint8_t data[256];
	uint8_t back[256];

	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(i ^ 0x5a);
	}
	zassert_ok(rekindle_area_erase(area, offset, SECTOR));
	zassert_ok(rekindle_area_write(area, offset, data, sizeof(data)));
	zassert_ok(rekindle_area_read(area, offset, back, sizeof(back)));
	zassert_mem_equal(data, back, sizeof(data));
	/* Flash cannot be written twice without an erase. */
	zassert_not_ok(rekindle_area_write(area, offset, data, sizeof(data)));
	zassert_ok(rekindle_area_erase(area, offset, SECTOR));
	zassert_ok(rekindle_area_read(area, offset, back, sizeof(back)));
	for (size_t i = 0; i < sizeof(back); i++) {
		zassert_equal(back[i], 0xff);
	}
}

ZTEST(flash, test_erase_write_read)
{
	check_erase_write_read(REKINDLE_AREA_JOURNAL, SECTOR);
	check_erase_write_read(REKINDLE_AREA_SECONDARY, 3 * SECTOR);
}

ZTEST(flash, test_bounds_and_alignment_are_refused)
{
	uint8_t data[2 * WRITE_BLOCK + 8] = {0};

	zassert_not_ok(rekindle_area_read(REKINDLE_AREA_JOURNAL, 2 * SECTOR - 4, data, 8));
	zassert_not_ok(
		rekindle_area_write(REKINDLE_AREA_JOURNAL, 2 * SECTOR, data, WRITE_BLOCK));
	if (WRITE_BLOCK > 1) {
		zassert_not_ok(rekindle_area_write(REKINDLE_AREA_SECONDARY, WRITE_BLOCK / 2, data,
						   WRITE_BLOCK));
		zassert_not_ok(
			rekindle_area_write(REKINDLE_AREA_SECONDARY, 0, data, WRITE_BLOCK + 1));
	}
	zassert_not_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY, 0, 100));
	zassert_not_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY, SLOT, SECTOR));
	/* An offset near the end of the number's range must not come round. */
	zassert_not_ok(rekindle_area_read(REKINDLE_AREA_SECONDARY, UINT32_MAX - 3, data, 8));
	zassert_not_ok(rekindle_area_read(9, 0, data, 8));
}

ZTEST(flash, test_running_image_is_never_written)
{
	const uint8_t data[WRITE_BLOCK] = {0};

	zassert_equal(rekindle_area_write(REKINDLE_AREA_PRIMARY, SLOT - SECTOR, data, sizeof(data)),
		      -EACCES);
	zassert_equal(rekindle_area_erase(REKINDLE_AREA_PRIMARY, SLOT - SECTOR, SECTOR), -EACCES);
}

ZTEST_SUITE(flash, NULL, NULL, NULL, NULL, NULL);
