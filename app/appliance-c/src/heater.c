/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <errno.h>

#include <zephyr/kernel.h>
#include <zephyr/settings/settings.h>
#include <zephyr/sys/util.h>

#include "heater.h"

#ifdef CONFIG_REKINDLE
#include <rekindle/rekindle.h>
#else
#define rekindle_busy()      false
#define rekindle_emergency() ((void)0)
#endif

#define KEY_IGNITIONS "heater/ignitions"

/* How long the sensors take to settle after a boot. */
#define SETTLE_MS 200
/* How long the fan runs on, however cool it is. */
#define COOL_MS   500

/* Degrees: the coldest and the hottest, and the ends of both stages of ignition. */
#define AMBIENT 25
#define STAGE_2 190
#define BURNING 210
#define TARGET  230
/* Below this the chamber no longer needs its fan. */
#define COOL    120

/* Milliseconds that a degree takes. */
#define HEAT_MS 20
#define FALL_MS 10

static K_MUTEX_DEFINE(lock);
static enum heater_state state = HEATER_INITIALIZING;
static int64_t entered_ms;
static int64_t moved_ms;
static int temperature = AMBIENT;
/* How often it was lit: what this application keeps in settings. */
static uint32_t ignitions;
static bool lit;

static void enter(enum heater_state next)
{
	/* An emergency stop ends with the power. */
	if (state != HEATER_EMERGENCY_STOP && next != state) {
		state = next;
		entered_ms = k_uptime_get();
	}
}

static bool burns(void)
{
	return IN_RANGE(state, HEATER_PREHEAT, HEATER_HEATING);
}

static void warm(int64_t now_ms)
{
	int end = burns() ? TARGET : AMBIENT;
	int each_ms = burns() ? HEAT_MS : FALL_MS;

	while (now_ms - moved_ms >= each_ms && temperature != end) {
		temperature += (end > temperature) ? 1 : -1;
		moved_ms += each_ms;
	}
	if (temperature == end) {
		moved_ms = now_ms;
	}
}

int heater_init(void)
{
	int rc = settings_subsys_init();

	if (rc == 0) {
		/* None is kept yet: it was never lit. */
		(void)settings_load_one(KEY_IGNITIONS, &ignitions, sizeof(ignitions));
	}
	return rc;
}

/* On the caller's stack, and written without the lock: flash takes its time. */
static void keep_ignitions(void)
{
	uint32_t count;
	bool changed;

	k_mutex_lock(&lock, K_FOREVER);
	changed = lit;
	lit = false;
	ignitions += changed ? 1U : 0U;
	count = ignitions;
	k_mutex_unlock(&lock);
	if (changed) {
		(void)settings_save_one(KEY_IGNITIONS, &count, sizeof(count));
	}
}

void heater_step(int64_t now_ms)
{
	int64_t lasted_ms;

	keep_ignitions();
	k_mutex_lock(&lock, K_FOREVER);
	warm(now_ms);
	lasted_ms = now_ms - entered_ms;
	if (state == HEATER_INITIALIZING && lasted_ms >= SETTLE_MS) {
		enter(HEATER_IDLE);
	} else if (state == HEATER_PREHEAT && temperature >= STAGE_2) {
		enter(HEATER_PREHEAT_STAGE_2);
	} else if (state == HEATER_PREHEAT_STAGE_2 && temperature >= BURNING) {
		enter(HEATER_HEATING);
	} else if (state == HEATER_COOLING && temperature < COOL && lasted_ms >= COOL_MS) {
		enter(HEATER_IDLE);
	}
	k_mutex_unlock(&lock);
}

enum heater_state heater_state(void)
{
	enum heater_state now;

	k_mutex_lock(&lock, K_FOREVER);
	now = state;
	k_mutex_unlock(&lock);
	return now;
}

static int fan_rpm(void)
{
	switch (state) {
	case HEATER_BLOWING:
	case HEATER_COOLING:
		return 2500;
	case HEATER_PREHEAT:
	case HEATER_PREHEAT_STAGE_2:
		return 1200;
	case HEATER_HEATING:
		return 3000;
	default:
		return 0;
	}
}

void heater_read(struct heater_reading *reading)
{
	k_mutex_lock(&lock, K_FOREVER);
	reading->temperature = temperature;
	reading->target = TARGET;
	reading->fan_rpm = fan_rpm();
	reading->burns = burns();
	reading->glows = IN_RANGE(state, HEATER_PREHEAT, HEATER_PREHEAT_STAGE_2);
	k_mutex_unlock(&lock);
}

static void stop(void)
{
	if (state != HEATER_INITIALIZING && state != HEATER_IDLE) {
		enter(HEATER_COOLING);
	}
}

void heater_stop(void)
{
	k_mutex_lock(&lock, K_FOREVER);
	stop();
	k_mutex_unlock(&lock);
}

void heater_command(uint32_t mode)
{
	k_mutex_lock(&lock, K_FOREVER);
	if (mode == HEATER_MODE_EMERGENCY) {
		enter(HEATER_EMERGENCY_STOP);
	} else if (mode == HEATER_MODE_IDLE) {
		stop();
	} else if (state == HEATER_IDLE && mode == HEATER_MODE_FAN) {
		enter(HEATER_BLOWING);
	} else if (state == HEATER_IDLE && mode == HEATER_MODE_HEAT) {
		enter(HEATER_PREHEAT);
		lit = true;
	}
	k_mutex_unlock(&lock);
}

int heater_enter(enum heater_state next)
{
	const bool harmless = next == HEATER_IDLE || next >= HEATER_COOLING;
	enum heater_state before;
	int rc = 0;

	k_mutex_lock(&lock, K_FOREVER);
	before = state;
	enter(next);
	/* Change first, ask then: the update publishes that it is busy before it asks for the
	 * state, so one of both always sees the other.
	 */
	if (!harmless && rekindle_busy()) {
		enter(before);
		rc = -EBUSY;
	} else if (state == HEATER_HEATING) {
		temperature = TARGET;
	} else if (state == HEATER_PREHEAT && before != HEATER_PREHEAT) {
		lit = true;
	}
	k_mutex_unlock(&lock);
	if (next == HEATER_EMERGENCY_STOP) {
		/* That of a controller has done so by itself. */
		rekindle_emergency();
	}
	return rc;
}
