/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief How SMP and the session share the secondary slot.
 *
 * SMP's thread asks, the session's thread answers; these functions are for the latter.
 * Without CONFIG_REKINDLE_SMP nobody ever asks.
 */

#ifndef REKINDLE_SMP_H_
#define REKINDLE_SMP_H_

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Nothing. */
#define REKINDLE_SMP_NOTHING 0
/** To write to the secondary slot. */
#define REKINDLE_SMP_WRITE   1
/** To have an image tested or confirmed. */
#define REKINDLE_SMP_MARK    2
/** To reset the device. */
#define REKINDLE_SMP_RESET   3

/** Yes, this once. */
#define REKINDLE_SMP_GRANTED 0
/** Yes, and the slot is SMP's until it has been idle for long enough. */
#define REKINDLE_SMP_LENT    1
/** No: an update is under way or pending. */
#define REKINDLE_SMP_BUSY    2
/** No: it is not safe now, or the running image is under test. */
#define REKINDLE_SMP_UNSAFE  3

/** What SMP waits for: one of REKINDLE_SMP_NOTHING, _WRITE, _MARK and _RESET. */
uint8_t rekindle_smp_asks(void);
/** Answers it. False when nobody waits any more, so that nothing was lent either. */
bool rekindle_smp_answer(uint8_t answer);
/** Whether the slot is still lent; @p back wants it back as soon as no command runs. */
bool rekindle_smp_holds(bool back);
/** Whether SMP has confirmed the running image since this was last asked. */
bool rekindle_smp_confirmed(void);

#ifdef __cplusplus
}
#endif

#endif /* REKINDLE_SMP_H_ */
