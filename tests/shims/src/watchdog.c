/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* The watchdog runs since before main(), so every test begins and ends with feeding it. */

#include <zephyr/ztest.h>

#include <rekindle/port.h>

static void feed(const struct ztest_unit_test *test, void *data)
{
	ARG_UNUSED(test);
	ARG_UNUSED(data);
	rekindle_watchdog_feed();
}

ZTEST_RULE(fed, feed, feed);

/* The last suite by name, for the watchdog resets the device once nobody feeds it any
 * more. The host waits for that.
 */
ZTEST(watchdog, test_watchdog_is_fed)
{
	/* This machine's watchdog resets at the second timeout in a row. */
	for (int i = 0; i < 25 * CONFIG_REKINDLE_WATCHDOG_TIMEOUT_MS / 1000; i++) {
		rekindle_sleep_ms(100);
		rekindle_watchdog_feed();
	}
}

ZTEST_SUITE(watchdog, NULL, NULL, NULL, NULL, NULL);
