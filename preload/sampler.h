// SPDX-License-Identifier: Apache-2.0
/*
 * Which allocations are sampled, and for how many each stands.
 *
 * Along the bytes that a thread allocates lies a Poisson process of points, `interval` bytes apart on
 * average.  An allocation of s bytes covers s + 1 of them (so that empty ones can be hit) and is sampled if
 * it covers a point:
 *
 *	probability  p = 1 - e^(-(s+1)/interval)        weight  w = 1/p        docs/accuracy.md
 *
 *	     |<--- countdown --->|
 *	  ---+-------------------x---------------x--------  bytes allocated by this thread
 *	    now                point           point
 *
 * Distances are exponential, and exponential distances have no memory: a distance may be drawn anew at any
 * moment that does not depend on where the next point lies.  Therefore a thread starts with a draw, an
 * interval can be changed, and a long distance be looked at in pieces (checkpoints), without any bias.
 *
 * One sampler belongs to one thread; signal handlers of that thread may disturb it: a distance is then lost,
 * which is a redraw.
 */
#ifndef HM_PRELOAD_SAMPLER_H
#define HM_PRELOAD_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hm_sampler {
	int64_t countdown_bytes; /* to the next point or checkpoint; the fast path takes away from it */
	uint64_t interval_bytes; /* in force when the countdown was drawn; 1: every allocation */
	uint64_t random_state;
	bool is_point; /* a point lies at the end of the countdown; else a checkpoint: draw and look again */
};

/*
 * The bytes that an allocation covers.  Bit 63 is cut off: a size that has it cannot succeed, and must not
 * turn the countdown around; what is left of it may cost a few bytes of distance and a look for nothing.
 */
static inline int64_t hm_sampler_covered_bytes(size_t size_bytes)
{
	return (int64_t)(((uint64_t)size_bytes + 1) & INT64_MAX);
}

/*
 * The fast path: one subtraction.  True when the allocation may be sampled: hm_sampler_decide must be called.
 * A signal handler that comes between the subtraction and hm_sampler_decide finds the countdown negative, so
 * its own allocations are looked at as well.
 */
static inline bool hm_sampler_is_due(struct hm_sampler *sampler, size_t size_bytes)
{
	bool is_negative;

	/* In memory, which compilers spread over a load and a store. */
	__asm__("subq %2, %0"
		: "+m"(sampler->countdown_bytes), "=@ccs"(is_negative)
		: "r"(hm_sampler_covered_bytes(size_bytes)));
	return is_negative;
}

/* Takes hm_sampler_is_due back, for an allocation that is not to count. */
static inline void hm_sampler_undo(struct hm_sampler *sampler, size_t size_bytes)
{
	sampler->countdown_bytes += hm_sampler_covered_bytes(size_bytes);
}

/* Gives the sampler its random numbers, and a first draw to come: a thread that the process has not seen. */
void hm_sampler_seed(struct hm_sampler *sampler, uint64_t seed);

/*
 * The next allocation is due.  For a fork child: an allocation that the fork has interrupted may take back
 * (hm_sampler_undo) what it had subtracted before, and must not put the next one off.  No block is as large
 * as this distance, which is that of all addresses of a process.
 */
static inline void hm_sampler_force(struct hm_sampler *sampler)
{
	sampler->is_point = false;
	sampler->countdown_bytes = -(INT64_C(1) << 47);
}

/*
 * After hm_sampler_is_due said true: whether the allocation is sampled.  `interval_bytes` is the interval in
 * force now (0: dormant), for the next draw; *ret_weight belongs to the interval of the last one.
 */
bool hm_sampler_decide(struct hm_sampler *sampler, size_t size_bytes, uint64_t interval_bytes,
		       float *ret_weight);

/* The weight of a sampled allocation; 1 where interval_bytes is 1. */
float hm_sampler_weight(size_t size_bytes, uint64_t interval_bytes);

#endif
