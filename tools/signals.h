// SPDX-License-Identifier: Apache-2.0
/* Signals that are waited for, in place of being handled. */
#ifndef HM_TOOLS_SIGNALS_H
#define HM_TOOLS_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/*
 * Blocks those of the signals that are not ignored, and returns them.  A signal that is blocked is queued
 * although it is ignored, so who waited for it would be given what `nohup`, or a shell that starts a command
 * in the background, keeps from it.  Before there are threads, which are then not interrupted by them either.
 */
sigset_t hm_signals_block(const int *numbers, size_t count);

#endif
