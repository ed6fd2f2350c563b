/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The appliance at the console.
 */

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <zephyr/shell/shell.h>
#include <zephyr/sys/util.h>

#include <rekindle/rekindle.h>
#include <rekindle/shell.h>

#include "heater.h"

static const char *const names[] = {
	[HEATER_INITIALIZING] = "initializing",
	[HEATER_IDLE] = "idle",
	[HEATER_BLOWING] = "blowing",
	[HEATER_PREHEAT] = "preheat",
	[HEATER_PREHEAT_STAGE_2] = "preheat2",
	[HEATER_HEATING] = "heating",
	[HEATER_COOLING] = "cooling",
	[HEATER_ERROR] = "error",
	[HEATER_EMERGENCY_STOP] = "emergency",
};

/* In capitals, as in everything else that the appliance says of itself. */
static void print_name(const struct shell *sh, const char *name)
{
	while (*name != '\0') {
		shell_fprintf(sh, SHELL_NORMAL, "%c", toupper((unsigned char)*name++));
	}
}

static int enter(const struct shell *sh, enum heater_state state)
{
	int rc = heater_enter(state);

	if (rc == 0) {
		shell_fprintf(sh, SHELL_NORMAL, "appliance: ");
		print_name(sh, names[state]);
		shell_print(sh, " from the console");
	} else {
		shell_fprintf(sh, SHELL_NORMAL, "appliance: an update is on its way, so not ");
		print_name(sh, names[state]);
		shell_print(sh, "");
	}
	return rc;
}

static int cmd_state(const struct shell *sh, size_t argc, char **argv)
{
	if (argc < 2) {
		shell_print(sh, "%s", names[heater_state()]);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(argv[1], names[i]) == 0) {
			return enter(sh, (enum heater_state)i);
		}
	}
	shell_error(sh, "no such state; there are:");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		shell_print(sh, "  %s", names[i]);
	}
	return -EINVAL;
}

static int cmd_reset(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	rekindle_request_reset();
	shell_print(sh, "appliance: resets as soon as it may");
	return 0;
}

SHELL_STATIC_SUBCMD_SET_CREATE(
	commands, SHELL_CMD_ARG(state, NULL, "state [NAME]: tells the state, or enters one", cmd_state, 1, 1),
	SHELL_CMD(reset, NULL, "Resets the device as soon as the appliance may be reset", cmd_reset),
	SHELL_CMD(status, NULL, "The running image and the update", rekindle_shell_status),
	SHELL_CMD(outcomes, NULL, "What became of the last updates", rekindle_shell_outcomes),
	SHELL_SUBCMD_SET_END);

SHELL_CMD_REGISTER(appliance, &commands, "The appliance", NULL);
