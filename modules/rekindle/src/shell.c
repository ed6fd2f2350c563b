/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/shell/shell.h>
#include <zephyr/sys/util.h>

#include <rekindle/port.h>
#include <rekindle/shell.h>

/* PROTOCOL.md, states of an update. */
static const char *update_name(uint8_t state)
{
	static const char *const names[] = {"idle", "receiving", "received", "verified",
					    "activated"};

	return state < ARRAY_SIZE(names) ? names[state] : "?";
}

int rekindle_shell_status(const struct shell *sh, size_t argc, char **argv)
{
	struct rekindle_state state;

	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	rekindle_state(&state);
	shell_print(sh, "address %08x%08x, boot %08x, reset cause 0x%x",
		    (uint32_t)(state.address >> 32), (uint32_t)state.address, state.boot_number,
		    state.reset_cause);
	shell_print(sh, "version %u.%u.%u+%u, %s", state.version_major, state.version_minor,
		    state.version_revision, state.version_build,
		    state.confirmed ? "confirmed" : "under test");
	shell_print(sh, "update %s, %u of %u bytes%s", update_name(state.update), state.received,
		    state.size, state.swap_pending ? ", installed at the next reset" : "");
	shell_print(sh, "appliance state %u, %s", state.appliance,
		    state.busy ? "busy with an update" : "free");
	return 0;
}

int rekindle_shell_outcomes(const struct shell *sh, size_t argc, char **argv)
{
	struct rekindle_state state;

	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	rekindle_state(&state);
	if (state.outcomes == 0U) {
		shell_print(sh, "no update so far");
	}
	for (size_t i = 0; i < state.outcomes; i++) {
		const struct rekindle_outcome *o = &state.outcome[i];

		shell_fprintf(sh, SHELL_NORMAL, "attempt %u%s: %s", o->attempt,
			      o->permanent ? ", permanent" : "", rekindle_outcome_name(o->outcome));
		if (o->has_stage) {
			shell_fprintf(sh, SHELL_NORMAL, ", stage %u, code %d", o->stage, o->code);
		}
		shell_print(sh, ", reset cause 0x%x", o->reset_cause);
	}
	return 0;
}

SHELL_STATIC_SUBCMD_SET_CREATE(
	commands, SHELL_CMD(status, NULL, "The running image and the update", rekindle_shell_status),
	SHELL_CMD(outcomes, NULL, "What became of the last updates", rekindle_shell_outcomes),
	SHELL_SUBCMD_SET_END);

SHELL_CMD_REGISTER(rekindle, &commands, "Firmware update", NULL);
