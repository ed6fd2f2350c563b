/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The C functions under everything else, called from C, on a device with MCUboot.
 */

#include <errno.h>
#include <string.h>

#include <zephyr/dfu/mcuboot.h>
#include <zephyr/kernel.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/ztest.h>

#include <rekindle/port.h>

#define SECTOR 4096U
#define SLOT   (512U * 1024U)

ZTEST(areas, test_geometry_is_that_of_the_devicetree)
{
	struct rekindle_area_info info;

	zassert_ok(rekindle_area_info(REKINDLE_AREA_PRIMARY, &info));
	zassert_equal(info.size, FIXED_PARTITION_SIZE(slot0_partition));
	zassert_equal(info.sector_size, SECTOR);
	zassert_equal(info.write_block, 4);
	zassert_equal(info.erased, 0xff);
	zassert_ok(rekindle_area_info(REKINDLE_AREA_SECONDARY, &info));
	zassert_equal(info.size, FIXED_PARTITION_SIZE(slot1_partition));
	zassert_ok(rekindle_area_info(REKINDLE_AREA_JOURNAL, &info));
	zassert_equal(info.size, 2 * SECTOR);
	zassert_equal(rekindle_area_info(3, &info), -EINVAL);
}

ZTEST(areas, test_update_lies_behind_the_first_sector)
{
	struct rekindle_slot_info info;

	zassert_ok(rekindle_slot_info(&info));
	zassert_equal(info.image_offset, SECTOR);
	zassert_equal(info.image_offset, boot_get_image_start_offset(
						 FIXED_PARTITION_ID(slot1_partition)));
	/* One sector for the trailer of 256 sectors' states, one to move through. */
	zassert_equal(info.trailer_size, SECTOR);
	zassert_equal(info.image_max, SLOT - 2 * SECTOR);
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

ZTEST(areas, test_erase_write_read)
{
	check_erase_write_read(REKINDLE_AREA_JOURNAL, SECTOR);
	check_erase_write_read(REKINDLE_AREA_SECONDARY, 3 * SECTOR);
}

ZTEST(areas, test_bounds_and_alignment_are_refused)
{
	uint8_t data[8] = {0};

	zassert_not_ok(rekindle_area_read(REKINDLE_AREA_JOURNAL, 2 * SECTOR - 4, data, 8));
	zassert_not_ok(rekindle_area_write(REKINDLE_AREA_JOURNAL, 2 * SECTOR, data, 8));
	zassert_not_ok(rekindle_area_write(REKINDLE_AREA_SECONDARY, 2, data, 8));
	zassert_not_ok(rekindle_area_write(REKINDLE_AREA_SECONDARY, 0, data, 6));
	zassert_not_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY, 0, 100));
	zassert_not_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY, SLOT, SECTOR));
	/* An offset near the end of the number's range must not come round. */
	zassert_not_ok(rekindle_area_read(REKINDLE_AREA_SECONDARY, UINT32_MAX - 3, data, 8));
	zassert_not_ok(rekindle_area_read(9, 0, data, 8));
}

ZTEST(areas, test_running_image_is_never_written)
{
	const uint8_t data[4] = {0};

	zassert_equal(rekindle_area_write(REKINDLE_AREA_PRIMARY, SLOT - SECTOR, data, 4), -EACCES);
	zassert_equal(rekindle_area_erase(REKINDLE_AREA_PRIMARY, SLOT - SECTOR, SECTOR), -EACCES);
}

ZTEST(boot, test_request_is_what_mcuboot_will_do)
{
	zassert_true(rekindle_is_confirmed());
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_NONE);
	zassert_ok(rekindle_request_upgrade(false));
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_TEST);
	/* Erasing the trailer takes the request back. */
	zassert_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY, SLOT - SECTOR, SECTOR));
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_NONE);
	zassert_ok(rekindle_request_upgrade(true));
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_PERM);
	zassert_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY, SLOT - SECTOR, SECTOR));
}

ZTEST(system, test_clock_runs)
{
	uint64_t before = rekindle_uptime_ms();

	rekindle_sleep_ms(20);
	zassert_true(rekindle_uptime_ms() >= before + 20);
}

ZTEST(system, test_watchdog_is_fed)
{
	zassert_ok(rekindle_watchdog_start(1000));
	for (int i = 0; i < 15; i++) {
		rekindle_sleep_ms(100);
		rekindle_watchdog_feed();
	}
}

ZTEST(link, test_read_without_bytes_times_out)
{
	uint8_t byte;
	uint64_t before = rekindle_uptime_ms();

	zassert_equal(rekindle_link_read(&byte, 1, 0), 0);
	zassert_equal(rekindle_link_read(&byte, 1, 30), 0);
	zassert_true(rekindle_uptime_ms() >= before + 30);
}

/* The host sends back what the device sends: more at once than the ring holds to send, and
 * as much as it holds to receive.
 */
ZTEST(link, test_everything_comes_back)
{
	static uint8_t sent[CONFIG_REKINDLE_LINK_RX_SIZE];
	static uint8_t back[CONFIG_REKINDLE_LINK_RX_SIZE];
	size_t got = 0;

	rekindle_random(sent, sizeof(sent));
	zassert_ok(rekindle_link_write(sent, sizeof(sent), -1));
	zassert_ok(rekindle_link_drain(1000));
	/* All of it waits in the ring while nobody reads. */
	while (got < sizeof(back)) {
		size_t n = rekindle_link_read(back + got, sizeof(back) - got, 5000);

		zassert_not_equal(n, 0, "%zu of %zu bytes came back", got, sizeof(back));
		got += n;
	}
	zassert_mem_equal(sent, back, sizeof(sent));
	zassert_equal(rekindle_link_overruns(), 0);
}

static void *open_link(void)
{
	zassert_ok(rekindle_link_open());
	return NULL;
}

static void *print_identity(void)
{
	/* What must outlive the power is compared by the host. */
	TC_PRINT("identity: address %016llx boot %08x\n", rekindle_device_address(),
		 rekindle_boot_number());
	return NULL;
}

ZTEST_SUITE(areas, NULL, NULL, NULL, NULL, NULL);
ZTEST_SUITE(boot, NULL, NULL, NULL, NULL, NULL);
ZTEST_SUITE(link, NULL, open_link, NULL, NULL, NULL);
/* Last by name: its watchdog resets the device once nobody feeds it any more. */
ZTEST_SUITE(system, NULL, print_identity, NULL, NULL, NULL);
