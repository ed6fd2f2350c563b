/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * A second driver for the UARTs of the MPS2 machine.
 *
 * Zephyr's own calls an interrupt pending for as long as the transmitter is empty,
 * whether or not anybody wants to hear of it, and users that loop for as long as
 * something is pending, such as Zephyr's own uart_mcumgr, never come back from their
 * first interrupt. This driver answers with what the UART would interrupt for.
 * Registers: Arm, Cortex-M System Design Kit Technical Reference Manual, 4.3.
 */

#define DT_DRV_COMPAT rekindle_cmsdk_uart

#include <zephyr/drivers/uart.h>
#include <zephyr/irq.h>
#include <zephyr/sys/sys_io.h>
#include <zephyr/sys/util.h>

#define DATA      0x00
#define STATE     0x04
#define CTRL      0x08
#define INT_CLEAR 0x0C
#define BAUD_DIV  0x10

/* In STATE. */
#define TX_FULL BIT(0)
#define RX_FULL BIT(1)

/* In CTRL. */
#define TX_ENABLE     BIT(0)
#define RX_ENABLE     BIT(1)
#define TX_IRQ_ENABLE BIT(2)
#define RX_IRQ_ENABLE BIT(3)

/* In INT_CLEAR. */
#define TX_IRQ BIT(0)
#define RX_IRQ BIT(1)

struct config {
	mm_reg_t base;
	uint32_t divider;
	void (*connect)(void);
};

struct data {
	uart_irq_callback_user_data_t callback;
	void *user;
};

static mm_reg_t base(const struct device *dev)
{
	const struct config *config = dev->config;

	return config->base;
}

static bool state(const struct device *dev, uint32_t bit)
{
	return (sys_read32(base(dev) + STATE) & bit) != 0U;
}

static bool enabled(const struct device *dev, uint32_t bit)
{
	return (sys_read32(base(dev) + CTRL) & bit) != 0U;
}

static void interrupt(const struct device *dev)
{
	struct data *data = dev->data;

	/* Cleared first: what happens from here on raises the next one. */
	sys_write32(TX_IRQ | RX_IRQ, base(dev) + INT_CLEAR);
	if (data->callback != NULL) {
		data->callback(dev, data->user);
	}
}

/* The UART interrupts when a buffer changes. Of the state it is in when it is enabled, it
 * says nothing, so the callback hears of that here.
 */
static void enable(const struct device *dev, uint32_t bit)
{
	unsigned int key = irq_lock();

	sys_write32(sys_read32(base(dev) + CTRL) | bit, base(dev) + CTRL);
	interrupt(dev);
	irq_unlock(key);
}

static void disable(const struct device *dev, uint32_t bit)
{
	unsigned int key = irq_lock();

	sys_write32(sys_read32(base(dev) + CTRL) & ~bit, base(dev) + CTRL);
	irq_unlock(key);
}

static int poll_in(const struct device *dev, unsigned char *byte)
{
	if (!state(dev, RX_FULL)) {
		return -1;
	}
	*byte = (unsigned char)sys_read32(base(dev) + DATA);
	return 0;
}

static void poll_out(const struct device *dev, unsigned char byte)
{
	while (state(dev, TX_FULL)) {
	}
	sys_write32(byte, base(dev) + DATA);
}

static int fifo_fill(const struct device *dev, const uint8_t *bytes, int len)
{
	int n = 0;

	while (n < len && !state(dev, TX_FULL)) {
		sys_write32(bytes[n++], base(dev) + DATA);
	}
	return n;
}

static int fifo_read(const struct device *dev, uint8_t *bytes, const int capacity)
{
	int n = 0;

	while (n < capacity && state(dev, RX_FULL)) {
		bytes[n++] = (uint8_t)sys_read32(base(dev) + DATA);
	}
	return n;
}

static void irq_tx_enable(const struct device *dev)
{
	enable(dev, TX_IRQ_ENABLE);
}

static void irq_tx_disable(const struct device *dev)
{
	disable(dev, TX_IRQ_ENABLE);
}

static int irq_tx_ready(const struct device *dev)
{
	return enabled(dev, TX_IRQ_ENABLE) && !state(dev, TX_FULL);
}

static int irq_tx_complete(const struct device *dev)
{
	return !state(dev, TX_FULL);
}

static void irq_rx_enable(const struct device *dev)
{
	enable(dev, RX_IRQ_ENABLE);
}

static void irq_rx_disable(const struct device *dev)
{
	disable(dev, RX_IRQ_ENABLE);
}

static int irq_rx_ready(const struct device *dev)
{
	return state(dev, RX_FULL);
}

static int irq_is_pending(const struct device *dev)
{
	return irq_tx_ready(dev) ||
	       (enabled(dev, RX_IRQ_ENABLE) && state(dev, RX_FULL));
}

static int irq_update(const struct device *dev)
{
	ARG_UNUSED(dev);
	return 1;
}

static void irq_callback_set(const struct device *dev,
			     uart_irq_callback_user_data_t callback, void *user)
{
	struct data *data = dev->data;

	data->callback = callback;
	data->user = user;
}

static int init(const struct device *dev)
{
	const struct config *config = dev->config;

	sys_write32(config->divider, config->base + BAUD_DIV);
	sys_write32(TX_ENABLE | RX_ENABLE, config->base + CTRL);
	config->connect();
	return 0;
}

static DEVICE_API(uart, api) = {
	.poll_in = poll_in,
	.poll_out = poll_out,
	.fifo_fill = fifo_fill,
	.fifo_read = fifo_read,
	.irq_tx_enable = irq_tx_enable,
	.irq_tx_disable = irq_tx_disable,
	.irq_tx_ready = irq_tx_ready,
	.irq_tx_complete = irq_tx_complete,
	.irq_rx_enable = irq_rx_enable,
	.irq_rx_disable = irq_rx_disable,
	.irq_rx_ready = irq_rx_ready,
	.irq_is_pending = irq_is_pending,
	.irq_update = irq_update,
	.irq_callback_set = irq_callback_set,
};

#define CONNECT(n, name)                                                                 \
	IRQ_CONNECT(DT_INST_IRQ_BY_NAME(n, name, irq), DT_INST_IRQ_BY_NAME(n, name, priority), \
		    interrupt, DEVICE_DT_INST_GET(n), 0);                                \
	irq_enable(DT_INST_IRQ_BY_NAME(n, name, irq))

#define INSTANCE(n)                                                                      \
	static void connect_##n(void)                                                    \
	{                                                                                \
		CONNECT(n, tx);                                                          \
		CONNECT(n, rx);                                                          \
	}                                                                                \
	static const struct config config_##n = {                                        \
		.base = DT_INST_REG_ADDR(n),                                             \
		.divider = DT_INST_PROP_BY_PHANDLE(n, clocks, clock_frequency) /         \
			   DT_INST_PROP(n, current_speed),                               \
		.connect = connect_##n,                                                  \
	};                                                                               \
	static struct data data_##n;                                                     \
	DEVICE_DT_INST_DEFINE(n, init, NULL, &data_##n, &config_##n, PRE_KERNEL_1,       \
			      CONFIG_SERIAL_INIT_PRIORITY, &api);

DT_INST_FOREACH_STATUS_OKAY(INSTANCE)
