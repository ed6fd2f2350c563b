/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief Firmware updates for an application in C: all that it includes.
 *
 * The application fills in a @ref rekindle_callbacks and calls rekindle_start() once. From
 * then on a thread of the module's own receives updates, asks the application whether it is
 * safe, tests a new image by the application's self-test, and confirms it or has MCUboot go
 * back to the old one. Needs CONFIG_REKINDLE_API_C.
 *
 * Every callback runs on that thread, one at a time, and on its stack
 * (CONFIG_REKINDLE_STACK_SIZE). It must return within a fraction of the watchdog's timeout.
 * What it shares with other threads the application must protect.
 */

#ifndef REKINDLE_REKINDLE_H_
#define REKINDLE_REKINDLE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rekindle/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/** States of an appliance, as controllers know them (PROTOCOL.md, states). */
enum rekindle_appliance_state {
	REKINDLE_INITIALIZING = 0,
	/** Nothing runs: the state in which updates belong. */
	REKINDLE_IDLE = 1,
	REKINDLE_BLOWING = 2,
	REKINDLE_PREHEAT = 3,
	REKINDLE_PREHEAT_STAGE_2 = 4,
	REKINDLE_HEATING = 5,
	REKINDLE_COOLING = 6,
	REKINDLE_ERROR = 7,
	/** Hears no command any more until the power is cut, and reports that by itself. */
	REKINDLE_EMERGENCY_STOP = 8,
};

/** What the application is doing. */
struct rekindle_status {
	/** One of @ref rekindle_appliance_state. */
	uint32_t state;
	/** Error that is reported with the state, 0 for none. */
	uint32_t error;
	/** Flash may be written, and the device reset. */
	bool safe;
};

/** Modes of a controller's command. */
enum rekindle_mode {
	/** Stop, with a cool-down if hot. */
	REKINDLE_MODE_IDLE = 0,
	REKINDLE_MODE_FAN = 1,
	REKINDLE_MODE_HEAT = 2,
	/** Stop everything until the power is cut. An open update has ended already. */
	REKINDLE_MODE_EMERGENCY = 255,
};

/** A self-test's answer: it works on the stage that it names, and wants to be asked again. */
#define REKINDLE_TESTING 1

/** What an event tells; the fields of @ref rekindle_event that hold are named with it. */
enum rekindle_event_type {
	/** A new update began: size. */
	REKINDLE_STARTED = 0,
	/** An update that a reset cut off goes on: offset, size. */
	REKINDLE_RESUMED = 1,
	/** The image is complete and right: version. */
	REKINDLE_VERIFIED = 2,
	/** The update ended without being activated. */
	REKINDLE_CLOSED = 3,
	/** The running image is under test: attempt. */
	REKINDLE_UNDER_TEST = 4,
	/** What came of an attempt is known: attempt, outcome. */
	REKINDLE_SETTLED = 5,
	/** A flash operation failed: area (0 primary slot, 1 secondary slot, 2 journal). */
	REKINDLE_FAULT = 6,
	/** The self-test began a stage or, with a code other than 0, ended in it: stage, code. */
	REKINDLE_STAGE = 7,
	/** The running image is confirmed. */
	REKINDLE_CONFIRMED = 8,
	/** The running image has failed: a reset to the old one follows. */
	REKINDLE_FAILED = 9,
	/** Bytes on the link were no frame. */
	REKINDLE_FRAMING = 10,
};

/** Something happened. */
struct rekindle_event {
	/** One of @ref rekindle_event_type. */
	uint32_t type;
	/** Bytes of the image. */
	uint32_t size;
	/** First byte that is still missing. */
	uint32_t offset;
	/** Counts the device's activations. */
	uint32_t attempt;
	/** One of @ref rekindle_outcome_code. */
	uint32_t outcome;
	uint32_t stage;
	int32_t code;
	uint32_t area;
	struct rekindle_version version;
};

/** Kinds of reports that a controller asks for. The state is reported without the application. */
enum rekindle_report {
	REKINDLE_REPORT_MOTOR = 1,
	REKINDLE_REPORT_TEMPERATURE = 2,
	REKINDLE_REPORT_PUMP = 3,
	REKINDLE_REPORT_GLOW = 4,
};

/** Every kind of report, or every motor, thermometer, pump or glow plug. */
#define REKINDLE_ALL UINT32_MAX

/** Where a telemetry callback's reports go. */
struct rekindle_outlet;

/** What the application brings along. All but @a status may be NULL. */
struct rekindle_callbacks {
	/** Handed to every callback. */
	void *context;

	/** What a discovery tells about the device. */
	uint8_t motors;
	uint8_t thermometers;
	uint8_t pumps;
	uint8_t glows;

	/**
	 * What the application is doing now. Asked before every command of an update and again
	 * before a reset: while it is not safe none is taken that writes, and nothing is reset.
	 * What was taken before is carried out (an erase of the whole slot can take seconds),
	 * unless rekindle_emergency() ends it: rekindle_busy() is true meanwhile.
	 */
	void (*status)(void *context, struct rekindle_status *status);

	/**
	 * Whether a reset does no harm now; by default while @a status says that it is safe.
	 * Only this is asked before the reset that ends a failed self-test.
	 */
	bool (*may_reset)(void *context);

	/**
	 * Tests an image under test, step by step: called until it has passed or failed. NULL:
	 * an image that can be reached is good.
	 *
	 * @param stage in: the stage it named last, 0 at first. Out: the one that it works on
	 *        now, 1 to 99. It is called again when that number is on flash, so that the old
	 *        image can tell where this one hung: what may hang belongs behind that.
	 * @return REKINDLE_TESTING to be asked again, 0 if all is well, or the reason for which
	 *         the image has to go, as a negative errno value.
	 */
	int (*self_test)(void *context, uint32_t *stage);

	/** Of @p size bytes @p durable survive a power cut. */
	void (*progress)(void *context, uint32_t durable, uint32_t size);

	/** The next reset, whatever its cause, installs the update. */
	void (*swap_pending)(void *context, bool permanent);

	/**
	 * A controller wants another state (@ref rekindle_mode). While an update is on its way
	 * only IDLE and EMERGENCY come through.
	 *
	 * @param argument what the mode needs, such as a speed, or NULL.
	 */
	void (*command)(void *context, uint32_t mode, const int32_t *argument);

	/** No controller has been heard for a while: become idle. */
	void (*communication_lost)(void *context);

	/** Something else that may be worth a line in the log. */
	void (*event)(void *context, const struct rekindle_event *event);

	/**
	 * Reports are due: those that a controller asked for, or all of them when their time has
	 * come. Each is sent by a rekindle_report_…() function; what the application does not have
	 * is left out.
	 *
	 * @param kind one of @ref rekindle_report, or REKINDLE_ALL.
	 * @param index which of that kind, from 0, or REKINDLE_ALL.
	 * @param outlet for these functions, until the callback returns.
	 */
	void (*telemetry)(void *context, uint32_t kind, uint32_t index,
			  struct rekindle_outlet *outlet);
};

/** A motor's report. */
struct rekindle_motor {
	/** Which motor, from 0. */
	uint32_t motor;
	/** Speed and speed wanted, in revolutions per minute. */
	int32_t rpm;
	int32_t target_rpm;
	/** Lowest and highest speed, in revolutions per minute; only if @ref has_limits. */
	int32_t min_rpm;
	int32_t max_rpm;
	/** Pulse and longest pulse, in nanoseconds; only if @ref has_pulse. */
	uint32_t pulse_ns;
	uint32_t pulse_max_ns;
	bool has_limits;
	bool has_pulse;
};

/** A thermometer's report. */
struct rekindle_temperature {
	/** Reading, in degrees Celsius. */
	double reading;
	/** Temperature wanted, in degrees Celsius; only if @ref has_target. */
	double target;
	/** Which thermometer, from 0. */
	uint32_t thermometer;
	/** The motor that belongs to it, and whether it steers that motor; only if @ref has_motor. */
	int32_t motor;
	bool has_target;
	bool has_motor;
	bool steers;
};

/** A pump's report. */
struct rekindle_pump {
	/** Which pump, from 0. */
	uint32_t pump;
	/** What it did last, 0 to 5 (PUMP_DATA in PROTOCOL.md). */
	uint32_t event;
	/** Time from pulse to pulse, in milliseconds; only if @ref has_rate. */
	int32_t rate_ms;
	bool has_rate;
};

/**
 * Sends a report, from within a telemetry callback. One that finds no room on the link within
 * a second is lost.
 */
void rekindle_report_motor(struct rekindle_outlet *outlet, const struct rekindle_motor *report);
void rekindle_report_temperature(struct rekindle_outlet *outlet,
				 const struct rekindle_temperature *report);
void rekindle_report_pump(struct rekindle_outlet *outlet, const struct rekindle_pump *report);
void rekindle_report_glow(struct rekindle_outlet *outlet, uint32_t glow, bool lit);

/**
 * Starts the device in a thread of its own.
 *
 * From any thread that may block, once per boot.
 *
 * @param callbacks must live for as long as the device runs.
 * @retval 0 the link is open, updates are received.
 * @retval -EINVAL there are no callbacks, or no @a status among them.
 * @retval -EBUSY the device was started before.
 * @return another negative errno value if the flash layout or the link cannot work.
 */
int rekindle_start(const struct rekindle_callbacks *callbacks);

/**
 * As rekindle_start(), but on the calling thread, whose stack it then needs. Returns only if
 * it cannot start.
 */
int rekindle_run(const struct rekindle_callbacks *callbacks);

/**
 * Ends an update that is on its way, at once: whatever it was doing, the application needs
 * the device now. A controller's EMERGENCY does the same by itself. What is already pending
 * stays so, and a later update starts anew.
 *
 * From any thread and from interrupts; takes effect before the next flash operation.
 */
void rekindle_emergency(void);

/**
 * Resets the device when everything is on flash, the link has sent what it holds, and the
 * application agrees (@a status, @a may_reset).
 *
 * From any thread and from interrupts.
 */
void rekindle_request_reset(void);

#ifdef __cplusplus
}
#endif

#endif /* REKINDLE_REKINDLE_H_ */
