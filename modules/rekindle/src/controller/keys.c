/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The keys whose signatures release images, as the build was given them (keys.cmake).
 */

#include <string.h>

#include <zephyr/sys/util.h>

#include <rekindle/controller.h>

struct key {
	const uint8_t *der;
	size_t len;
};

/* Defines `keys`. */
#include "rekindle_keys.inc"

size_t rekindle_trusted_key(uint8_t number, uint8_t *der, size_t capacity)
{
	if (number >= ARRAY_SIZE(keys)) {
		return 0;
	}
	if (keys[number].len <= capacity) {
		memcpy(der, keys[number].der, keys[number].len);
	}
	return keys[number].len;
}
