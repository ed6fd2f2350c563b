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
	switch (mcuboot_swap_type()) {
	case BOOT_SWAP_TYPE_REVERT:
		return false;
	case BOOT_SWAP_TYPE_NONE:
	case BOOT_SWAP_TYPE_TEST:
	case BOOT_SWAP_TYPE_PERM:
		/* Power lost while MCUboot writes "copy done" leaves an image that nobody
		 * confirmed and nobody will revert. It stays, so the device must be able to
		 * replace it.
		 */
		return true;
	default:
		return boot_is_img_confirmed();
	}
}

int rekindle_swap_type(void)
{
	return mcuboot_swap_type();
}
