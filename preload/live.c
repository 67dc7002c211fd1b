// SPDX-License-Identifier: Apache-2.0
#include "preload/live.h"

#include "preload/cc.h"
#include "preload/filter.h"
#include "preload/ledger_file.h"

#include <stddef.h>
#include <string.h>

/* The two high bits of birth_and_era: the filter's era. */
enum { ERA_SHIFT = 30 };

static struct hm_ledger_live_bucket *segment_at(const struct hm_ledger_file *ledger, uint32_t segment_index)
{
	/* acquire [segment.publish] */
	const uint64_t offset = atomic_load_explicit(
		&hm_ledger_header(ledger)->live_segments[segment_index].offset, memory_order_acquire);

	return offset == 0 ? NULL : hm_ledger_at(ledger, offset);
}

static uint32_t count_segments(const struct hm_ledger_file *ledger)
{
	uint32_t count = 0;

	while (count < HM_SEGMENTS_MAX && segment_at(ledger, count) != NULL)
		count++;
	return count;
}

/*
 * The place of an address in a segment follows its place in memory: a page of the program's goes to a
 * window of 32 buckets, 128 bytes of it to one of them.  Blocks that were allocated one after the other,
 * as most are that are freed so, meet in few cache lines and in fewer pages: python3 at rate 1 with a
 * million live objects takes a quarter less time than where each address goes to a place of its own.
 *
 *	   address   [       page       |  5 bits  |  7 bits  ]
 *	                      |              |
 *	                    hash ---> xor ---+
 *	                      |              |
 *	   bucket        [  window  |  in the window  ]
 *
 * The window is the high bits of page times an odd number (Knuth 6.4), another one in each segment: pages
 * that meet in one part in the next.  The bucket in it is turned by other bits of the hash, since large
 * blocks all begin at the same place of a page.  A window has room for two blocks in 32 bytes, which is as
 * dense as malloc packs them; and before the first bucket overflows in all segments, these are filled to
 * 0.4 to 0.9, for all strides from 16 bytes to 1 MiB (test_tables.c).
 */
static struct hm_ledger_live_bucket *bucket_at(struct hm_ledger_live_bucket *segment, uint32_t segment_index,
					       uint64_t address)
{
	enum { PAGE_LOG2 = 12, WINDOW_LOG2 = 5, ROTATION = 5 };
	static const uint64_t phi = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
	const uint32_t rotation = ROTATION * segment_index % 64;
	const uint64_t multiplier = phi << rotation | phi >> (-rotation % 64) | 1;
	const uint64_t hash = (address >> PAGE_LOG2) * multiplier;
	const uint64_t window = hash >> (64 - HM_LIVE_FIRST_BUCKETS_LOG2 + WINDOW_LOG2 - segment_index);
	const uint64_t turned = address >> (PAGE_LOG2 - WINDOW_LOG2) ^ hash >> 7;

	return &segment[window << WINDOW_LOG2 | (turned & ((1 << WINDOW_LOG2) - 1))];
}

/*
 * Claims slot `index`, if it still has `address` (0: is empty): from here until `settle` it is this
 * thread's.
 */
static inline bool claim(struct hm_ledger_live_bucket *bucket, uint32_t index, uint64_t address,
			 uint32_t *ret_generation)
{
	/* acquire [live.publish].  Read before the address; if it has not moved then, that is still so. */
	uint32_t generation = atomic_load_explicit(&bucket->values[index].generation, memory_order_acquire);

	*ret_generation = generation;
	/* relaxed: the stores that follow are ordered behind it by their own release [live.claim] */
	return generation % 2 == 0 &&
	       atomic_load_explicit(&bucket->addresses[index], memory_order_relaxed) == address &&
	       atomic_compare_exchange_strong_explicit(&bucket->values[index].generation, &generation,
						       generation + 1, memory_order_relaxed,
						       memory_order_relaxed);
}

static void settle(struct hm_ledger_live_value *value, uint32_t generation)
{
	/* release [live.publish]: even again, all fields stand */
	atomic_store_explicit(&value->generation, generation + 2, memory_order_release);
}

/* release [live.claim], each of them: who sees a new value sees an odd generation, or a later one */
static void fill(struct hm_ledger_live_bucket *bucket, uint32_t index, uint64_t address,
		 const struct hm_live_value *value, uint32_t era)
{
	struct hm_ledger_live_value *const slot = &bucket->values[index];
	uint32_t weight_bits;

	memcpy(&weight_bits, &value->weight, sizeof(weight_bits));
	atomic_store_explicit(&slot->stack_unit, value->stack_unit, memory_order_release);
	atomic_store_explicit(&slot->size_bytes, value->size_bytes, memory_order_release);
	atomic_store_explicit(&slot->weight, weight_bits, memory_order_release);
	atomic_store_explicit(&slot->birth_and_era,
			      hm_live_birth_ticks(value->birth_ticks) | era << ERA_SHIFT,
			      memory_order_release);
	atomic_store_explicit(&bucket->addresses[index], address, memory_order_release);
}

/* relaxed: the slot is claimed, and what is in it was written before the block was handed to us */
static uint32_t empty(struct hm_ledger_live_bucket *bucket, uint32_t index, struct hm_live_value *ret_value)
{
	const struct hm_ledger_live_value *const slot = &bucket->values[index];
	const uint32_t weight_bits = atomic_load_explicit(&slot->weight, memory_order_relaxed);
	const uint32_t birth_and_era = atomic_load_explicit(&slot->birth_and_era, memory_order_relaxed);

	ret_value->stack_unit = atomic_load_explicit(&slot->stack_unit, memory_order_relaxed);
	ret_value->size_bytes = atomic_load_explicit(&slot->size_bytes, memory_order_relaxed);
	ret_value->birth_ticks = hm_live_birth_ticks(birth_and_era);
	memcpy(&ret_value->weight, &weight_bits, sizeof(weight_bits));
	/* release [live.claim] */
	atomic_store_explicit(&bucket->addresses[index], 0, memory_order_release);
	return birth_and_era >> ERA_SHIFT;
}

/* relaxed: a first look; claim looks again */
static bool has(const struct hm_ledger_live_bucket *bucket, uint32_t index, uint64_t address)
{
	return atomic_load_explicit(&bucket->addresses[index], memory_order_relaxed) == address;
}

static bool insert_into(struct hm_ledger_live_bucket *bucket, uint64_t address,
			const struct hm_live_value *value, uint32_t era)
{
	for (uint32_t index = 0; index < HM_LIVE_BUCKET_SLOTS; index++) {
		uint32_t generation;

		if (!has(bucket, index, 0) || !claim(bucket, index, 0, &generation))
			continue;
		fill(bucket, index, address, value, era);
		settle(&bucket->values[index], generation);
		return true;
	}
	return false;
}

static bool insert_somewhere(struct hm_ledger_file *ledger, uint64_t address,
			     const struct hm_live_value *value, uint32_t era)
{
	uint32_t count = count_segments(ledger);

	for (uint32_t index = count; index-- > 0;) {
		if (insert_into(bucket_at(segment_at(ledger, index), index, address), address, value, era))
			return true;
	}
	for (; count < HM_SEGMENTS_MAX; count++) {
		struct hm_ledger_live_bucket *const segment = hm_ledger_segment(
			ledger, &hm_ledger_header(ledger)->live_segments[count],
			hm_live_segment_buckets(count) * sizeof(struct hm_ledger_live_bucket));

		if (segment == NULL)
			return false;
		hm_filter_expect(count + 1);
		if (insert_into(bucket_at(segment, count, address), address, value, era))
			return true;
	}
	return false;
}

static bool take_from(struct hm_ledger_live_bucket *bucket, uint64_t address, struct hm_live_value *ret_value)
{
	for (uint32_t index = 0; index < HM_LIVE_BUCKET_SLOTS; index++) {
		uint32_t generation;

		if (!has(bucket, index, address) || !claim(bucket, index, address, &generation))
			continue;

		const uint32_t era = empty(bucket, index, ret_value);

		settle(&bucket->values[index], generation);
		hm_filter_remove((uintptr_t)address, era);
		return true;
	}
	return false;
}

/* Asked for together they come in the time of one.  Three in four are in the two newest segments. */
HM_NOINLINE static void prefetch_newest(const struct hm_ledger_file *ledger, uint64_t address)
{
	enum { PREFETCHED_MAX = 4 };
	const uint32_t count = count_segments(ledger);

	for (uint32_t index = count; index-- > 0 && index + PREFETCHED_MAX >= count;)
		__builtin_prefetch(bucket_at(segment_at(ledger, index), index, address)->addresses);
}

void hm_live_prefetch(const struct hm_ledger_file *ledger, uint64_t address)
{
	enum { IN_CACHE_SEGMENTS = 3 }; /* 448 KiB, half a second-level cache */

	if (segment_at(ledger, IN_CACHE_SEGMENTS) == NULL)
		return;
	hm_filter_prefetch((uintptr_t)address);
	prefetch_newest(ledger, address);
}

bool hm_live_take(struct hm_ledger_file *ledger, uint64_t address, struct hm_live_value *ret_value)
{
	if (address == 0)
		return false; /* free(NULL), when the filter says "perhaps": 0 marks the empty slots */
	hm_live_prefetch(ledger, address);
	for (uint32_t index = count_segments(ledger); index-- > 0;) {
		if (take_from(bucket_at(segment_at(ledger, index), index, address), address, ret_value))
			return true;
	}
	return false;
}

bool hm_live_insert(struct hm_ledger_file *ledger, uint64_t address, const struct hm_live_value *value)
{
	/* Counted before it can be found, and found before the block is handed out. */
	const uint32_t era = hm_filter_insert((uintptr_t)address);

	if (insert_somewhere(ledger, address, value, era))
		return true;
	hm_filter_remove((uintptr_t)address, era);
	return false;
}
