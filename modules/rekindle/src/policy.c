/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/sys/util.h>

#include <rekindle/port.h>

/* An object of its own, read at run time: what a build refuses can then be seen in its
 * image, and tests need no build for each policy.
 */
const struct rekindle_policy rekindle_policy = {
	.confirm_deadline_ms = CONFIG_REKINDLE_CONFIRM_DEADLINE_MS,
	.confirm_answered = IS_ENABLED(CONFIG_REKINDLE_CONFIRM_ANSWERED),
	.erase_at_start = IS_ENABLED(CONFIG_REKINDLE_ERASE_AT_START),
	.refuse_downgrade = IS_ENABLED(CONFIG_REKINDLE_DOWNGRADE_PREVENTION),
	/* Made of the names in Kconfig by target.cmake. */
#ifdef REKINDLE_VENDOR_ID
	.has_vendor = true,
	.vendor_id = {REKINDLE_VENDOR_ID},
#endif
#ifdef REKINDLE_CLASS_ID
	.has_class = true,
	.class_id = {REKINDLE_CLASS_ID},
#endif
};

#ifdef CONFIG_REKINDLE_LINK_QUIET_MS
#define QUIET_MS CONFIG_REKINDLE_LINK_QUIET_MS
#else
#define QUIET_MS 0
#endif

const struct rekindle_traffic rekindle_traffic = {
	.takeover_ms = CONFIG_REKINDLE_TAKEOVER_MS,
	.quiet_ms = QUIET_MS,
	.window = CONFIG_REKINDLE_WINDOW,
	/* Of a controller that is said of its bus; its own receiver has no wire. */
	.half_duplex = IS_ENABLED(CONFIG_REKINDLE_LINK_HALF_DUPLEX) &&
		       !IS_ENABLED(CONFIG_REKINDLE_LINK_CONTROLLER),
	.point_to_point = IS_ENABLED(CONFIG_REKINDLE_LINK_POINT_TO_POINT),
	.serial = IS_ENABLED(CONFIG_REKINDLE_LINK_UART),
};
