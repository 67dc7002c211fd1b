// SPDX-License-Identifier: Apache-2.0
#include "preload/brief_wait.h"

#include "preload/sandbox.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void hm_brief_wait(const void *word, uint32_t value, _Atomic uint32_t *waiters)
{
	/* Short, so that a waker that saw no waiter yet costs no more than this. */
	const struct timespec timeout = { .tv_nsec = 1000000 };

	if (!hm_may(HM_MAY_WAIT)) {
		hm_sandbox_yield();
		return;
	}
	/* relaxed, here and below: a hint */
	atomic_fetch_add_explicit(waiters, 1, memory_order_relaxed);
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &timeout, NULL, 0);
	atomic_fetch_sub_explicit(waiters, 1, memory_order_relaxed);
}

void hm_brief_wake(const void *word, const _Atomic uint32_t *waiters)
{
	if (atomic_load_explicit(waiters, memory_order_relaxed) != 0 && hm_may(HM_MAY_WAIT))
		(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
