/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * What Arm's run-time ABI calls the memory functions, as Rust does. Zephyr's minimal C library
 * has them under their C names alone, and Rust would link a second set of its own.
 */

#include <string.h>

void __aeabi_memcpy(void *to, const void *from, size_t n)
{
	(void)memcpy(to, from, n);
}

void __aeabi_memmove(void *to, const void *from, size_t n)
{
	(void)memmove(to, from, n);
}

/* The ABI has the length before the value. */
void __aeabi_memset(void *to, size_t n, int value)
{
	(void)memset(to, value, n);
}

void __aeabi_memclr(void *to, size_t n)
{
	(void)memset(to, 0, n);
}

#define SAME_AS(name) __attribute__((alias(#name)))

/* For pointers that are known to be aligned. */
void __aeabi_memcpy4(void *to, const void *from, size_t n) SAME_AS(__aeabi_memcpy);
void __aeabi_memcpy8(void *to, const void *from, size_t n) SAME_AS(__aeabi_memcpy);
void __aeabi_memmove4(void *to, const void *from, size_t n) SAME_AS(__aeabi_memmove);
void __aeabi_memmove8(void *to, const void *from, size_t n) SAME_AS(__aeabi_memmove);
void __aeabi_memset4(void *to, size_t n, int value) SAME_AS(__aeabi_memset);
void __aeabi_memset8(void *to, size_t n, int value) SAME_AS(__aeabi_memset);
void __aeabi_memclr4(void *to, size_t n) SAME_AS(__aeabi_memclr);
void __aeabi_memclr8(void *to, size_t n) SAME_AS(__aeabi_memclr);
