/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* What is asked of MCUboot, and what it then would do. */

#include <zephyr/dfu/mcuboot.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/ztest.h>

#include <rekindle/port.h>

static void erase_trailer(void)
{
	struct rekindle_layout layout;

	zassert_ok(rekindle_layout(&layout));
	zassert_ok(rekindle_area_erase(REKINDLE_AREA_SECONDARY,
				       layout.slot_size - layout.trailer_size,
				       layout.trailer_size));
}

static void no_request(void *unused)
{
	ARG_UNUSED(unused);
	erase_trailer();
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_NONE);
}

ZTEST(boot, test_request_is_what_mcuboot_will_do)
{
	zassert_ok(rekindle_request_upgrade(false));
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_TEST);
	/* Erasing the trailer takes the request back. */
	erase_trailer();
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_NONE);
	zassert_ok(rekindle_request_upgrade(true));
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_PERM);
}

ZTEST(boot, test_request_reaches_the_trailer_and_nothing_else)
{
	uint8_t before[64];
	uint8_t after[64];

	zassert_ok(rekindle_area_read(REKINDLE_AREA_SECONDARY, 0, before, sizeof(before)));
	zassert_ok(rekindle_request_upgrade(false));
	zassert_ok(rekindle_area_read(REKINDLE_AREA_SECONDARY, 0, after, sizeof(after)));
	zassert_mem_equal(before, after, sizeof(before));
}

ZTEST(boot, test_image_that_no_revert_threatens_is_confirmed)
{
	/* As flashed, before anybody wrote the flag ... */
	zassert_true(rekindle_is_confirmed());
	/* ... and after, as often as it is said. */
	zassert_ok(rekindle_confirm());
	zassert_ok(rekindle_confirm());
	zassert_true(rekindle_is_confirmed());
	zassert_equal(rekindle_swap_type(), BOOT_SWAP_TYPE_NONE);
}

ZTEST_SUITE(boot, NULL, NULL, no_request, no_request, NULL);
