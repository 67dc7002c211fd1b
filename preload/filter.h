// SPDX-License-Identifier: Apache-2.0
/*
 * The free filter: "may this address be a live sample?" in one load and one test.
 *
 * An array of small counters in private memory, addressed by a hash of the address.  free() asks it for every
 * block; nearly always the counter is 0, and the block is nobody's concern.  A counter above 0 says
 * "perhaps": the live table is asked.  The answer "no" is always right, "perhaps" may be wrong.
 *
 *	counter of an address  =  shape[hash(address) >> (shape mod 64)]
 *
 * `shape` is the address of the counters, and they are laid so that its six low bits are the shift that
 * belongs to their number: 2^17 counters begin at an address that is 64 - 17 modulo 64.  One word says
 * both, so the fast path can never combine an old one with a new one, and takes no instruction to part them
 * (a shift looks at six bits of its count).
 *
 *
 * Growing
 * -------
 * There are four sizes, the *eras*: 128 KiB, and up to 16 MiB for a million live samples.  One array takes
 * over from another like this, when the live table has outgrown the old one:
 *
 *	1. next = the new array, all 0                                          [filter.next]
 *	2. each counter of the old array is added to all counters of the new one that its addresses may
 *	   move to: they are neighbours, since an index is the high bits of the hash
 *	3. shape = the new array                                                [filter.shape]
 *	4. next = none
 *
 * Theorem: no live sample is ever without a count in the array that `shape` names.
 * An insertion counts in the array of `shape`, then reads `next` and `shape` again.
 *   - If it reads no `next` and the same `shape`, then in the single total order of these accesses its count
 *     comes before (1), so (2) sees it and copies it.
 *   - If it reads a `next`, it counts there itself; a copy in (2) besides is one count too many.
 *   - If `shape` has changed, it counts again in the array of the new one.
 * A removal takes from the array of `shape`: out of all the copies where the insertion was of an earlier era,
 * else out of the one counter.  Where it overlaps with (2) or (3), a copy may stay behind.
 * So every error is a count too many: "perhaps" for "no".  The old array stays mapped, some thread may be
 * about to read it.
 *
 * A counter that reaches 255 stays there: "perhaps" for ever.
 *
 * Any thread, any signal handler; lock-free; never allocates from the program's heap.
 */
#ifndef HM_PRELOAD_FILTER_H
#define HM_PRELOAD_FILTER_H

#include "preload/cc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The shape of the process's filter.  At first, and after hm_filter_reset, every answer is "no". */
extern HM_HIDDEN _Atomic uintptr_t hm_filter_shape;

/*
 * Multiplicative hashing (Knuth 6.4), with 2^40 / phi in place of 2^64 / phi: neighbours in memory are
 * neighbours in the array, so that what a program frees now leads to few cache lines of it.  A counter of the
 * first size stands for 207 bytes, of the last for 1.6; every 26 MiB the array begins again, and what is so
 * far apart is spread as the golden ratio spreads it.
 *
 * Counters in use are as many as with any hash, and so are false alarms on average.  But they stand together:
 * within 207 bytes of a live sample all blocks are asked for.
 */
static inline uint64_t hm_filter_hash(uintptr_t address)
{
	return (uint64_t)address * UINT64_C(0x9e3779b97f);
}

static inline _Atomic uint8_t *hm_filter_counter(uintptr_t shape, uintptr_t address)
{
	return (_Atomic uint8_t *)shape + (hm_filter_hash(address) >> (shape & 63));
}

/* False: `address` is no live sample. */
static inline bool hm_filter_may_contain(uintptr_t address)
{
	/* acquire [filter.shape]: the copied counts come before the shape */
	const uintptr_t shape = atomic_load_explicit(&hm_filter_shape, memory_order_acquire);

	/* relaxed: who frees a block was handed it by who inserted it, and with it this count */
	return atomic_load_explicit(hm_filter_counter(shape, address), memory_order_relaxed) != 0;
}

/* Fetches what an insertion will change; for a caller who has something else to do meanwhile. */
static inline void hm_filter_prefetch(uintptr_t address)
{
	/* relaxed: a hint */
	const uintptr_t shape = atomic_load_explicit(&hm_filter_shape, memory_order_relaxed);
	enum { FOR_WRITING = 1 };

	__builtin_prefetch(hm_filter_counter(shape, address), FOR_WRITING);
}

/* Counts an address in.  Returns the era to give back at removal: 0..3. */
uint32_t hm_filter_insert(uintptr_t address);

/*
 * The live table has got its `live_segments`-th segment: grows to what so many live samples need.  Where
 * there is no memory for it, or another thread is at it, false alarms rise until the next one.
 */
void hm_filter_expect(uint32_t live_segments);

void hm_filter_remove(uintptr_t address, uint32_t era);

/*
 * Makes the answer for `address` "perhaps" for ever, beyond hm_filter_reset: for blocks that must not reach
 * the allocator underneath.  Not while the filter grows.
 */
void hm_filter_pin(uintptr_t address);

/*
 * Starts empty with the first size; pinned addresses stay pinned.  For a process that starts to record: the
 * first time, or a fork child.  Not while other threads insert or remove.
 */
void hm_filter_reset(void);

#endif
