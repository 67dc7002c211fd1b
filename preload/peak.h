// SPDX-License-Identifier: Apache-2.0
/*
 * The high-water mark: when the most was in use, and what each stack had then ("The high-water mark" in
 * proto/ledger.h says how that is kept).
 *
 *	before_alloc   the stack keeps what it had, if it has not since the last mark
 *	...            the stack's counters change
 *	after_alloc    the sum over all stacks changes; where it is a new maximum, the mark is raised
 *
 *	before_free    the sum changes, then the stack keeps what it had
 *	...            the stack's counters change
 *
 * In this order a sum that somebody looks at in between is never more than what the stacks have: a mark is
 * not raised on account of a block that is gone.
 *
 *
 * The sum
 * -------
 * As long as one thread records, each sample goes straight into it.  For many it would be a cache line that
 * each sample of each of them wants.  So once there is a second thread, each counts in one of 64 shards, by a
 * hash of where its thread-local storage lies, and what gathers there goes into the sum when it is more than
 * 1/8192 of the mark, and more than 256 bytes.  Where a thread allocates and frees in turns, that goes to and
 * fro in its shard and never gets so far.  When threads come or go, a sample goes into the one or the other:
 * together they are right.
 *
 *
 * How near it is to the truth
 * ---------------------------
 * Let m be the mark, and the sum be off by what is in the shards: at most e m, e = 64/8192 = 1/128 (in a
 * heap below 2 MiB 256 bytes for each thread, 16 KiB in all).  It is raised when the sum exceeds it by
 * h = 1/64: not at each new maximum, for after each one all stacks keep their figures anew.  So
 *
 *	in use at the mark  >=  (1 - e) m        in use ever  <  (1 + h + e) m
 *
 * and the mark shows no less than (1 - 1/128) / (1 + 1/64 + 1/128) = 96.9 % of what was ever in use, and
 * never more.  Where there has been but one thread e is 0: 64/65 = 98.4 %.
 *
 * On top of that come samples in flight: a thread between two of the steps above while another raises the
 * mark.  Its sample may be counted at the mark though it came just after it, or the other way about: at most
 * one sample for each thread, or signal handler that comes in between.  Likewise what is freed in the few
 * instructions between the sum that is found to be a maximum and the mark that says so.
 * With sampling all this is about the estimate: see docs/accuracy.md.
 *
 * From one byte to 2^57 the mark is raised less than 64 + log(2^51) / log(65/64) = 2344 times.
 *
 * A realloc that moves a block is a free and then an allocation: a dip, which the mark does not see.  One
 * that fails changes no counter.  Samples under [dropped] are freed at once and never in use.
 *
 * Any thread, any signal handler; lock-free; keeps errno.  A handler that leaves by longjmp in the middle may
 * take with it what was in one shard, 1/8192 of the mark, or its own sample.
 */
#ifndef HM_PRELOAD_PEAK_H
#define HM_PRELOAD_PEAK_H

#include "preload/cc.h"
#include "preload/thread.h"
#include "proto/ledger.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>

enum {
	HM_PEAK_SHARDS_LOG2 = 6, /* threads that run at once have mostly one each, up to a few dozen */
	HM_PEAK_SHARDS = 1 << HM_PEAK_SHARDS_LOG2,
	HM_PEAK_SHARE_LOG2 = 13,     /* a shard keeps up to 1/8192 of the mark */
	HM_PEAK_HYSTERESIS_LOG2 = 6, /* a new mark is more than 1/64 above the last */
};

/* A sum of bytes, fixed-point, in two's complement: a part of it may be below zero. */
struct hm_peak_counter {
	_Alignas(64) _Atomic uint64_t bytes_fixed;
};
static_assert(sizeof(struct hm_peak_counter) == 64, "a cache line each");

/* What is in use in all, but for what is in the shards. */
extern HM_HIDDEN struct hm_peak_counter hm_peak_sum;
extern HM_HIDDEN struct hm_peak_counter hm_peak_shards[HM_PEAK_SHARDS];

/* Parts of what follows that are seldom needed; not to be called from elsewhere. */
void hm_peak_keep_now(struct hm_ledger_stack *stack, uint64_t mark);
void hm_peak_raise(struct hm_ledger_header *header, uint64_t sum_fixed);
void hm_peak_settle(struct hm_ledger_header *header, struct hm_peak_counter *shard);

/* The bytes of a mark, which counts half bytes, in fixed point. */
static inline uint64_t hm_peak_mark_fixed(uint64_t mark)
{
	return mark << (HM_BYTES_FRACTION_BITS - 1);
}

/* Whether the sum calls for a new mark.  Below zero, for an instant, where a block is freed before its
 * allocation has come out of another shard. */
static inline bool hm_peak_is_exceeded(uint64_t mark, uint64_t sum_fixed)
{
	const uint64_t mark_fixed = hm_peak_mark_fixed(mark);

	return (int64_t)sum_fixed > (int64_t)(mark_fixed + (mark_fixed >> HM_PEAK_HYSTERESIS_LOG2));
}

static inline void hm_peak_keep(const struct hm_ledger_header *header, struct hm_ledger_stack *stack)
{
	/* acquire [peak.raise]: what was counted at the mark is seen by who keeps it */
	const uint64_t mark = atomic_load_explicit(&header->peak_mark, memory_order_acquire);

	/* relaxed: looked at again where it differs */
	if (HM_UNLIKELY(atomic_load_explicit(&stack->peak_mark, memory_order_relaxed) != mark))
		hm_peak_keep_now(stack, mark);
}

/* The thread's own shard: stacks of threads lie at equal distances, which this hash spreads evenly. */
static inline struct hm_peak_counter *hm_peak_shard(void)
{
	const uint64_t hash = (uint64_t)(uintptr_t)&hm_thread * UINT64_C(0x9e3779b97f4a7c15);

	return &hm_peak_shards[hash >> (64 - HM_PEAK_SHARDS_LOG2)];
}

/*
 * acquire and release: the counters of all samples in a sum come before whoever raises the mark on account of
 * it [peak.raise]
 */
static inline uint64_t hm_peak_add(struct hm_peak_counter *counter, uint64_t change_fixed)
{
	return atomic_fetch_add_explicit(&counter->bytes_fixed, change_fixed, memory_order_acq_rel) +
	       change_fixed;
}

/* While there is one thread nobody contends for the sum.  As the C library's malloc asks; a thread made by a
 * bare clone is not counted, and adds to the sum too. */
static inline bool hm_peak_is_alone(void)
{
	return __libc_single_threaded != 0;
}

static inline void hm_peak_count_in_shard(struct hm_ledger_header *header, uint64_t change_fixed)
{
	struct hm_peak_counter *const shard = hm_peak_shard();
	const uint64_t pending_fixed = hm_peak_add(shard, change_fixed);
	/* relaxed: a measure */
	const uint64_t mark = atomic_load_explicit(&header->peak_mark, memory_order_relaxed);
	const uint64_t share_fixed = hm_peak_mark_fixed(mark) >> HM_PEAK_SHARE_LOG2;

	/* Whether it lies outside of -share .. share. */
	if (HM_UNLIKELY(pending_fixed + share_fixed > 2 * share_fixed))
		hm_peak_settle(header, shard);
}

/*
 * Around hm_stack_add_alloc and before hm_stack_add_freed.  `bytes_fixed` is hm_stack_bytes_fixed of the
 * sample.
 */
static inline void hm_peak_before_alloc(const struct hm_ledger_header *header, struct hm_ledger_stack *stack)
{
	hm_peak_keep(header, stack);
}

static inline void hm_peak_after_alloc(struct hm_ledger_header *header, uint64_t bytes_fixed)
{
	if (!hm_peak_is_alone()) {
		hm_peak_count_in_shard(header, bytes_fixed);
		return;
	}

	const uint64_t sum_fixed = hm_peak_add(&hm_peak_sum, bytes_fixed);
	/* relaxed: whoever raises the mark looks again */
	const uint64_t mark = atomic_load_explicit(&header->peak_mark, memory_order_relaxed);

	if (HM_UNLIKELY(hm_peak_is_exceeded(mark, sum_fixed)))
		hm_peak_raise(header, sum_fixed);
}

static inline void hm_peak_before_free(struct hm_ledger_header *header, struct hm_ledger_stack *stack,
				       uint64_t bytes_fixed)
{
	if (hm_peak_is_alone())
		(void)hm_peak_add(&hm_peak_sum, -bytes_fixed);
	else
		hm_peak_count_in_shard(header, -bytes_fixed);
	hm_peak_keep(header, stack);
}

/* The estimate of what is in use in all.  While nobody records. */
uint64_t hm_peak_inuse_bytes(void);

/*
 * Nothing is in use.  For a process that starts to record into a fresh ledger: the first time, or a fork
 * child.  Not while other threads record.
 */
void hm_peak_reset(void);

#endif
