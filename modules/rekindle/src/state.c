/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* What the session's loop says about itself to everybody else. */

#include <zephyr/kernel.h>
#include <zephyr/spinlock.h>
#include <zephyr/sys/atomic.h>

#include <rekindle/port.h>

/* Until the session has looked at its flash, nobody knows: nothing may be started. */
static atomic_t busy = ATOMIC_INIT(1);
static struct k_spinlock lock;
static struct rekindle_state known;

bool rekindle_busy(void)
{
	return atomic_get(&busy) != 0;
}

void rekindle_publish_busy(bool is_busy)
{
	(void)atomic_set(&busy, is_busy ? 1 : 0);
}

void rekindle_state(struct rekindle_state *state)
{
	k_spinlock_key_t key = k_spin_lock(&lock);

	*state = known;
	k_spin_unlock(&lock, key);
	state->busy = rekindle_busy();
}

void rekindle_publish(const struct rekindle_state *state)
{
	k_spinlock_key_t key = k_spin_lock(&lock);

	known = *state;
	k_spin_unlock(&lock, key);
}

const char *rekindle_outcome_name(uint32_t outcome)
{
	static const char *const names[] = {"NONE",     "PENDING", "UNDER_TEST",    "CONFIRMED",
					    "REVERTED", "REFUSED", "NOT_ATTEMPTED", "UNKNOWN"};

	return outcome < ARRAY_SIZE(names) ? names[outcome] : "?";
}
