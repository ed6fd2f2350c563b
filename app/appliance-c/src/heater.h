/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief The appliance's own business: a heater without a fire.
 *
 * Every function but heater_init() and heater_step() may be called from any thread.
 */

#ifndef HEATER_H_
#define HEATER_H_

#include <stdbool.h>
#include <stdint.h>

/** Numbered as controllers know them. */
enum heater_state {
	HEATER_INITIALIZING = 0,
	HEATER_IDLE = 1,
	HEATER_BLOWING = 2,
	HEATER_PREHEAT = 3,
	HEATER_PREHEAT_STAGE_2 = 4,
	HEATER_HEATING = 5,
	HEATER_COOLING = 6,
	HEATER_ERROR = 7,
	/** Until the power is cut. */
	HEATER_EMERGENCY_STOP = 8,
};

enum heater_mode {
	HEATER_MODE_IDLE = 0,
	HEATER_MODE_FAN = 1,
	HEATER_MODE_HEAT = 2,
	HEATER_MODE_EMERGENCY = 255,
};

/** Loads what was kept. @return 0 or a negative errno value. */
int heater_init(void);

/** Lets time pass: to be called every few milliseconds, always by the same thread. */
void heater_step(int64_t now_ms);

enum heater_state heater_state(void);

/** What its sensors and outputs say at one moment. */
struct heater_reading {
	/** In degrees Celsius; the target only while it burns. */
	int temperature;
	int target;
	/** In revolutions per minute. */
	int fan_rpm;
	bool burns;
	bool glows;
};

void heater_read(struct heater_reading *reading);

/** A controller's command, one of @ref heater_mode. */
void heater_command(uint32_t mode);

/** Becomes idle, by way of cooling down. */
void heater_stop(void);

/**
 * Enters a state from the device's own buttons.
 *
 * @return 0, or -EBUSY if an update is on its way and the state is not a harmless one.
 */
int heater_enter(enum heater_state state);

#endif /* HEATER_H_ */
