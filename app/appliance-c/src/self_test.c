/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/init.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/byteorder.h>
#include <zephyr/sys/reboot.h>

#include <rekindle/rekindle.h>

#include "heater.h"
#include "self_test.h"

/* The sensors answer, so the appliance has come up. */
#define STAGE_SENSORS 1
/* Fan, pump and glow plug can be driven. */
#define STAGE_OUTPUTS 2

#ifdef CONFIG_APPLIANCE_SELF_TEST_IMAGE

/* Where a test writes the script into the finished image, before it signs it: a letter
 * behind the label, and for 'b' the code as four little-endian bytes. Volatile, for it is
 * not what the compiler saw.
 */
static const volatile char mark[24] __used = "rekindle-self-test:g\0\0\0";

#define LETTER (mark[19])

static void hang(void)
{
	for (;;) {
		/* Keeps the CPU, as a hang does. */
	}
}

/* 'e' hangs, 'p' panics, 'r' resets: before anything is started. */
void self_test_before_everything(void)
{
	if (LETTER == 'e') {
		hang();
	} else if (LETTER == 'p') {
		k_panic();
	} else if (LETTER == 'r') {
		sys_reboot(SYS_REBOOT_COLD);
	}
}

/* 'i' hangs before main(), while Zephyr initialises the application. */
static int hang_in_init(void)
{
	if (LETTER == 'i') {
		hang();
	}
	return 0;
}

SYS_INIT(hang_in_init, APPLICATION, 0);

/* 's' never so much as begins. */
static bool silent(void)
{
	return LETTER == 's';
}

/* 't' never ends, 'b' fails. */
static int check_sensors(void)
{
	uint8_t code[4];

	if (LETTER == 't') {
		return REKINDLE_TESTING;
	}
	if (LETTER != 'b') {
		return 0;
	}
	for (size_t i = 0; i < sizeof(code); i++) {
		code[i] = (uint8_t)mark[20 + i];
	}
	return (int)sys_get_le32(code);
}

/* 'h' hangs. */
static int check_outputs(void)
{
	if (LETTER == 'h') {
		hang();
	}
	return 0;
}

#else

void self_test_before_everything(void)
{
}

static bool silent(void)
{
	return false;
}

/* There is no hardware behind this appliance that could fail them. */
static int check_sensors(void)
{
	return 0;
}

static int check_outputs(void)
{
	return 0;
}

#endif

int self_test(void *context, uint32_t *stage)
{
	int rc;

	ARG_UNUSED(context);

	switch (*stage) {
	case STAGE_SENSORS:
		if (heater_state() == HEATER_INITIALIZING) {
			return REKINDLE_TESTING;
		}
		rc = check_sensors();
		if (rc != 0) {
			return rc;
		}
		*stage = STAGE_OUTPUTS;
		return REKINDLE_TESTING;
	case STAGE_OUTPUTS:
		return check_outputs();
	default:
		if (!silent()) {
			*stage = STAGE_SENSORS;
		}
		return REKINDLE_TESTING;
	}
}
