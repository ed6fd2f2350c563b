/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The controller at the console. The shell has a thread of its own: what it is told goes to the controller's loop as
 * a word, and the answer comes from there.
 */

#include <errno.h>
#include <string.h>

#include <zephyr/shell/shell.h>
#include <zephyr/sys/util.h>

#include <rekindle/controller.h>
#include <rekindle/port.h>

/* As console.rs has them. */
enum word {
	WORD_STATUS = 0,
	WORD_DEVICES = 1,
	WORD_ROOT_CONFIRM = 2,
	WORD_ROOT_OFF = 3,
	WORD_DOWNGRADE_ON = 4,
	WORD_DOWNGRADE_OFF = 5,
	WORD_RECORDS = 6,
};

static int post(const struct shell *sh, enum word word)
{
	int rc = rekindle_post((uint32_t)word);

	if (rc != 0) {
		shell_error(sh, "the controller does not listen: %d", rc);
	}
	rekindle_wake();
	return rc;
}

static int cmd_status(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return post(sh, WORD_STATUS);
}

static int cmd_devices(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return post(sh, WORD_DEVICES);
}

static int cmd_records(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return post(sh, WORD_RECORDS);
}

static int cmd_confirm(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return post(sh, WORD_ROOT_CONFIRM);
}

static int cmd_off(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return post(sh, WORD_ROOT_OFF);
}

static int cmd_downgrade(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	if (strcmp(argv[1], "allow") == 0) {
		return post(sh, WORD_DOWNGRADE_ON);
	}
	if (strcmp(argv[1], "refuse") == 0) {
		return post(sh, WORD_DOWNGRADE_OFF);
	}
	shell_error(sh, "allow or refuse");
	return -EINVAL;
}

SHELL_STATIC_SUBCMD_SET_CREATE(
	root, SHELL_CMD(confirm, NULL, "Confirms what was asked for: the button at boot, or off", cmd_confirm),
	SHELL_CMD(off, NULL, "Asks for root mode to end", cmd_off),
	SHELL_CMD(records, NULL, "What is on record about it, the oldest first", cmd_records),
	SHELL_CMD_ARG(downgrade, NULL, "downgrade allow|refuse: whether older images pass", cmd_downgrade, 2, 0),
	SHELL_SUBCMD_SET_END);

SHELL_STATIC_SUBCMD_SET_CREATE(commands,
			       SHELL_CMD(status, NULL, "Store, root mode, bus", cmd_status),
			       SHELL_CMD(devices, NULL, "The appliances", cmd_devices),
			       SHELL_CMD(root, &root, "Root mode", NULL), SHELL_SUBCMD_SET_END);

SHELL_CMD_REGISTER(controller, &commands, "The controller", NULL);
