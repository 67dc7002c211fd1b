// SPDX-License-Identifier: Apache-2.0
#include "preload/map_lock.h"

#include "preload/brief_wait.h"
#include "preload/process.h"
#include "preload/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

/* Not 0.  Two threads would have to be 2^38 bytes apart to be taken for one, and go without then. */
static uint32_t self(void)
{
	const uint32_t place = (uint32_t)((uintptr_t)&hm_thread / sizeof(hm_thread));

	return place != 0 ? place : 1;
}

static bool acquire(void)
{
	enum { WAITS_MAX = 1000 }; /* of a millisecond at most */
	const uint32_t own = self();

	for (int waits = 0; waits < WAITS_MAX; waits++) {
		uint32_t owner = 0;

		/* acquire: pairs with the release below; sees all that its last holder did */
		if (atomic_compare_exchange_strong_explicit(&hm_process->map_owner, &owner, own,
							    memory_order_acquire, memory_order_relaxed))
			return true;
		if (owner == own)
			return false;
		hm_brief_wait(&hm_process->map_owner, owner, &hm_process->map_waiters);
	}
	return false;
}

bool hm_map_lock_acquire(struct hm_signals_saved *ret_saved)
{
	const int saved_errno = errno;

	hm_signals_block(ret_saved);

	const bool is_ours = acquire();

	if (!is_ours)
		hm_signals_restore(ret_saved);
	errno = saved_errno;
	return is_ours;
}

void hm_map_lock_release(const struct hm_signals_saved *saved)
{
	const int saved_errno = errno;

	/* release: pairs with acquire */
	atomic_store_explicit(&hm_process->map_owner, 0, memory_order_release);
	hm_brief_wake(&hm_process->map_owner, &hm_process->map_waiters);
	hm_signals_restore(saved);
	errno = saved_errno;
}
