/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The appliance at the console. The shell has a thread of its own: what it is told goes to
 * the appliance's loop as a word, and what it tells is a copy.
 */

#include <errno.h>
#include <string.h>

#include <zephyr/shell/shell.h>
#include <zephyr/sys/util.h>

#include <rekindle/port.h>
#include <rekindle/shell.h>

/* By the numbers of STATE_DATA (PROTOCOL.md). */
static const char *const states[] = {"initializing", "idle",    "blowing", "preheat", "preheat2",
				     "heating",      "cooling", "error",   "emergency"};

/* Behind them: not a state, but a reset (lib.rs). */
#define RESET 255U

static int cmd_state(const struct shell *sh, size_t argc, char **argv)
{
	struct rekindle_state now;

	if (argc < 2) {
		rekindle_state(&now);
		shell_print(sh, "%s", now.appliance < ARRAY_SIZE(states) ? states[now.appliance] : "?");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (strcmp(argv[1], states[i]) == 0) {
			return rekindle_post((uint32_t)i);
		}
	}
	shell_error(sh, "no such state; there are:");
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		shell_print(sh, "  %s", states[i]);
	}
	return -EINVAL;
}

static int cmd_reset(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	ARG_UNUSED(sh);
	return rekindle_post(RESET);
}

SHELL_STATIC_SUBCMD_SET_CREATE(
	commands, SHELL_CMD_ARG(state, NULL, "state [NAME]: tells the state, or enters one", cmd_state, 1, 1),
	SHELL_CMD(reset, NULL, "Resets the device as soon as the appliance may be reset", cmd_reset),
	SHELL_CMD(status, NULL, "The running image and the update", rekindle_shell_status),
	SHELL_CMD(outcomes, NULL, "What became of the last updates", rekindle_shell_outcomes),
	SHELL_SUBCMD_SET_END);

SHELL_CMD_REGISTER(appliance, &commands, "The appliance", NULL);
