/*
 * SPDX-License-Identifier: Apache-2.0
 */

/* The start of an application in C, and what its threads ask of the session, of which there is
 * none here: rekindle_run() is the test's.
 */

#include <errno.h>

#include <zephyr/ztest.h>

#include <rekindle/port.h>
#include <rekindle/rekindle.h>

static const struct rekindle_callbacks given;
static const struct rekindle_callbacks *run_with;
static k_tid_t run_by;

int rekindle_run(const struct rekindle_callbacks *callbacks)
{
	run_with = callbacks;
	run_by = k_current_get();
	/* Whoever started it still waits. */
	k_msleep(20);
	rekindle_started(-ENODEV);
	return -ENODEV;
}

ZTEST(application, test_start_tells_what_came_of_it_and_is_done_once)
{
	zassert_equal(rekindle_start(&given), -ENODEV);
	zassert_equal_ptr(run_with, &given);
	zassert_not_equal(run_by, k_current_get(), "a thread of its own");
	zassert_equal(rekindle_start(&given), -EBUSY);
}

ZTEST(application, test_requests_are_taken_once)
{
	zassert_equal(rekindle_take_requests(), 0);
	rekindle_emergency();
	zassert_equal(rekindle_take_requests(), REKINDLE_REQUEST_EMERGENCY);
	zassert_equal(rekindle_take_requests(), 0);
	rekindle_request_reset();
	rekindle_emergency();
	rekindle_emergency();
	zassert_equal(rekindle_take_requests(), REKINDLE_REQUEST_EMERGENCY | REKINDLE_REQUEST_RESET);
	zassert_equal(rekindle_take_requests(), 0);
}

ZTEST_SUITE(application, NULL, NULL, NULL, NULL, NULL);
