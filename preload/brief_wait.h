// SPDX-License-Identifier: Apache-2.0
/*
 * Waiting for a word of memory to change, in steps of a millisecond: for locks that must not wait for ever.
 *
 * Any thread, any signal handler.  Behind a seccomp filter that does not let a thread sleep it yields instead.
 */
#ifndef HM_PRELOAD_BRIEF_WAIT_H
#define HM_PRELOAD_BRIEF_WAIT_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * Returns when the 32 bits at `word` are not `value`, when it is woken, or after a millisecond: the caller looks
 * again, and counts.  `waiters` counts those who wait; it belongs to the word.
 */
void hm_brief_wait(const void *word, uint32_t value, _Atomic uint32_t *waiters);

/* Wakes one who waits, after the word was changed.  One who comes in between is missed, and wakes by itself. */
void hm_brief_wake(const void *word, const _Atomic uint32_t *waiters);

#endif
