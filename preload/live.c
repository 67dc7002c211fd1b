// SPDX-License-Identifier: Apache-2.0
#include "preload/live.h"

#include "preload/filter.h"
#include "preload/ledger_file.h"

#include <stddef.h>
#include <string.h>

/*
 * Eight slots are four cache lines: they let a segment fill to about 2/3 before its first bucket overflows,
 * and bound what a false alarm of the filter costs.
 */
enum { BUCKET_SLOTS = 8 };

/* The two high bits of birth_and_era: the filter's era. */
enum { ERA_SHIFT = 30 };

static struct hm_ledger_live_slot *segment_at(const struct hm_ledger_file *ledger, uint32_t segment_index)
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

/* Not the filter's multiplier: what collides there is spread here.  (2^64 times a random number, made odd.)
 */
static struct hm_ledger_live_slot *bucket_at(struct hm_ledger_live_slot *segment, uint32_t segment_index,
					     uint64_t address)
{
	const uint64_t bucket_count = hm_live_segment_slots(segment_index) / BUCKET_SLOTS;
	const uint64_t hash = (address ^ address >> 32) * UINT64_C(0xd6e8feb86659fd93);

	return &segment[(hash >> 32 & (bucket_count - 1)) * BUCKET_SLOTS];
}

/*
 * Claims a slot: from here until `settle` it is this thread's.  The caller read `generation` before what
 * made it want the slot (acquire [live.publish]); if it has not moved, that is still so.
 */
static bool claim(struct hm_ledger_live_slot *slot, uint32_t generation)
{
	/* relaxed: the stores that follow are ordered behind it by their own release [live.claim] */
	return generation % 2 == 0 &&
	       atomic_compare_exchange_strong_explicit(&slot->generation, &generation, generation + 1,
						       memory_order_relaxed, memory_order_relaxed);
}

static void settle(struct hm_ledger_live_slot *slot, uint32_t generation)
{
	/* release [live.publish]: even again, all fields stand */
	atomic_store_explicit(&slot->generation, generation + 2, memory_order_release);
}

/* release [live.claim], each of them: who sees a new value sees an odd generation, or a later one */
static void fill(struct hm_ledger_live_slot *slot, uint64_t address, const struct hm_live_value *value,
		 uint32_t era)
{
	uint32_t weight_bits;

	memcpy(&weight_bits, &value->weight, sizeof(weight_bits));
	atomic_store_explicit(&slot->stack_unit, value->stack_unit, memory_order_release);
	atomic_store_explicit(&slot->size_bytes, value->size_bytes, memory_order_release);
	atomic_store_explicit(&slot->weight, weight_bits, memory_order_release);
	atomic_store_explicit(&slot->birth_and_era,
			      hm_live_birth_ticks(value->birth_ticks) | era << ERA_SHIFT,
			      memory_order_release);
	atomic_store_explicit(&slot->address, address, memory_order_release);
}

/* relaxed: the slot is claimed, and what is in it was written before the block was handed to us */
static uint32_t empty(struct hm_ledger_live_slot *slot, struct hm_live_value *ret_value)
{
	const uint32_t weight_bits = atomic_load_explicit(&slot->weight, memory_order_relaxed);
	const uint32_t birth_and_era = atomic_load_explicit(&slot->birth_and_era, memory_order_relaxed);

	ret_value->stack_unit = atomic_load_explicit(&slot->stack_unit, memory_order_relaxed);
	ret_value->size_bytes = atomic_load_explicit(&slot->size_bytes, memory_order_relaxed);
	ret_value->birth_ticks = hm_live_birth_ticks(birth_and_era);
	memcpy(&ret_value->weight, &weight_bits, sizeof(weight_bits));
	/* release [live.claim] */
	atomic_store_explicit(&slot->address, 0, memory_order_release);
	return birth_and_era >> ERA_SHIFT;
}

static bool insert_into(struct hm_ledger_live_slot *bucket, uint64_t address,
			const struct hm_live_value *value, uint32_t era)
{
	for (uint32_t index = 0; index < BUCKET_SLOTS; index++) {
		struct hm_ledger_live_slot *const slot = &bucket[index];
		/* acquire [live.publish] */
		const uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_acquire);

		if (atomic_load_explicit(&slot->address, memory_order_relaxed) != 0 ||
		    !claim(slot, generation))
			continue;
		fill(slot, address, value, era);
		settle(slot, generation);
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
		struct hm_ledger_live_slot *const segment =
			hm_ledger_segment(ledger, &hm_ledger_header(ledger)->live_segments[count],
					  hm_live_segment_slots(count) * sizeof(struct hm_ledger_live_slot));

		if (segment == NULL)
			return false;
		if (insert_into(bucket_at(segment, count, address), address, value, era))
			return true;
	}
	return false;
}

static bool take_from(struct hm_ledger_live_slot *bucket, uint64_t address, struct hm_live_value *ret_value)
{
	for (uint32_t index = 0; index < BUCKET_SLOTS; index++) {
		struct hm_ledger_live_slot *const slot = &bucket[index];
		/* acquire [live.publish] */
		const uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_acquire);

		if (atomic_load_explicit(&slot->address, memory_order_relaxed) != address ||
		    !claim(slot, generation))
			continue;

		const uint32_t era = empty(slot, ret_value);

		settle(slot, generation);
		hm_filter_remove((uintptr_t)address, era);
		return true;
	}
	return false;
}

bool hm_live_take(struct hm_ledger_file *ledger, uint64_t address, struct hm_live_value *ret_value)
{
	if (address == 0)
		return false; /* free(NULL), when the filter says "perhaps": 0 marks the empty slots */
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
