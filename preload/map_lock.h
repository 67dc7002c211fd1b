// SPDX-License-Identifier: Apache-2.0
/*
 * The lock of the table of mappings.
 *
 * A thread that maps goes through the kernel's own lock of its address space anyway; this one is held for a
 * few hundred nanoseconds beside it, never during a call of the program's.
 *
 *	who has it                       who comes
 *	another thread                   waits, by the futex, for a second at most
 *	the same thread: a handler       goes without at once.  Only where a seccomp filter forbids to hold
 *	                                 signals off (sandbox.h): else no handler comes
 *	nobody, in a fork child          The word is in memory that a fork wipes (process.h)
 *	a thread that left by longjmp    goes without; as above, only under such a filter
 *
 * Who goes without has lost an event, and counts it.
 */
#ifndef HM_PRELOAD_MAP_LOCK_H
#define HM_PRELOAD_MAP_LOCK_H

#include "preload/signals.h"

#include <stdbool.h>

/* Returns false where the lock cannot be had; else signals are held off until the release.  Both keep errno.
 */
bool hm_map_lock_acquire(struct hm_signals_saved *ret_saved);
void hm_map_lock_release(const struct hm_signals_saved *saved);

#endif
