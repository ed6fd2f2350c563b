/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* Clock, randomness, stack and what else a device has once. */

#include <string.h>

#include <zephyr/ztest.h>

#include <rekindle/port.h>

ZTEST(system, test_clock_runs)
{
	uint64_t before = rekindle_uptime_ms();

	rekindle_sleep_ms(20);
	zassert_true(rekindle_uptime_ms() >= before + 20);
}

ZTEST(system, test_random_fills_what_it_is_given)
{
	uint8_t one[40] = {0};
	uint8_t other[40] = {0};

	rekindle_random(one, 33);
	rekindle_random(other, 33);
	zassert_true(memcmp(one, other, 33) != 0);
	for (size_t i = 33; i < sizeof(one); i++) {
		zassert_equal(one[i], 0);
	}
}

ZTEST(system, test_device_is_claimed_once)
{
	zassert_true(rekindle_claim_device());
	zassert_false(rekindle_claim_device());
	zassert_false(rekindle_claim_device());
}

ZTEST(system, test_stack_that_was_used_counts)
{
	size_t before = rekindle_stack_unused();
	volatile uint8_t deep[256];

	zassert_between_inclusive(before, 1, CONFIG_ZTEST_STACK_SIZE);
	for (size_t i = 0; i < sizeof(deep); i++) {
		deep[i] = (uint8_t)i;
	}
	zassert_true(rekindle_stack_unused() <= before);
}

/* Without hwinfo nothing is known, and nothing is claimed. */
ZTEST(system, test_reset_cause_is_unknown)
{
	zassert_false(IS_ENABLED(CONFIG_HWINFO));
	zassert_equal(rekindle_reset_cause(), 0U);
}

/* What target.cmake makes of the names in prj.conf is what imgtool makes of them. */
ZTEST(system, test_target_is_that_of_the_names)
{
	/* uuid5(NAMESPACE_DNS, "example.com") and, in that namespace, uuid5(…, "heater"). */
	static const uint8_t vendor[] = {
		0xcf, 0xbf, 0xf0, 0xd1, 0x93, 0x75, 0x56, 0x85,
		0x96, 0x8c, 0x48, 0xce, 0x8b, 0x15, 0xae, 0x17,
	};
	static const uint8_t class_id[] = {
		0x94, 0xcd, 0x16, 0x21, 0x43, 0xc6, 0x50, 0xd3,
		0xb5, 0xd8, 0x9e, 0x71, 0x23, 0x59, 0x2e, 0x4d,
	};

	zassert_true(rekindle_policy.has_vendor && rekindle_policy.has_class);
	zassert_mem_equal(rekindle_policy.vendor_id, vendor, sizeof(vendor));
	zassert_mem_equal(rekindle_policy.class_id, class_id, sizeof(class_id));
}

ZTEST_SUITE(system, NULL, NULL, NULL, NULL, NULL);
