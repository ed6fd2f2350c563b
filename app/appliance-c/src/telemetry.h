/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief The appliance's reports: one fan, one thermometer, one pump, one glow plug.
 */

#ifndef TELEMETRY_H_
#define TELEMETRY_H_

#include <stdint.h>

#include <rekindle/rekindle.h>

/** The callback: sends what was asked for. */
void telemetry(void *context, uint32_t kind, uint32_t index, struct rekindle_outlet *outlet);

#endif /* TELEMETRY_H_ */
