/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <errno.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/watchdog.h>

#include <rekindle/port.h>

static const struct device *const watchdog = DEVICE_DT_GET(DT_ALIAS(watchdog0));
static int channel = -1;

int rekindle_watchdog_start(uint32_t timeout_ms)
{
	const struct wdt_timeout_cfg timeout = {
		.window.max = timeout_ms,
		.flags = WDT_FLAG_RESET_SOC,
	};

	if (!device_is_ready(watchdog)) {
		return -ENODEV;
	}
	channel = wdt_install_timeout(watchdog, &timeout);
	if (channel < 0) {
		return channel;
	}
	return wdt_setup(watchdog, WDT_OPT_PAUSE_HALTED_BY_DBG);
}

void rekindle_watchdog_feed(void)
{
	if (channel >= 0) {
		(void)wdt_feed(watchdog, channel);
	}
}
