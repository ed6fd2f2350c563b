/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The button for root mode, held by whoever can write behind the bootloader while the machine is off. No software on
 * the machine writes there.
 */

#include <string.h>

#include <zephyr/storage/flash_map.h>

#include <rekindle/controller.h>

static const char mark[] = "root button held";

bool rekindle_root_held(void)
{
	const struct flash_area *boot;
	char there[sizeof(mark) - 1];
	bool held = false;

	if (flash_area_open(FIXED_PARTITION_ID(boot_partition), &boot) == 0) {
		held = flash_area_read(boot, (off_t)(boot->fa_size - sizeof(there)), there,
				       sizeof(there)) == 0 &&
		       memcmp(there, mark, sizeof(there)) == 0;
		flash_area_close(boot);
	}
	return held;
}
