/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The physical act for root mode: a button, held for five seconds while the controller boots.
 */

#include <zephyr/devicetree.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/kernel.h>

#include <rekindle/controller.h>
#include <rekindle/port.h>

#define HELD_MS 5000
#define LOOK_MS 50

bool rekindle_root_held(void)
{
	static const struct gpio_dt_spec button = GPIO_DT_SPEC_GET(DT_ALIAS(rekindle_root), gpios);

	if (!gpio_is_ready_dt(&button) || gpio_pin_configure_dt(&button, GPIO_INPUT) != 0) {
		return false;
	}
	for (int held_ms = 0; held_ms < HELD_MS; held_ms += LOOK_MS) {
		if (gpio_pin_get_dt(&button) <= 0) {
			return false;
		}
		rekindle_watchdog_feed();
		(void)k_msleep(LOOK_MS);
	}
	return true;
}
