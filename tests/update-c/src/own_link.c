/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * A link of the application's own (CONFIG_REKINDLE_LINK_CUSTOM): all that the session
 * needs, as rekindle/port.h has it, and nothing of the module's link. What is behind it
 * here is the board's UART, for that is where the tests are.
 */

#include <errno.h>

#include <zephyr/devicetree.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/atomic.h>

#include <rekindle/port.h>

static const struct device *const uart = DEVICE_DT_GET(DT_NODELABEL(uart1));

/* Where a test makes a device of the finished image that hears and cannot speak: 'm'. Volatile,
 * for it is not what the compiler saw.
 */
static const volatile char mark[] __used = "rekindle-own-link:s";

K_MSGQ_DEFINE(received, 1, CONFIG_REKINDLE_LINK_RX_SIZE, 1);
static atomic_t overruns;

static void on_interrupt(const struct device *dev, void *user)
{
	uint8_t byte;

	ARG_UNUSED(user);
	(void)uart_irq_update(dev);
	while (uart_fifo_read(dev, &byte, 1) == 1) {
		if (k_msgq_put(&received, &byte, K_NO_WAIT) != 0) {
			(void)atomic_inc(&overruns);
		}
	}
}

int rekindle_link_open(void)
{
	uint8_t byte;

	if (!device_is_ready(uart)) {
		return -ENODEV;
	}
	(void)uart_irq_callback_user_data_set(uart, on_interrupt, NULL);
	uart_irq_rx_enable(uart);
	/* What came before raised no interrupt, and is nothing yet. */
	while (uart_fifo_read(uart, &byte, 1) == 1) {
	}
	return 0;
}

size_t rekindle_link_read(uint8_t *data, size_t capacity, int32_t timeout_ms)
{
	k_timeout_t timeout = timeout_ms < 0 ? K_FOREVER : K_MSEC(timeout_ms);
	size_t n = 0;

	while (n < capacity && k_msgq_get(&received, &data[n], timeout) == 0) {
		n++;
		timeout = K_NO_WAIT;
	}
	return n;
}

int rekindle_link_write(const uint8_t *data, size_t len, int32_t timeout_ms)
{
	/* Polled, so there is always room soon. */
	ARG_UNUSED(timeout_ms);
	if (mark[sizeof(mark) - 2] == 'm') {
		return -EAGAIN;
	}
	for (size_t i = 0; i < len; i++) {
		uart_poll_out(uart, data[i]);
	}
	return 0;
}

int rekindle_link_drain(int32_t timeout_ms)
{
	ARG_UNUSED(timeout_ms);
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
