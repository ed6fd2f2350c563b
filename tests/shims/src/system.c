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

ZTEST_SUITE(system, NULL, NULL, NULL, NULL, NULL);
