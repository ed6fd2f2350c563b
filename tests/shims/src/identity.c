/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* Address and boot number; that they outlive a reset is compared by the host. */

#include <zephyr/settings/settings.h>
#include <zephyr/ztest.h>

#include <rekindle/port.h>

static uint32_t boot_number;

ZTEST(identity, test_address_stays)
{
	uint64_t address = rekindle_device_address();

	zassert_not_equal(address, 0U);
	zassert_not_equal(address, UINT64_MAX);
	zassert_equal(rekindle_device_address(), address);
}

ZTEST(identity, test_what_was_drawn_is_kept)
{
	uint64_t address;
	uint32_t number;

	zassert_equal(settings_load_one("rekindle/address", &address, sizeof(address)),
		      sizeof(address));
	zassert_equal(address, rekindle_device_address());
	zassert_equal(settings_load_one("rekindle/boot", &number, sizeof(number)), sizeof(number));
	zassert_equal(number, boot_number);
}

static void *print_identity(void)
{
	/* Asked for once in each boot, as a device does. */
	boot_number = rekindle_boot_number();
	TC_PRINT("identity: address %016llx boot %08x\n", rekindle_device_address(), boot_number);
	return NULL;
}

ZTEST_SUITE(identity, NULL, print_identity, NULL, NULL, NULL);
