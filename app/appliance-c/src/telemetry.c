/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/sys/util.h>

#include "heater.h"
#include "telemetry.h"

#define FAN_MIN_RPM  800
#define FAN_MAX_RPM  6000
/* The pump's cycle while it burns. */
#define PUMP_RATE_MS 500
/* What a pump reports: it is ready, or a cycle has begun. */
#define PUMP_READY   1
#define PUMP_CYCLE   3

static void report_fan(const struct heater_reading *now, struct rekindle_outlet *outlet)
{
	const struct rekindle_motor fan = {
		.rpm = now->fan_rpm,
		.target_rpm = now->fan_rpm,
		.min_rpm = FAN_MIN_RPM,
		.max_rpm = FAN_MAX_RPM,
		.has_limits = true,
	};

	rekindle_report_motor(outlet, &fan);
}

static void report_chamber(const struct heater_reading *now, struct rekindle_outlet *outlet)
{
	const struct rekindle_temperature chamber = {
		.reading = now->temperature,
		.target = now->target,
		.has_target = now->burns,
	};

	rekindle_report_temperature(outlet, &chamber);
}

static void report_pump(const struct heater_reading *now, struct rekindle_outlet *outlet)
{
	const struct rekindle_pump pump = {
		.event = now->burns ? PUMP_CYCLE : PUMP_READY,
		.rate_ms = PUMP_RATE_MS,
		.has_rate = now->burns,
	};

	rekindle_report_pump(outlet, &pump);
}

void telemetry(void *context, uint32_t kind, uint32_t index, struct rekindle_outlet *outlet)
{
	const bool all = kind == REKINDLE_ALL;
	struct heater_reading now;

	ARG_UNUSED(context);
	/* There is one of each. */
	if (index != 0 && index != REKINDLE_ALL) {
		return;
	}
	heater_read(&now);
	if (all || kind == REKINDLE_REPORT_MOTOR) {
		report_fan(&now, outlet);
	}
	if (all || kind == REKINDLE_REPORT_TEMPERATURE) {
		report_chamber(&now, outlet);
	}
	if (all || kind == REKINDLE_REPORT_PUMP) {
		report_pump(&now, outlet);
	}
	if (all || kind == REKINDLE_REPORT_GLOW) {
		rekindle_report_glow(outlet, 0, now.glows);
	}
}
