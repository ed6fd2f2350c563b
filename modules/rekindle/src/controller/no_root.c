/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <rekindle/controller.h>

/* A board without a button has no root mode. */
bool rekindle_root_held(void)
{
	return false;
}
