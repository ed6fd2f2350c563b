/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* What the session tells everybody else. */

#include <string.h>

#include <zephyr/ztest.h>

#include <rekindle/port.h>

static bool busy_at_first;

static void *ask_first(void)
{
	busy_at_first = rekindle_busy();
	return NULL;
}

ZTEST(state, test_busy_until_the_session_says_otherwise)
{
	zassert_true(busy_at_first);
	rekindle_publish_busy(false);
	zassert_false(rekindle_busy());
	rekindle_publish_busy(true);
	zassert_true(rekindle_busy());
}

ZTEST(state, test_state_is_the_one_published_last)
{
	struct rekindle_state told;
	struct rekindle_state state;

	memset(&told, 0, sizeof(told));
	told.address = 0x0123456789abcdefULL;
	told.received = 4096;
	told.size = 8192;
	told.version_major = 3;
	told.update = 1;
	told.outcomes = 1;
	told.outcome[0].attempt = 7;
	told.outcome[0].code = -17;
	told.busy = true;
	rekindle_publish(&told);
	/* Of this it is told more often than of all the rest. */
	rekindle_publish_busy(false);
	rekindle_state(&state);
	zassert_false(state.busy);
	state.busy = true;
	zassert_mem_equal(&state, &told, sizeof(told));

	told.received = 8192;
	zassert_equal(state.received, 4096, "a copy");
	rekindle_publish(&told);
	rekindle_publish_busy(true);
	rekindle_state(&state);
	zassert_mem_equal(&state, &told, sizeof(told));
}

ZTEST(state, test_outcomes_have_the_protocols_names)
{
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_NONE), "NONE");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_PENDING), "PENDING");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_UNDER_TEST), "UNDER_TEST");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_CONFIRMED), "CONFIRMED");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_REVERTED), "REVERTED");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_REFUSED), "REFUSED");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_NOT_ATTEMPTED), "NOT_ATTEMPTED");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_UNKNOWN), "UNKNOWN");
	zassert_str_equal(rekindle_outcome_name(REKINDLE_OUTCOME_UNKNOWN + 1), "?");
	zassert_str_equal(rekindle_outcome_name(UINT32_MAX), "?");
}

ZTEST_SUITE(state, NULL, ask_first, NULL, NULL, NULL);
