// SPDX-License-Identifier: Apache-2.0
#include "preload/filter.h"

#include "preload/cc.h"
#include "preload/memory.h"

#include <stddef.h>
#include <string.h>

enum {
	STUCK = 255,
	FIRST_LOG2 = 17, /* 128 KiB: stays in a second-level cache */
	ERAS = 4,
	SHAPES = 64, /* shifts that the low bits of a shape can tell */
};

/*
 * False alarms are the counters in use: live samples, and what growing has copied and is still live, which is
 * the share that was in use when it grew.  They reach 1 % before the first step, and 5 % at 100,000 live
 * samples (2.4 % their own, the rest copies), at a cost of 4 MiB.  Beyond the last size they rise.
 *
 * The live table tells how many there are, by its segments: n of them have 2048 (2^n - 1) slots, and the next
 * is made when about 0.6 of those are taken.
 */
static const struct {
	uint32_t size_log2;
	uint32_t segments_max; /* more segments than this: grow */
} eras[ERAS] = {
	{ FIRST_LOG2, 1 }, /* to some 1,200: a heap of 600 MiB at the default rate */
	{ 21, 4 },         /* to some 18,000 */
	{ 22, 7 },         /* to some 150,000 */
	{ 24, UINT32_MAX },
};

/* Part of the library's image, so that free() needs no "is it there yet?". */
static _Alignas(64) _Atomic uint8_t first_storage[(1 << FIRST_LOG2) + SHAPES];
static _Atomic uint8_t *const first_counters = first_storage + (64 - FIRST_LOG2);

/* On a line of its own: read by every free of every thread. */
_Alignas(64) _Atomic uintptr_t hm_filter_shape = (uintptr_t)first_storage + (64 - FIRST_LOG2);
static _Alignas(64) _Atomic uintptr_t next_shape; /* 0: not growing */
static _Atomic uint32_t growing;                  /* 1: a thread is in hm_filter_expect */
static _Atomic bool has_counted; /* since the last reset: most processes end before, and are spared one */

static _Atomic uint8_t *counters_of(uintptr_t shape)
{
	return (_Atomic uint8_t *)shape;
}

static uint32_t size_log2_of(uintptr_t shape)
{
	return 64 - (uint32_t)(shape % SHAPES);
}

static uint32_t era_of(uintptr_t shape)
{
	uint32_t era = 0;

	while (eras[era].size_log2 != size_log2_of(shape))
		era++;
	return era;
}

/* seq_cst: the total order of counts, next_shape and hm_filter_shape that the theorem speaks of */
static void add(_Atomic uint8_t *counter, uint32_t amount)
{
	uint8_t value = atomic_load_explicit(counter, memory_order_relaxed);
	uint8_t sum;

	do {
		if (value == STUCK)
			return;
		sum = value + amount < STUCK ? (uint8_t)(value + amount) : STUCK;
	} while (!atomic_compare_exchange_weak_explicit(counter, &value, sum, memory_order_seq_cst,
							memory_order_relaxed));
}

static void take_one(_Atomic uint8_t *counter)
{
	/* relaxed: a count too many for a moment is only a false alarm */
	uint8_t value = atomic_load_explicit(counter, memory_order_relaxed);

	do {
		if (value == STUCK || value == 0)
			return;
	} while (!atomic_compare_exchange_weak_explicit(counter, &value, (uint8_t)(value - 1),
							memory_order_relaxed, memory_order_relaxed));
}

static void count_in(uintptr_t shape, uintptr_t address)
{
	add(hm_filter_counter(shape, address), 1);
}

static uint32_t count_in_all(uintptr_t address)
{
	uintptr_t shape = atomic_load_explicit(&hm_filter_shape, memory_order_acquire);

	for (;;) {
		count_in(shape, address);

		/* seq_cst [filter.next] [filter.shape] */
		const uintptr_t next = atomic_load_explicit(&next_shape, memory_order_seq_cst);
		const uintptr_t again = atomic_load_explicit(&hm_filter_shape, memory_order_seq_cst);

		if (again != shape) {
			shape = again;
			continue;
		}
		if (next == 0 || next == shape)
			return era_of(shape);
		count_in(next, address);
		return era_of(next);
	}
}

void hm_filter_remove(uintptr_t address, uint32_t era)
{
	const uintptr_t shape = atomic_load_explicit(&hm_filter_shape, memory_order_acquire);
	const uint32_t size_log2 = size_log2_of(shape);

	if (era >= ERAS || eras[era].size_log2 > size_log2) {
		/* Counted in an array that is about to take over: both counts go. */
		const uintptr_t next = atomic_load_explicit(&next_shape, memory_order_acquire);

		if (next != 0)
			take_one(hm_filter_counter(next, address));
		era = era_of(shape);
	}

	/* Copies of an older count are neighbours: all indices that begin with the bits of the old index. */
	const uint32_t copies_log2 = size_log2 - eras[era].size_log2;
	const uint64_t first = hm_filter_hash(address) >> (64 - eras[era].size_log2) << copies_log2;

	if (copies_log2 == 0) {
		take_one(&counters_of(shape)[first]);
		return;
	}
	for (uint64_t copy = 0; copy < UINT64_C(1) << copies_log2; copy++)
		take_one(&counters_of(shape)[first + copy]);
}

void hm_filter_pin(uintptr_t address)
{
	const uintptr_t shape = atomic_load_explicit(&hm_filter_shape, memory_order_acquire);

	add(hm_filter_counter(shape, address), STUCK);
}

static void copy_counters(uintptr_t from, uintptr_t to)
{
	const uint64_t from_count = UINT64_C(1) << size_log2_of(from);
	const uint32_t copies_log2 = size_log2_of(to) - size_log2_of(from);

	for (uint64_t index = 0; index < from_count; index++) {
		/* seq_cst: see add */
		const uint8_t count = atomic_load_explicit(&counters_of(from)[index], memory_order_seq_cst);

		if (count == 0)
			continue;
		for (uint64_t copy = 0; copy < UINT64_C(1) << copies_log2; copy++)
			add(&counters_of(to)[(index << copies_log2) + copy], count);
	}
}

static void take_over(uintptr_t shape, uint32_t era)
{
	_Atomic uint8_t *const counters = hm_memory_map(((size_t)1 << eras[era].size_log2) + SHAPES);

	if (counters == NULL)
		return;

	const uintptr_t next = (uintptr_t)counters + (64 - eras[era].size_log2);

	/* seq_cst [filter.next] */
	atomic_store_explicit(&next_shape, next, memory_order_seq_cst);
	copy_counters(shape, next);
	/* seq_cst [filter.shape] */
	atomic_store_explicit(&hm_filter_shape, next, memory_order_seq_cst);
	atomic_store_explicit(&next_shape, 0, memory_order_seq_cst);
}

HM_COLD void hm_filter_expect(uint32_t live_segments)
{
	uint32_t idle = 0;
	uintptr_t before = 0;

	/* By one thread; the others go on, and are part of what the theorem speaks of.  One that finds it
	 * growing will make another segment some day. */
	if (!atomic_compare_exchange_strong_explicit(&growing, &idle, 1, memory_order_acquire,
						     memory_order_relaxed))
		return;
	for (;;) {
		const uintptr_t shape = atomic_load_explicit(&hm_filter_shape, memory_order_acquire);
		const uint32_t era = era_of(shape);

		if (shape == before || live_segments <= eras[era].segments_max)
			break;
		before = shape;
		take_over(shape, era + 1);
	}
	atomic_store_explicit(&growing, 0, memory_order_release);
}

uint32_t hm_filter_insert(uintptr_t address)
{
	/* relaxed: a hint for a reset, which is made when nobody inserts */
	if (!atomic_load_explicit(&has_counted, memory_order_relaxed))
		atomic_store_explicit(&has_counted, true, memory_order_relaxed);
	return count_in_all(address);
}

/* Whether any of eight counters counts.  Nobody else counts meanwhile, so they can be read at once. */
static bool is_any_counting(const _Atomic uint8_t *counters)
{
	uint64_t eight;

	memcpy(&eight, (const void *)(uintptr_t)counters, sizeof(eight));
	return eight != 0;
}

static void reset_counter(_Atomic uint8_t *counter)
{
	/* relaxed: nobody else counts now; stores only where needed keep a fork child's pages shared */
	const uint8_t count = atomic_load_explicit(counter, memory_order_relaxed);

	if (count != 0 && count != STUCK)
		atomic_store_explicit(counter, 0, memory_order_relaxed);
}

void hm_filter_reset(void)
{
	enum { AT_ONCE = sizeof(uint64_t) };

	/* A larger array of the parent process stays mapped: free() may be reading it in another thread. */
	atomic_store_explicit(&hm_filter_shape, (uintptr_t)first_counters, memory_order_release);
	atomic_store_explicit(&next_shape, 0, memory_order_relaxed);
	atomic_store_explicit(&growing, 0, memory_order_relaxed);
	if (!atomic_load_explicit(&has_counted, memory_order_relaxed))
		return;
	atomic_store_explicit(&has_counted, false, memory_order_relaxed);
	for (size_t index = 0; index < (size_t)1 << FIRST_LOG2; index += AT_ONCE) {
		if (!is_any_counting(&first_counters[index]))
			continue;
		for (size_t i = 0; i < AT_ONCE; i++)
			reset_counter(&first_counters[index + i]);
	}
}
