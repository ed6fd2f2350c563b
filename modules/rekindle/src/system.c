/*
 * SPDX-License-Identifier: Apache-2.0
 */

#include <zephyr/drivers/hwinfo.h>
#include <zephyr/kernel.h>
#include <zephyr/random/random.h>
#include <zephyr/sys/atomic.h>
#include <zephyr/sys/printk.h>
#include <zephyr/sys/reboot.h>

#include <rekindle/port.h>

uint32_t rekindle_reset_cause(void)
{
	static bool known;
	static uint32_t cause;

	if (IS_ENABLED(CONFIG_HWINFO) && !known) {
		known = true;
		if (hwinfo_get_reset_cause(&cause) != 0) {
			cause = 0;
		}
		/* Some SoCs collect causes until they are cleared: the next boot shall see
		 * its own only.
		 */
		(void)hwinfo_clear_reset_cause();
	}
	return cause;
}

uint64_t rekindle_uptime_ms(void)
{
	return (uint64_t)k_uptime_get();
}

void rekindle_sleep_ms(uint32_t ms)
{
	(void)k_msleep((int32_t)MIN(ms, INT32_MAX));
}

void rekindle_reboot(void)
{
	sys_reboot(SYS_REBOOT_COLD);
}

#if defined(CONFIG_ENTROPY_HAS_DRIVER)

void rekindle_random(uint8_t *data, size_t len)
{
	sys_rand_get(data, len);
}

#else

/* Without any source there is still the moment at which it is asked for: enough to tell two
 * devices or two boots apart, which is all that the session wants.
 */
void rekindle_random(uint8_t *data, size_t len)
{
	static uint32_t state = 2463534242U;

	for (size_t i = 0; i < len; i++) {
		state += k_cycle_get_32();
		/* Marsaglia's xorshift; 0 is the one state it never leaves. */
		state = (state == 0U) ? 1U : state;
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		data[i] = (uint8_t)(state >> 8);
	}
}

#endif

#if !defined(CONFIG_REKINDLE_WATCHDOG)

void rekindle_watchdog_feed(void)
{
}

#endif

void rekindle_panic(const char *file, size_t file_len, uint32_t line)
{
	printk("rekindle: panic at %.*s:%u\n", (int)file_len, file, line);
	k_panic();
}

bool rekindle_claim_device(void)
{
	static atomic_t claimed;

	return atomic_cas(&claimed, 0, 1);
}

size_t rekindle_stack_unused(void)
{
	size_t unused = 0;

#if defined(CONFIG_INIT_STACKS) && defined(CONFIG_THREAD_STACK_INFO)
	if (k_thread_stack_space_get(k_current_get(), &unused) != 0) {
		unused = 0;
	}
#endif
	return unused;
}
