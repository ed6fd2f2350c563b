/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief What every thread may know of the update: is it in the way, how far is it, what
 * became of the ones before.
 */

#ifndef REKINDLE_STATE_H_
#define REKINDLE_STATE_H_

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Attempts whose outcome is kept. */
#define REKINDLE_OUTCOMES 4

/** What came of an attempt (PROTOCOL.md, outcome). */
enum rekindle_outcome_code {
	REKINDLE_OUTCOME_NONE = 0,
	/** Activated; the reset has not happened yet. */
	REKINDLE_OUTCOME_PENDING = 1,
	/** The new image runs and is not confirmed yet. */
	REKINDLE_OUTCOME_UNDER_TEST = 2,
	REKINDLE_OUTCOME_CONFIRMED = 3,
	/** The new image ran, and MCUboot went back to the old one. */
	REKINDLE_OUTCOME_REVERTED = 4,
	/** MCUboot would not start the new image. */
	REKINDLE_OUTCOME_REFUSED = 5,
	/** MCUboot did not try the new image. */
	REKINDLE_OUTCOME_NOT_ATTEMPTED = 6,
	/** The evidence does not say. */
	REKINDLE_OUTCOME_UNKNOWN = 7,
};

/** An image's version. */
struct rekindle_version {
	uint8_t major;
	uint8_t minor;
	uint16_t revision;
	uint32_t build;
};

/** One attempt to install an update, as OUTCOME in PROTOCOL.md has it. */
struct rekindle_outcome {
	uint32_t attempt;
	/** How it ended: one of @ref rekindle_outcome_code. */
	uint32_t outcome;
	/** The last stage of its self-test, and its code; only if @ref has_stage. */
	uint32_t stage;
	int32_t code;
	/** Causes of the reset that ended it (hwinfo's RESET_* bits). */
	uint32_t reset_cause;
	bool has_stage;
	bool permanent;
};

/** The device, as it was a moment ago. */
struct rekindle_state {
	uint64_t address;
	uint32_t boot_number;
	uint32_t reset_cause;
	/** Bytes of the update that were received, and its size; 0 without an update. */
	uint32_t received;
	uint32_t size;
	/** Version of the running image. */
	uint32_t version_build;
	uint16_t version_revision;
	uint8_t version_major;
	uint8_t version_minor;
	/** State of the update: 0 idle, 1 receiving, 2 received, 3 verified, 4 activated. */
	uint8_t update;
	/** State of the appliance, as STATE_DATA reports it. */
	uint8_t appliance;
	/** Number of outcomes that follow, the newest first. */
	uint8_t outcomes;
	/** The running image is not under test. */
	bool confirmed;
	bool busy;
	/** The next reset, whatever its cause, installs an update. */
	bool swap_pending;
	struct rekindle_outcome outcome[REKINDLE_OUTCOMES];
};

/**
 * Whether an update is on its way, pending or under test, so that nothing may be started
 * which a reset or a stalled CPU would harm. From any thread and from interrupts.
 *
 * An application that changes its state first and asks afterwards cannot race an update:
 * the session asks for the state before each step.
 */
bool rekindle_busy(void);
/** Copies the device's state; from any thread. */
void rekindle_state(struct rekindle_state *state);
/** An outcome's name, as the protocol has it: "CONFIRMED", "REVERTED", … */
const char *rekindle_outcome_name(uint32_t outcome);

#ifdef __cplusplus
}
#endif

#endif /* REKINDLE_STATE_H_ */
