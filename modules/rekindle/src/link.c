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
#include <string.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/atomic.h>
#include <zephyr/sys/barrier.h>
#include <zephyr/sys/util.h>

#include <rekindle/port.h>

#ifndef REKINDLE_ON_RECEIVED
/* Nobody waits for more than the link. */
#define REKINDLE_ON_RECEIVED()
#endif

BUILD_ASSERT(DT_HAS_CHOSEN(rekindle_uart), "the devicetree must choose a UART as rekindle,uart");

static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(rekindle_uart));

/* Bytes on their way between an interrupt and one thread, without a lock: one side only puts, the
 * other one only takes. Zephyr's ring buffer does more than that, at twice the code.
 */
struct ring {
	uint8_t *bytes;
	/* One more than it holds. */
	uint32_t size;
	/* Places of the next byte to come, and of the oldest one; the same: there is none. */
	volatile uint32_t in;
	volatile uint32_t out;
};

#define RING_DEFINE(name, capacity)                                                                \
	static uint8_t name##_bytes[(capacity) + 1];                                               \
	static struct ring name = {.bytes = name##_bytes, .size = sizeof(name##_bytes)}

RING_DEFINE(rx_ring, CONFIG_REKINDLE_LINK_RX_SIZE);
RING_DEFINE(tx_ring, CONFIG_REKINDLE_LINK_TX_SIZE);
static K_SEM_DEFINE(rx_ready, 0, 1);
static atomic_t overruns;

static bool put(struct ring *ring, uint8_t byte)
{
	const uint32_t in = ring->in;
	const uint32_t next = (in + 1U == ring->size) ? 0U : in + 1U;

	if (next == ring->out) {
		return false;
	}
	ring->bytes[in] = byte;
	barrier_dmem_fence_full();
	ring->in = next;
	return true;
}

/* How many bytes lie in a row from the oldest one on. */
static size_t stored(const struct ring *ring, const uint8_t **oldest)
{
	const uint32_t in = ring->in;
	const uint32_t out = ring->out;

	/* The bytes are read behind the count, and counted behind the bytes. */
	barrier_dmem_fence_full();
	*oldest = &ring->bytes[out];
	return ((in < out) ? ring->size : in) - out;
}

/* Drops so many of those. */
static void drop(struct ring *ring, size_t n)
{
	const uint32_t out = ring->out + n;

	barrier_dmem_fence_full();
	ring->out = (out == ring->size) ? 0U : out;
}

static void receive(const struct device *dev)
{
	uint8_t byte;
	bool any = false;

	/* Not uart_irq_is_pending(): some drivers answer it with yes for as long as the
	 * transmitter is empty, and the usual loop around it would never end.
	 */
	while (uart_fifo_read(dev, &byte, 1) > 0) {
		if (!put(&rx_ring, byte)) {
			(void)atomic_inc(&overruns);
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
	const uint8_t *bytes;
	size_t n = stored(&tx_ring, &bytes);

	if (n == 0U) {
		uart_irq_tx_disable(dev);
	} else {
		int sent = uart_fifo_fill(dev, bytes, (int)n);

		drop(&tx_ring, (size_t)MAX(sent, 0));
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
	const uint8_t *bytes;
	size_t n;

	do {
		n = stored(&rx_ring, &bytes);
		/* The semaphore can be left over from bytes already read, once: look again. */
	} while (n == 0U && k_sem_take(&rx_ready, timeout) == 0);
	n = MIN(n, capacity);
	(void)memcpy(data, bytes, n);
	drop(&rx_ring, n);
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
		while (len > 0U && put(&tx_ring, *data)) {
			data++;
			len--;
		}
		uart_irq_tx_enable(uart);
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
	const uint8_t *bytes;

	while (stored(&tx_ring, &bytes) > 0U || uart_irq_tx_complete(uart) == 0) {
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
