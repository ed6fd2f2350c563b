/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The C side of rekindle/rekindle.h: the session's thread, and what other threads ask of it.
 * The session itself is in the static library (rust/rekindle-zephyr/src/c_api.rs).
 */

#include <errno.h>

#include <zephyr/kernel.h>
#include <zephyr/sys/atomic.h>

#include <rekindle/port.h>
#include <rekindle/rekindle.h>

static K_THREAD_STACK_DEFINE(stack, CONFIG_REKINDLE_STACK_SIZE);
static struct k_thread thread;
static K_SEM_DEFINE(started, 0, 1);
static int start_result;
static atomic_t begun;
static atomic_t requests;

static void run(void *callbacks, void *unused2, void *unused3)
{
	ARG_UNUSED(unused2);
	ARG_UNUSED(unused3);

	/* Comes back only if it could not start, which the caller is told already. */
	(void)rekindle_run(callbacks);
}

int rekindle_start(const struct rekindle_callbacks *callbacks)
{
	k_tid_t id;

	if (!atomic_cas(&begun, 0, 1)) {
		return -EBUSY;
	}
	id = k_thread_create(&thread, stack, K_THREAD_STACK_SIZEOF(stack), run, (void *)callbacks,
			     NULL, NULL, K_PRIO_PREEMPT(CONFIG_REKINDLE_PRIORITY), 0, K_NO_WAIT);
	if (IS_ENABLED(CONFIG_THREAD_NAME)) {
		(void)k_thread_name_set(id, "rekindle");
	}
	(void)k_sem_take(&started, K_FOREVER);
	return start_result;
}

void rekindle_started(int result)
{
	start_result = result;
	k_sem_give(&started);
}

void rekindle_emergency(void)
{
	(void)atomic_or(&requests, REKINDLE_REQUEST_EMERGENCY);
}

void rekindle_request_reset(void)
{
	(void)atomic_or(&requests, REKINDLE_REQUEST_RESET);
}

uint32_t rekindle_take_requests(void)
{
	return (uint32_t)atomic_clear(&requests);
}
