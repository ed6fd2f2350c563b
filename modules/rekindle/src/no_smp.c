/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <rekindle/smp.h>

uint8_t rekindle_smp_asks(void)
{
	return REKINDLE_SMP_NOTHING;
}

bool rekindle_smp_answer(uint8_t answer)
{
	(void)answer;
	return false;
}

bool rekindle_smp_holds(bool back)
{
	(void)back;
	return false;
}

bool rekindle_smp_confirmed(void)
{
	return false;
}
