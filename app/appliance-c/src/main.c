/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * An existing application in C, and what an update adds to it: a table of callbacks, most
 * of which only tell what happens, and one call.
 */

#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "heater.h"

#ifdef CONFIG_REKINDLE
#include <rekindle/rekindle.h>

#include "self_test.h"
#include "telemetry.h"

static void status(void *context, struct rekindle_status *status)
{
	ARG_UNUSED(context);
	status->state = heater_state();
	/* Stopped by command. */
	status->error = (status->state == REKINDLE_EMERGENCY_STOP) ? 7 : 0;
	status->safe = status->state == REKINDLE_IDLE;
}

/* A reset would stop the fan on a hot chamber. */
static bool may_reset(void *context)
{
	const enum heater_state state = heater_state();

	ARG_UNUSED(context);
	return state == HEATER_IDLE || state == HEATER_INITIALIZING;
}

static void progress(void *context, uint32_t durable, uint32_t size)
{
	ARG_UNUSED(context);
	printk("update: %u of %u\n", durable, size);
}

static void swap_pending(void *context, bool permanent)
{
	ARG_UNUSED(context);
	printk("update: pending, %s\n", permanent ? "PERMANENT" : "TEST");
}

static void command(void *context, uint32_t mode, const int32_t *argument)
{
	ARG_UNUSED(context);
	ARG_UNUSED(argument);
	printk("appliance: command, mode %u\n", mode);
	heater_command(mode);
}

static void communication_lost(void *context)
{
	ARG_UNUSED(context);
	printk("appliance: communication lost\n");
	heater_stop();
}

/* How much of the session's stack nothing has touched yet. */
static void print_stack(void)
{
	size_t unused;

	if (IS_ENABLED(CONFIG_APPLIANCE_PRINT_STACK) &&
	    k_thread_stack_space_get(k_current_get(), &unused) == 0) {
		printk("appliance: %zu bytes of stack to spare\n", unused);
	}
}

static void event(void *context, const struct rekindle_event *event)
{
	ARG_UNUSED(context);

	switch (event->type) {
	case REKINDLE_STARTED:
		printk("update: started, %u bytes\n", event->size);
		break;
	case REKINDLE_RESUMED:
		printk("update: resumed at %u of %u\n", event->offset, event->size);
		break;
	case REKINDLE_VERIFIED:
		printk("update: verified, version %u.%u.%u+%u\n", event->version.major,
		       event->version.minor, event->version.revision, event->version.build);
		print_stack();
		break;
	case REKINDLE_CLOSED:
		printk("update: closed\n");
		break;
	case REKINDLE_UNDER_TEST:
		printk("update: attempt %u is under test\n", event->attempt);
		break;
	case REKINDLE_SETTLED:
		printk("update: attempt %u: %s\n", event->attempt,
		       rekindle_outcome_name(event->outcome));
		print_stack();
		break;
	case REKINDLE_FAULT:
		printk("update: flash fault in area %u\n", event->area);
		break;
	case REKINDLE_STAGE:
		printk("self-test: stage %u, code %d\n", event->stage, event->code);
		break;
	case REKINDLE_CONFIRMED:
		printk("self-test: passed, confirmed\n");
		break;
	case REKINDLE_FAILED:
		printk("self-test: failed, going back\n");
		break;
	default:
		break;
	}
}

static const struct rekindle_callbacks callbacks = {
	.motors = 1,
	.thermometers = 1,
	.pumps = 1,
	.glows = 1,
	.status = status,
	.may_reset = may_reset,
	.self_test = self_test,
	.progress = progress,
	.swap_pending = swap_pending,
	.command = command,
	.communication_lost = communication_lost,
	.event = event,
#ifdef CONFIG_APPLIANCE_TELEMETRY
	.telemetry = telemetry,
#endif
};

static void start_updates(void)
{
	struct rekindle_state state;
	int rc;

	self_test_before_everything();
	rc = rekindle_start(&callbacks);
	if (rc != 0) {
		printk("appliance: cannot start: %d\n", rc);
		return;
	}
	rekindle_state(&state);
	printk("appliance: address %08x%08x, boot %08x, %s, reset cause 0x%x\n",
	       (uint32_t)(state.address >> 32), (uint32_t)state.address, state.boot_number,
	       state.confirmed ? "confirmed" : "under test", state.reset_cause);
}
#endif /* CONFIG_REKINDLE */

int main(void)
{
	if (heater_init() != 0) {
		printk("appliance: no settings\n");
	}
#ifdef CONFIG_REKINDLE
	start_updates();
#endif
	for (;;) {
		heater_step(k_uptime_get());
		k_msleep(10);
	}
	return 0;
}
