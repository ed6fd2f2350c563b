/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* The button for root mode (src/controller/root.c), on an emulated pin: it is held, or let go of while it is waited for. */

#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/gpio/gpio_emul.h>
#include <zephyr/kernel.h>
#include <zephyr/ztest.h>

#include <rekindle/controller.h>

static const struct gpio_dt_spec button = GPIO_DT_SPEC_GET(DT_ALIAS(rekindle_root), gpios);
static bool held;

static void put_on_pin(void)
{
	/* Pressed, it connects the pin to ground. */
	(void)gpio_emul_input_set(button.port, button.pin, held ? 0 : 1);
}

/* A pin that is being made an input takes the level of its pull-up, whatever is wired to it, and says so. */
static void configured(const struct device *port, struct gpio_callback *callback, gpio_port_pins_t pins)
{
	ARG_UNUSED(port);
	ARG_UNUSED(callback);
	ARG_UNUSED(pins);
	put_on_pin();
}

static void let_go(struct k_timer *timer)
{
	ARG_UNUSED(timer);
	held = false;
	put_on_pin();
}

static void press(struct k_timer *timer)
{
	ARG_UNUSED(timer);
	held = true;
	put_on_pin();
}

static K_TIMER_DEFINE(letting_go, let_go, NULL);
static K_TIMER_DEFINE(pressing, press, NULL);

static void *wire(void)
{
	static struct gpio_callback callback;

	gpio_init_callback(&callback, configured, BIT(button.pin));
	zassert_ok(gpio_add_callback(button.port, &callback));
	return NULL;
}

static void begin(void *fixture)
{
	ARG_UNUSED(fixture);
	held = false;
}

static void end(void *fixture)
{
	ARG_UNUSED(fixture);
	k_timer_stop(&letting_go);
	k_timer_stop(&pressing);
}

/* What the controller is told, and after how long. */
static bool ask(int64_t *took_ms)
{
	int64_t began_ms = k_uptime_get();
	bool told = rekindle_root_held();

	*took_ms = k_uptime_get() - began_ms;
	return told;
}

ZTEST(button, test_nobody_holds_it)
{
	int64_t took_ms;

	zassert_false(ask(&took_ms));
	zassert_true(took_ms < 50, "the boot waited %d ms for nothing", (int)took_ms);
}

ZTEST(button, test_held_for_five_seconds)
{
	int64_t took_ms;

	held = true;
	zassert_true(ask(&took_ms));
	zassert_between_inclusive(took_ms, 5000, 7000, "after %d ms", (int)took_ms);
}

ZTEST(button, test_let_go_of_after_three_seconds)
{
	int64_t took_ms;

	held = true;
	k_timer_start(&letting_go, K_MSEC(3000), K_NO_WAIT);
	zassert_false(ask(&took_ms));
	zassert_between_inclusive(took_ms, 3000, 3500, "after %d ms", (int)took_ms);
}

ZTEST(button, test_pressed_again_is_not_held)
{
	int64_t took_ms;

	held = true;
	k_timer_start(&letting_go, K_MSEC(2000), K_NO_WAIT);
	k_timer_start(&pressing, K_MSEC(2200), K_NO_WAIT);
	zassert_false(ask(&took_ms));
	zassert_between_inclusive(took_ms, 2000, 2500, "after %d ms", (int)took_ms);
}

ZTEST_SUITE(button, NULL, wire, begin, end, NULL);
