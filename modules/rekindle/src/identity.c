/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * Who this device is on the bus, and which of its boots this is.
 *
 * A device without a unique id of its own draws an address once and keeps it in
 * settings. Boots are counted there too: a controller notices a reboot by the number,
 * so it must differ from that of the boot before, which no source of randomness
 * promises that a board without an entropy driver has.
 */

#include <string.h>

#include <zephyr/drivers/hwinfo.h>
#include <zephyr/kernel.h>
#include <zephyr/random/random.h>
#include <zephyr/settings/settings.h>
#include <zephyr/sys/byteorder.h>

#include <rekindle/port.h>

#define KEY_ADDRESS "rekindle/address"
#define KEY_BOOT    "rekindle/boot"

/* The subsystem's initialisation does nothing more once it has succeeded. */
static bool load(const char *key, void *value, size_t len)
{
	return IS_ENABLED(CONFIG_SETTINGS) && settings_subsys_init() == 0 &&
	       settings_load_one(key, value, len) == (ssize_t)len;
}

/* Behind a load(). A value that cannot be kept is drawn anew at the next boot. */
static void save(const char *key, const void *value, size_t len)
{
	if (IS_ENABLED(CONFIG_SETTINGS)) {
		(void)settings_save_one(key, value, len);
	}
}

/* 0 and all ones are addresses with a meaning of their own. */
static bool is_device_address(uint64_t address)
{
	return address != 0U && address != UINT64_MAX;
}

static uint64_t hardware_address(void)
{
	uint8_t id[16] = {0};
	uint64_t address = 0;
	ssize_t len = IS_ENABLED(CONFIG_HWINFO) ? hwinfo_get_device_id(id, sizeof(id)) : 0;

	/* Longer ids are folded, so that no part of them is lost. */
	for (ssize_t i = 0; i + 8 <= ROUND_UP(MAX(len, 0), 8); i += 8) {
		address ^= sys_get_be64(&id[i]);
	}
	return address;
}

uint64_t rekindle_device_address(void)
{
	uint64_t address = hardware_address();

	if (is_device_address(address)) {
		return address;
	}
	if (load(KEY_ADDRESS, &address, sizeof(address)) && is_device_address(address)) {
		return address;
	}
	do {
		rekindle_random((uint8_t *)&address, sizeof(address));
	} while (!is_device_address(address));
	save(KEY_ADDRESS, &address, sizeof(address));
	return address;
}

uint32_t rekindle_boot_number(void)
{
	uint32_t number;

	if (load(KEY_BOOT, &number, sizeof(number))) {
		number++;
	} else {
		rekindle_random((uint8_t *)&number, sizeof(number));
	}
	save(KEY_BOOT, &number, sizeof(number));
	return number;
}
