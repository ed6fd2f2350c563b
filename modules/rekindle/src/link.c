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
	const k_timeout_t timeout = timeout_ms < 0 ? K_FOREVER : K_MSEC(timeout_ms);
	uint32_t n;

	do {
		n = ring_buf_get(&rx_ring, data, (uint32_t)capacity);
		/* The semaphore can be left over from bytes already read, once: look again. */
	} while (n == 0U && k_sem_take(&rx_ready, timeout) == 0);
	return n;
}

/* Sleeps a moment; false when the time since begun_ms is over. */
static bool more_time(uint32_t begun_ms, int32_t timeout_ms)
{
	if (timeout_ms >= 0 && (uint32_t)rekindle_uptime_ms() - begun_ms >= (uint32_t)timeout_ms) {
		return false;
	}
	k_msleep(1);
	return true;
}

int rekindle_link_write(const uint8_t *data, size_t len, int32_t timeout_ms)
{
	const uint32_t begun_ms = (uint32_t)rekindle_uptime_ms();

	for (;;) {
		uint32_t n = ring_buf_put(&tx_ring, data, (uint32_t)len);

		uart_irq_tx_enable(uart);
		data += n;
		len -= n;
		if (len == 0U) {
			return 0;
		}
		if (!more_time(begun_ms, timeout_ms)) {
			return -EAGAIN;
		}
	}
}

int rekindle_link_drain(int32_t timeout_ms)
{
	const uint32_t begun_ms = (uint32_t)rekindle_uptime_ms();

	while (!ring_buf_is_empty(&tx_ring) || uart_irq_tx_complete(uart) == 0) {
		if (!more_time(begun_ms, timeout_ms)) {
			return -EAGAIN;
		}
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
