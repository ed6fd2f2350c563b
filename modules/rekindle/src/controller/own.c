/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The link of the controller's own receiver, which is the controller itself: two rings, used by one thread. And the
 * one place where that thread waits, for whatever comes.
 */

#include <errno.h>

#include <time.h>

#include <zephyr/kernel.h>
#include <zephyr/sys/clock.h>
#include <zephyr/sys/ring_buffer.h>

#include <rekindle/controller.h>
#include <rekindle/port.h>

/* Eight frames of data on their way to flash, and the answers to them. */
#define OWN_RX_SIZE 2048
#define OWN_TX_SIZE 512

/* 2020-01-01: no clock that was set is older. */
#define CLOCK_SET_S 1577836800

RING_BUF_DECLARE(own_rx, OWN_RX_SIZE);
RING_BUF_DECLARE(own_tx, OWN_TX_SIZE);
static K_SEM_DEFINE(something, 0, 1);
static uint32_t pause_ms;

void rekindle_wake(void)
{
	k_sem_give(&something);
}

void rekindle_limit_pause(uint32_t ms)
{
	pause_ms = ms;
}

uint64_t rekindle_unix_s(void)
{
	struct timespec now;

	/* A clock that nobody has set counts from 1970 at boot. */
	if (sys_clock_gettime(SYS_CLOCK_REALTIME, &now) != 0 || now.tv_sec < CLOCK_SET_S) {
		return 0;
	}
	return (uint64_t)now.tv_sec;
}

void rekindle_own_put(const uint8_t *data, size_t len)
{
	/* Half a frame is of no use to anybody. */
	if (ring_buf_space_get(&own_rx) >= len) {
		(void)ring_buf_put(&own_rx, data, (uint32_t)len);
	}
}

size_t rekindle_own_take(uint8_t *data, size_t capacity)
{
	return ring_buf_get(&own_tx, data, (uint32_t)capacity);
}

int rekindle_link_open(void)
{
	return 0;
}

size_t rekindle_link_read(uint8_t *data, size_t capacity, int32_t timeout_ms)
{
	uint32_t n = ring_buf_get(&own_rx, data, (uint32_t)capacity);

	if (n == 0U && timeout_ms != 0 && pause_ms != 0U) {
		uint32_t wait_ms = (timeout_ms < 0) ? pause_ms : MIN(pause_ms, (uint32_t)timeout_ms);

		(void)k_sem_take(&something, K_MSEC(wait_ms));
	}
	return n;
}

int rekindle_link_write(const uint8_t *data, size_t len, int32_t timeout_ms)
{
	ARG_UNUSED(timeout_ms);
	if (ring_buf_space_get(&own_tx) < len) {
		return -EAGAIN;
	}
	(void)ring_buf_put(&own_tx, data, (uint32_t)len);
	return 0;
}

int rekindle_link_drain(int32_t timeout_ms)
{
	ARG_UNUSED(timeout_ms);
	/* The controller takes answers out before it asks the receiver for more. */
	return ring_buf_is_empty(&own_tx) ? 0 : -EAGAIN;
}

uint32_t rekindle_link_capacity(void)
{
	return OWN_RX_SIZE;
}

uint32_t rekindle_link_overruns(void)
{
	return rekindle_bus_overruns();
}
