/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/dfu/mcuboot.h>

#include <rekindle/port.h>

int rekindle_request_upgrade(bool permanent)
{
	return boot_request_upgrade(permanent ? BOOT_UPGRADE_PERMANENT : BOOT_UPGRADE_TEST);
}

int rekindle_confirm(void)
{
	return boot_write_img_confirmed();
}

bool rekindle_is_confirmed(void)
{
	return boot_is_img_confirmed();
}

int rekindle_swap_type(void)
{
	return mcuboot_swap_type();
}
