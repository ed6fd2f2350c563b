/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief What the appliance checks before it lets a new image stay.
 */

#ifndef SELF_TEST_H_
#define SELF_TEST_H_

#include <stdint.h>

/** What becomes of an image before anything else of the application runs. */
void self_test_before_everything(void);

/** The callback: one step of the test. */
int self_test(void *context, uint32_t *stage);

#endif /* SELF_TEST_H_ */
