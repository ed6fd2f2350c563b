/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * The link over an interrupt-driven UART.
 *
 * Reception runs in the interrupt into a ring, so that the frames of a whole window
 * can arrive while the session waits for flash. Transmission runs from a ring too, so
 * that an answer costs the session no wire time.
 */

#include <errno.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/atomic.h>
#include <zephyr/sys/ring_buffer.h>

#include <rekindle/port.h>

#ifndef REKINDLE_ON_RECEIVED
/* Nobody waits for more than the link. */
#define REKINDLE_ON_RECEIVED()
#endif

BUILD_ASSERT(DT_HAS_CHOSEN(rekindle_uart), "the devicetree must choose a UART as rekindle,uart");

static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(rekindle_uart));

RING_BUF_DECLARE(rx_ring, CONFIG_REKINDLE_LINK_RX_SIZE);
RING_BUF_DECLARE(tx_ring, CONFIG_REKINDLE_LINK_TX_SIZE);
static K_SEM_DEFINE(rx_ready, 0, 1);
static K_SEM_DEFINE(tx_room, 0, 1);
static atomic_t overruns;

static void receive(const struct device *dev)
{
	uint8_t bytes[16];
	int n;
	bool any = false;

	/* Not uart_irq_is_pending(): some drivers answer it with yes for as long as the
	 * transmitter is empty, and the usual loop around it would never end.
	 */
	while ((n = uart_fifo_read(dev, bytes, sizeof(bytes))) > 0) {
		uint32_t kept = ring_buf_put(&rx_ring, bytes, (uint32_t)n);

		if (kept < (uint32_t)n) {
			(void)atomic_add(&overruns, (atomic_val_t)n - (atomic_val_t)kept);
		}
		any = true;
	}
	if (any) {
		k_sem_give(&rx_ready);
		REKINDLE_ON_RECEIVED();
	}
}

static void transmit(const struct device *dev)
{
	uint8_t *bytes;
	uint32_t n = ring_buf_get_claim(&tx_ring, &bytes, UINT32_MAX);
	int sent = 0;

	if (n == 0U) {
		(void)ring_buf_get_finish(&tx_ring, 0);
		uart_irq_tx_disable(dev);
	} else {
		sent = uart_fifo_fill(dev, bytes, (int)n);
		(void)ring_buf_get_finish(&tx_ring, (uint32_t)MAX(sent, 0));
	}
	k_sem_give(&tx_room);
}

static void on_interrupt(const struct device *dev, void *user)
{
	ARG_UNUSED(user);

	if (uart_irq_update(dev) == 0) {
		return;
	}
	receive(dev);
	if (uart_irq_tx_ready(dev) > 0) {
		transmit(dev);
	}
}

int rekindle_link_open(void)
{
	unsigned int key;
	int rc;

	if (!device_is_ready(uart)) {
		return -ENODEV;
	}
	rc = uart_irq_callback_user_data_set(uart, on_interrupt, NULL);
	if (rc != 0) {
		return rc;
	}
	uart_irq_rx_enable(uart);

	/* A byte that came before, while the bootloader ran, raised no interrupt and raises
	 * none now. Left there it would keep every further byte out.
	 */
	key = irq_lock();
	receive(uart);
	irq_unlock(key);
	return 0;
}

size_t rekindle_link_read(uint8_t *data, size_t capacity, int32_t timeout_ms)
{
	k_timepoint_t end =
		sys_timepoint_calc(timeout_ms < 0 ? K_FOREVER : K_MSEC(timeout_ms));

	for (;;) {
		uint32_t n = ring_buf_get(&rx_ring, data, (uint32_t)capacity);

		if (n > 0U) {
			return n;
		}
		/* The semaphore can be left over from bytes already read: look again. */
		if (k_sem_take(&rx_ready, sys_timepoint_timeout(end)) != 0) {
			return ring_buf_get(&rx_ring, data, (uint32_t)capacity);
		}
	}
}

int rekindle_link_write(const uint8_t *data, size_t len, int32_t timeout_ms)
{
	k_timepoint_t end =
		sys_timepoint_calc(timeout_ms < 0 ? K_FOREVER : K_MSEC(timeout_ms));

	while (len > 0U) {
		uint32_t n = ring_buf_put(&tx_ring, data, (uint32_t)len);

		data += n;
		len -= n;
		uart_irq_tx_enable(uart);
		if (len > 0U && k_sem_take(&tx_room, sys_timepoint_timeout(end)) != 0) {
			return -EAGAIN;
		}
	}
	return 0;
}

int rekindle_link_drain(int32_t timeout_ms)
{
	k_timepoint_t end =
		sys_timepoint_calc(timeout_ms < 0 ? K_FOREVER : K_MSEC(timeout_ms));

	while (!ring_buf_is_empty(&tx_ring) || uart_irq_tx_complete(uart) == 0) {
		if (sys_timepoint_expired(end)) {
			return -EAGAIN;
		}
		k_msleep(1);
	}
	return 0;
}

uint32_t rekindle_link_capacity(void)
{
	return CONFIG_REKINDLE_LINK_RX_SIZE;
}

uint32_t rekindle_link_overruns(void)
{
	return (uint32_t)atomic_get(&overruns);
}
