// SPDX-License-Identifier: Apache-2.0
/*
 * Holds off every signal for the few instructions during which something of ours is locked, so that no
 * handler can leave by longjmp with the lock held.  Raw system calls: the C library's own functions leave
 * its internal signals (thread cancellation) deliverable.  Keeps errno.
 */
#ifndef HM_PRELOAD_SIGNALS_H
#define HM_PRELOAD_SIGNALS_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct hm_signals_saved {
	uint64_t mask; /* as the kernel has it: one bit a signal */
};

static inline void hm_signals_block(struct hm_signals_saved *ret_saved)
{
	const uint64_t all = UINT64_MAX;
	const int saved_errno = errno;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &ret_saved->mask, sizeof(all));
	errno = saved_errno;
}

static inline void hm_signals_restore(const struct hm_signals_saved *saved)
{
	const int saved_errno = errno;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved->mask, NULL, sizeof(saved->mask));
	errno = saved_errno;
}

#endif
