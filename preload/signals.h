// SPDX-License-Identifier: Apache-2.0
/*
 * Holds off signals for the few instructions during which something of ours is locked, so that no handler can
 * leave by longjmp with the lock held.  Not those that an instruction raises itself: the kernel kills a
 * program that blocks such a signal when it comes, and single-stepping and seccomp's SIGSYS are uses of them.
 * Raw system calls: the C library's own functions leave its internal signals (thread cancellation)
 * deliverable.  Keeps errno.
 *
 * Where a seccomp filter forbids it (sandbox.h), nothing is held off.
 */
#ifndef HM_PRELOAD_SIGNALS_H
#define HM_PRELOAD_SIGNALS_H

#include "preload/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct hm_signals_saved {
	uint64_t mask; /* as the kernel has it: one bit a signal */
	bool are_held_off;
};

static inline void hm_signals_block(struct hm_signals_saved *ret_saved)
{
	/* Signal n is bit n - 1. */
	const uint64_t synchronous = UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGTRAP - 1) |
				     UINT64_C(1) << (SIGBUS - 1) | UINT64_C(1) << (SIGFPE - 1) |
				     UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGSYS - 1);
	const uint64_t held_off = ~synchronous;
	const int saved_errno = errno;

	ret_saved->are_held_off = hm_may(HM_MAY_HOLD_OFF_SIGNALS);
	if (!ret_saved->are_held_off)
		return;
	(void)syscall(SYS_rt_sigprocmask, SIG_BLOCK, &held_off, &ret_saved->mask, sizeof(held_off));
	errno = saved_errno;
}

static inline void hm_signals_restore(const struct hm_signals_saved *saved)
{
	const int saved_errno = errno;

	/* Whatever came in between: signals that stay held off would be worse than a call that is forbidden.
	 */
	if (!saved->are_held_off)
		return;
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved->mask, NULL, sizeof(saved->mask));
	errno = saved_errno;
}

#endif
