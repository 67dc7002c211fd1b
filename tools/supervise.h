// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a command as if nobody stood between it and the user.
 *
 * The command stays in our process group, so that the terminal treats it as it would without us: what is
 * typed (^C, ^\, ^Z) reaches it from the terminal, once, and is not passed on by us; what somebody sends to
 * us with kill(2) is.  When it stops for job control, so do we, until somebody lets us go on.
 */
#ifndef HM_TOOLS_SUPERVISE_H
#define HM_TOOLS_SUPERVISE_H

#include <stdint.h>

/* Called while the command runs; returns when it wants to be called again, in ns of CLOCK_MONOTONIC. */
typedef uint64_t hm_supervise_tick(void *context, uint64_t now_ns);

/* Now, by the clock of hm_supervise_tick. */
uint64_t hm_supervise_now(void);

/*
 * Starts argv as execvp does, with the environment as it is, and waits for its end.  `tick` is called at once
 * and then whenever it asked to be.  All signals are blocked from here on, so that nothing ends us before we
 * have seen to the profiles.
 *
 * Returns 0 and the status of waitpid; or, where the command could not be started, what fork or exec said as
 * a negative errno.
 */
int hm_supervise(char *const *argv, hm_supervise_tick *tick, void *context, int *ret_status);

#endif
