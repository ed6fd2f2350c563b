/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The watchdog runs before the application does: an image that hangs or faults while it
 * comes up is then reset like one that hangs later, and MCUboot reverts it.
 */

#include <errno.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/watchdog.h>
#include <zephyr/init.h>
#include <zephyr/sys/printk.h>

#include <rekindle/port.h>

static const struct device *const watchdog = DEVICE_DT_GET(DT_ALIAS(watchdog0));
static int channel = -1;

static int arm(void)
{
	static const struct wdt_timeout_cfg timeout = {
		.window.max = CONFIG_REKINDLE_WATCHDOG_TIMEOUT_MS,
		.flags = WDT_FLAG_RESET_SOC,
	};
	int id = -ENODEV;
	int rc;

	if (device_is_ready(watchdog)) {
		id = wdt_install_timeout(watchdog, &timeout);
	}
	rc = id;
	if (id >= 0) {
		rc = wdt_setup(watchdog, WDT_OPT_PAUSE_HALTED_BY_DBG);
		if (rc == -ENOTSUP) {
			/* Not every watchdog can stop for a debugger. */
			rc = wdt_setup(watchdog, 0);
		}
	}
	if (rc == 0) {
		channel = id;
	} else {
		printk("rekindle: no watchdog: %d\n", rc);
	}
	return rc;
}

SYS_INIT(arm, POST_KERNEL, CONFIG_REKINDLE_WATCHDOG_INIT_PRIORITY);

void rekindle_watchdog_feed(void)
{
	if (channel >= 0) {
		(void)wdt_feed(watchdog, channel);
	}
}
