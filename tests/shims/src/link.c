/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* The UART; the host sends back what the device sends. */

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

/* More at once than the ring holds to send, and as much as it holds to receive. */
ZTEST(link, test_everything_comes_back)
{
	static uint8_t sent[CONFIG_REKINDLE_LINK_RX_SIZE];
	static uint8_t back[CONFIG_REKINDLE_LINK_RX_SIZE];
	size_t got = 0;

	rekindle_random(sent, sizeof(sent));
	zassert_ok(rekindle_link_write(sent, sizeof(sent), -1));
	zassert_ok(rekindle_link_drain(1000));
	/* All of it waits in the ring while nobody reads. */
	while (got < sizeof(back)) {
		size_t n = rekindle_link_read(back + got, sizeof(back) - got, 5000);

		zassert_not_equal(n, 0, "%zu of %zu bytes came back", got, sizeof(back));
		got += n;
	}
	zassert_mem_equal(sent, back, sizeof(sent));
	zassert_equal(rekindle_link_overruns(), 0);
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
