/*
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief Shell commands over @ref rekindle_state, for an application to list among its own.
 *
 * With REKINDLE_SHELL they are "rekindle status" and "rekindle outcomes" in any case.
 */

#ifndef REKINDLE_SHELL_H_
#define REKINDLE_SHELL_H_

#include <zephyr/shell/shell.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Prints the running image, the update and whether the application may start something. */
int rekindle_shell_status(const struct shell *sh, size_t argc, char **argv);
/** Prints what became of the last updates, the newest first. */
int rekindle_shell_outcomes(const struct shell *sh, size_t argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif /* REKINDLE_SHELL_H_ */
