/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * Words for an application in Rust. One in C has means of its own; and a message queue links
 * the kernel's heap, used or not.
 */

#include <zephyr/kernel.h>

#include <rekindle/port.h>

K_MSGQ_DEFINE(words, sizeof(uint32_t), 4, 4);

int rekindle_post(uint32_t word)
{
	return k_msgq_put(&words, &word, K_NO_WAIT);
}

bool rekindle_take(uint32_t *word)
{
	return k_msgq_get(&words, word, K_NO_WAIT) == 0;
}
