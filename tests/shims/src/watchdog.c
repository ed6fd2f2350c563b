/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/ztest.h>

#include <rekindle/port.h>

/* The last suite by name, for the watchdog resets the device once nobody feeds it any
 * more. The host waits for that.
 */
ZTEST(watchdog, test_watchdog_is_fed)
{
	/* Too early, and of no consequence. */
	rekindle_watchdog_feed();
	zassert_ok(rekindle_watchdog_start(1000));
	for (int i = 0; i < 15; i++) {
		rekindle_sleep_ms(100);
		rekindle_watchdog_feed();
	}
}

ZTEST_SUITE(watchdog, NULL, NULL, NULL, NULL, NULL);
