/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* Words for an application in Rust. */

#include <errno.h>

#include <zephyr/ztest.h>

#include <rekindle/port.h>

ZTEST(left_words, test_words_come_in_order)
{
	uint32_t word = 5;

	zassert_false(rekindle_take(&word));
	zassert_equal(word, 5);
	zassert_ok(rekindle_post(0));
	zassert_ok(rekindle_post(UINT32_MAX));
	zassert_true(rekindle_take(&word));
	zassert_equal(word, 0);
	zassert_true(rekindle_take(&word));
	zassert_equal(word, UINT32_MAX);
	zassert_false(rekindle_take(&word));
}

/* Nobody waits: what does not fit is refused, and what waits stays. */
ZTEST(left_words, test_too_many_words_are_refused)
{
	uint32_t word;
	uint32_t n = 0;

	while (n < 100 && rekindle_post(n) == 0) {
		n++;
	}
	zassert_between_inclusive(n, 1, 99);
	zassert_equal(rekindle_post(n), -ENOMSG);
	for (uint32_t i = 0; i < n; i++) {
		zassert_true(rekindle_take(&word));
		zassert_equal(word, i);
	}
	zassert_false(rekindle_take(&word));
}

ZTEST_SUITE(left_words, NULL, NULL, NULL, NULL, NULL);
