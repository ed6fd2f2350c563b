/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* The UART; the host sends back what the device sends. */

#include <errno.h>

#include <zephyr/devicetree.h>
#include <zephyr/irq.h>
#include <zephyr/ztest.h>

#include <rekindle/port.h>

ZTEST(link, test_read_without_bytes_times_out)
{
	uint8_t byte;
	uint64_t before = rekindle_uptime_ms();

	zassert_equal(rekindle_link_read(&byte, 1, 0), 0);
	zassert_equal(rekindle_link_read(&byte, 1, 30), 0);
	zassert_true(rekindle_uptime_ms() >= before + 30);
}

/* What was sent comes back, all of it. */
static void expect_back(const uint8_t *sent, uint8_t *back, size_t len)
{
	size_t got = 0;

	while (got < len) {
		size_t n = rekindle_link_read(back + got, len - got, 5000);

		zassert_not_equal(n, 0, "%zu of %zu bytes came back", got, len);
		got += n;
	}
	zassert_mem_equal(sent, back, len);
}

/* More at once than the ring holds to send, and as much as it holds to receive. */
ZTEST(link, test_everything_comes_back)
{
	static uint8_t sent[CONFIG_REKINDLE_LINK_RX_SIZE];
	static uint8_t back[CONFIG_REKINDLE_LINK_RX_SIZE];

	rekindle_random(sent, sizeof(sent));
	zassert_ok(rekindle_link_write(sent, sizeof(sent), -1));
	zassert_ok(rekindle_link_drain(1000));
	/* All of it waits in the ring while nobody reads. */
	expect_back(sent, back, sizeof(sent));
	zassert_equal(rekindle_link_overruns(), 0);
}

#define UART   DT_CHOSEN(rekindle_uart)
#define TX_IRQ  DT_IRQ_BY_NAME(UART, tx, irq)
#define RX_IRQ  DT_IRQ_BY_NAME(UART, rx, irq)

/* What is drained has left: nothing does while the UART's interrupts wait. */
ZTEST(link, test_drain_waits_for_what_was_queued)
{
	uint8_t sent[32];
	uint8_t back[sizeof(sent)];
	uint64_t before;
	int rc;

	rekindle_random(sent, sizeof(sent));
	irq_disable(TX_IRQ);
	irq_disable(RX_IRQ);
	rc = rekindle_link_write(sent, sizeof(sent), 0);
	before = rekindle_uptime_ms();
	if (rc == 0) {
		rc = rekindle_link_drain(30);
	}
	irq_enable(RX_IRQ);
	irq_enable(TX_IRQ);
	zassert_equal(rc, -EAGAIN, "%d", rc);
	zassert_true(rekindle_uptime_ms() >= before + 30);
	zassert_ok(rekindle_link_drain(1000));
	/* Now there is nothing to wait for. */
	zassert_ok(rekindle_link_drain(0));
	expect_back(sent, back, sizeof(sent));
}

ZTEST(link, test_capacity_is_the_configured_one)
{
	zassert_equal(rekindle_link_capacity(), CONFIG_REKINDLE_LINK_RX_SIZE);
}

static void *open_link(void)
{
	zassert_ok(rekindle_link_open());
	return NULL;
}

ZTEST_SUITE(link, NULL, open_link, NULL, NULL, NULL);
