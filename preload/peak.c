// SPDX-License-Identifier: Apache-2.0
#include "preload/peak.h"

#include "preload/float.h"

#include <time.h>

enum {
	BEING_KEPT = 1, /* of a stack's peak_mark */
	/* So little is not worth a cache line that all threads write: blocks of usual sizes, to and fro. */
	LEFT_IN_SHARD_FIXED = 256 << HM_BYTES_FRACTION_BITS,
};

struct hm_peak_counter hm_peak_sum;
struct hm_peak_counter hm_peak_shards[HM_PEAK_SHARDS];

void hm_peak_reset(void)
{
	/* relaxed: threads that come here later were created after it, or see the state that follows */
	for (uint32_t i = 0; i < HM_PEAK_SHARDS; i++)
		atomic_store_explicit(&hm_peak_shards[i].bytes_fixed, 0, memory_order_relaxed);
	atomic_store_explicit(&hm_peak_sum.bytes_fixed, 0, memory_order_relaxed);
}

uint64_t hm_peak_inuse_bytes(void)
{
	/* relaxed: nobody writes */
	uint64_t sum_fixed = atomic_load_explicit(&hm_peak_sum.bytes_fixed, memory_order_relaxed);

	for (uint32_t i = 0; i < HM_PEAK_SHARDS; i++)
		sum_fixed += atomic_load_explicit(&hm_peak_shards[i].bytes_fixed, memory_order_relaxed);
	return (int64_t)sum_fixed > 0 ? sum_fixed >> HM_BYTES_FRACTION_BITS : 0;
}

/* In the units of the counters. */
struct in_use {
	uint64_t objects;
	uint64_t bytes;
	uint64_t objects_variance; /* the bits of a double */
	uint64_t bytes_variance;
};

/* Freed first: never more than was allocated. */
static uint64_t difference(const _Atomic uint64_t *alloc, const _Atomic uint64_t *freed)
{
	/* acquire [stack.free] */
	const uint64_t freed_value = atomic_load_explicit(freed, memory_order_acquire);

	return atomic_load_explicit(alloc, memory_order_relaxed) - freed_value;
}

/* Sums in different orders: what is left of nothing may be a little less. */
static uint64_t variance_left(const _Atomic uint64_t *alloc, const _Atomic uint64_t *freed)
{
	/* relaxed: a statistic */
	const double freed_value = hm_float_from_bits(atomic_load_explicit(freed, memory_order_relaxed));
	const double left =
		hm_float_from_bits(atomic_load_explicit(alloc, memory_order_relaxed)) - freed_value;

	return hm_float_settled(hm_float_bits(left > 0.0 ? left : 0.0));
}

static struct in_use in_use_of(const struct hm_ledger_stack *stack)
{
	const uint32_t saved = hm_float_enter();
	const struct in_use in_use = {
		.objects = difference(&stack->alloc_objects, &stack->freed_objects),
		.bytes = difference(&stack->alloc_bytes, &stack->freed_bytes),
		.objects_variance =
			variance_left(&stack->alloc_objects_variance, &stack->freed_objects_variance),
		.bytes_variance = variance_left(&stack->alloc_bytes_variance, &stack->freed_bytes_variance),
	};

	hm_float_leave(saved);
	return in_use;
}

/* release [peak.claim], each of them: who sees a new value sees that it is claimed, or more */
static void store(struct hm_ledger_stack *stack, const struct in_use *in_use)
{
	atomic_store_explicit(&stack->peak_objects, in_use->objects, memory_order_release);
	atomic_store_explicit(&stack->peak_bytes, in_use->bytes, memory_order_release);
	atomic_store_explicit(&stack->peak_objects_variance, in_use->objects_variance, memory_order_release);
	atomic_store_explicit(&stack->peak_bytes_variance, in_use->bytes_variance, memory_order_release);
}

/*
 * The figures are taken before the claim: whoever else wants to change the stack waits for nobody, but goes
 * on only when he sees it claimed, and so after that.
 *
 * A thread that is interrupted between claim and publication may find, when it goes on, that another has
 * claimed for a later mark, and then writes over figures that are newer: those of the stack at the mark
 * before stand until the next one.  It takes a raise of the mark and a sample of the same stack within these
 * few stores.
 */
HM_COLD void hm_peak_keep_now(struct hm_ledger_stack *stack, uint64_t mark)
{
	struct in_use in_use;
	/* relaxed: decided by the compare-and-swap */
	uint64_t kept = atomic_load_explicit(&stack->peak_mark, memory_order_relaxed);
	uint64_t claimed = mark | BEING_KEPT;

	do {
		/* Another thread has kept it, is doing so, or knows of a later mark. */
		if ((kept | BEING_KEPT) >= claimed)
			return;
		in_use = in_use_of(stack);
		/* acquire: of two that look at the same counters, the later one does not see less */
	} while (!atomic_compare_exchange_weak_explicit(&stack->peak_mark, &kept, claimed,
							memory_order_acquire, memory_order_relaxed));
	store(stack, &in_use);
	/* release [peak.publish]; where a later mark was claimed meanwhile, it stays */
	(void)atomic_compare_exchange_strong_explicit(&stack->peak_mark, &claimed, mark, memory_order_release,
						      memory_order_relaxed);
}

/* Coarse, to 4 ms: never a system call. */
static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

HM_COLD void hm_peak_raise(struct hm_ledger_header *header, uint64_t sum_fixed)
{
	const uint64_t new_mark = sum_fixed >> HM_BYTES_FRACTION_BITS << 1;
	/* relaxed: decided by the compare-and-swap */
	uint64_t mark = atomic_load_explicit(&header->peak_mark, memory_order_relaxed);

	do {
		/* A fraction of a byte is no new mark; and beyond 2^57 bytes, which nobody has, where the
		 * comparison wraps, it must still only rise. */
		if (!hm_peak_is_exceeded(mark, sum_fixed) || new_mark <= mark)
			return;
		/* release [peak.raise]: after all that was counted into the sum */
	} while (!atomic_compare_exchange_weak_explicit(&header->peak_mark, &mark, new_mark,
							memory_order_release, memory_order_relaxed));
	/* relaxed: a statistic.  Of two marks in the same instant either may have the last word. */
	atomic_store_explicit(&header->peak_realtime_ns, now_ns(), memory_order_relaxed);
}

HM_COLD void hm_peak_settle(struct hm_ledger_header *header, struct hm_peak_counter *shard)
{
	/* relaxed: a measure */
	const uint64_t pending_fixed = atomic_load_explicit(&shard->bytes_fixed, memory_order_relaxed);

	if (pending_fixed + LEFT_IN_SHARD_FIXED <= 2 * (uint64_t)LEFT_IN_SHARD_FIXED)
		return;

	/* acquire and release: see hm_peak_add */
	const uint64_t sum_fixed = hm_peak_add(
		&hm_peak_sum, atomic_exchange_explicit(&shard->bytes_fixed, 0, memory_order_acq_rel));

	hm_peak_raise(header, sum_fixed);
}
