// SPDX-License-Identifier: Apache-2.0
#include "preload/stacks.h"

#include "preload/float.h"
#include "preload/ledger_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A trie reference; see proto/ledger.h. */
enum { REFERENCE_NODE = 1 };

static uint32_t record_reference(uint32_t unit)
{
	return unit << 1;
}

static bool is_node(uint32_t reference)
{
	return (reference & REFERENCE_NODE) != 0;
}

static struct hm_trie_node *node_at(const struct hm_ledger_file *ledger, uint32_t reference)
{
	return hm_ledger_unit(ledger, reference >> 1);
}

static struct hm_ledger_stack *record_at(const struct hm_ledger_file *ledger, uint32_t reference)
{
	return hm_ledger_unit(ledger, reference >> 1);
}

static uint64_t hash_frames(const uint64_t *frames, uint32_t frame_count)
{
	uint64_t hash = HM_STACK_HASH_OF_NONE;

	while (frame_count-- > 0)
		hash = hm_stack_hash_add(hash, frames[frame_count]);
	return hash;
}

/* Digits of the trie are the high bits, which the last multiplication has mixed with all others. */
static uint64_t hash_stack(uint64_t frames_hash, uint32_t frame_count, uint8_t flags)
{
	return (frames_hash ^ (uint64_t)frame_count << 8 ^ flags) * UINT64_C(0xc4ceb9fe1a85ec53);
}

static bool is_same(const struct hm_ledger_stack *record, uint64_t hash, const uint64_t *frames,
		    uint32_t frame_count, uint8_t flags)
{
	return record->hash == hash && record->frame_count == frame_count && record->flags == flags &&
	       memcmp(record->frames, frames, frame_count * sizeof(*frames)) == 0;
}

/* What a search carries: the stack sought, and its record as soon as one was made. */
struct search {
	struct hm_ledger_file *ledger;
	const uint64_t *frames; /* borrowed */
	uint32_t frame_count;
	uint8_t flags;
	uint64_t hash;
	uint32_t fresh_unit; /* 0: not made yet */
};

static size_t record_size(uint32_t frame_count)
{
	return sizeof(struct hm_ledger_stack) + frame_count * sizeof(uint64_t);
}

/* Makes the record that will be published, once a search; 0 where the ledger is full. */
static uint32_t make_record(struct search *search)
{
	if (search->fresh_unit != 0)
		return search->fresh_unit;

	const uint64_t offset = hm_ledger_allocate(search->ledger, record_size(search->frame_count));

	if (offset == 0)
		return 0;

	struct hm_ledger_stack *const record = hm_ledger_at(search->ledger, offset);

	record->hash = search->hash;
	record->frame_count = (uint16_t)search->frame_count;
	record->flags = search->flags;
	record->kind = HM_STACK_ORDINARY;
	memcpy(record->frames, search->frames, search->frame_count * sizeof(uint64_t));
	search->fresh_unit = (uint32_t)(offset / HM_UNIT);
	return search->fresh_unit;
}

/* Another thread stored the same stack first: the record made for it goes back where that is still possible.
 */
static void discard_record(struct search *search)
{
	if (search->fresh_unit == 0)
		return;

	struct hm_ledger_stack *const record = hm_ledger_unit(search->ledger, search->fresh_unit);
	const size_t size_bytes = record_size(search->frame_count);

	memset(record, 0, size_bytes);
	hm_ledger_give_back(search->ledger, (uint64_t)search->fresh_unit * HM_UNIT, size_bytes);
}

/* release [stack.publish]: the record or node behind the reference is complete */
static bool publish(hm_trie_reference *place, uint32_t *expected, uint32_t reference)
{
	return atomic_compare_exchange_strong_explicit(place, expected, reference, memory_order_release,
						       memory_order_acquire);
}

/* Records with equal hashes of all 64 bits hang on one another. */
static uint32_t find_in_chain(struct search *search, uint32_t unit)
{
	for (;;) {
		struct hm_ledger_stack *const record = hm_ledger_unit(search->ledger, unit);

		if (is_same(record, search->hash, search->frames, search->frame_count, search->flags))
			return unit;

		/* acquire [stack.publish] */
		uint32_t next = atomic_load_explicit(&record->next_same_hash, memory_order_acquire);

		if (next == 0) {
			const uint32_t fresh = make_record(search);

			if (fresh == 0 || publish(&record->next_same_hash, &next, fresh))
				return fresh;
		}
		unit = next;
	}
}

static uint32_t digit_at(uint64_t hash, uint32_t shift)
{
	return (uint32_t)(hash >> shift) & (HM_TRIE_CHILDREN - 1);
}

/*
 * Puts a node in the place of a record with another hash, the record into the node.  `shift` is that of the
 * node's digit.  Whether this thread or another did it: the caller looks at the place again.
 * False where the ledger is full.
 */
static bool push_down(struct search *search, hm_trie_reference *place, uint32_t reference, uint32_t shift)
{
	const uint64_t offset = hm_ledger_allocate(search->ledger, sizeof(struct hm_trie_node));

	if (offset == 0)
		return false;

	struct hm_trie_node *const node = hm_ledger_at(search->ledger, offset);
	const uint32_t digit = digit_at(record_at(search->ledger, reference)->hash, shift);

	/* relaxed: published with the node */
	atomic_store_explicit(&node->children[digit], reference, memory_order_relaxed);
	if (!publish(place, &reference, (uint32_t)(offset / HM_UNIT) << 1 | REFERENCE_NODE)) {
		atomic_store_explicit(&node->children[digit], 0, memory_order_relaxed);
		hm_ledger_give_back(search->ledger, offset, sizeof(struct hm_trie_node));
	}
	return true;
}

/* Returns the stack's unit, or 0 where the ledger is full. */
static uint32_t find_or_insert(struct search *search)
{
	uint32_t shift = 64 - HM_TRIE_ROOT_BITS;
	hm_trie_reference *place = (hm_trie_reference *)hm_ledger_at(search->ledger, HM_LEDGER_HEADER_BYTES) +
				   (search->hash >> shift);

	for (;;) {
		/* acquire [stack.publish] */
		uint32_t reference = atomic_load_explicit(place, memory_order_acquire);

		if (reference == 0) {
			const uint32_t fresh = make_record(search);

			if (fresh == 0 || publish(place, &reference, record_reference(fresh)))
				return fresh;
		}
		if (is_node(reference)) {
			shift -= HM_TRIE_NODE_BITS;
			place = &node_at(search->ledger, reference)->children[digit_at(search->hash, shift)];
		} else if (record_at(search->ledger, reference)->hash == search->hash) {
			return find_in_chain(search, reference >> 1);
		} else if (!push_down(search, place, reference, shift - HM_TRIE_NODE_BITS)) {
			return 0;
		}
	}
}

uint32_t hm_stack_intern_hashed(struct hm_ledger_file *ledger, const uint64_t *frames, uint32_t frame_count,
				uint8_t flags, uint64_t frames_hash)
{
	struct search search = {
		.ledger = ledger,
		.frames = frames,
		.frame_count = frame_count,
		.flags = flags,
		.hash = hash_stack(frames_hash, frame_count, flags),
	};
	const uint32_t unit = find_or_insert(&search);

	if (unit != search.fresh_unit)
		discard_record(&search);
	if (unit != 0)
		return unit;
	hm_ledger_lose(ledger, HM_LOSS_STACKS);
	return hm_ledger_header(ledger)->overflow_unit;
}

uint32_t hm_stack_intern(struct hm_ledger_file *ledger, const uint64_t *frames, uint32_t frame_count,
			 uint8_t flags)
{
	return hm_stack_intern_hashed(ledger, frames, frame_count, flags, hash_frames(frames, frame_count));
}

uint32_t hm_stack_create_special(struct hm_ledger_file *ledger, enum hm_stack_kind kind)
{
	const uint64_t offset = hm_ledger_allocate(ledger, record_size(0));

	if (offset == 0)
		return 0;
	((struct hm_ledger_stack *)hm_ledger_at(ledger, offset))->kind = (uint8_t)kind;
	return (uint32_t)(offset / HM_UNIT);
}

/* A sample in the units of the counters. */
struct amounts {
	uint64_t objects;
	uint64_t bytes;
	double objects_variance;
	double bytes_variance;
};

/* weight 1: no detour over a double, which ends at 2^53, and no variance. */
static struct amounts exact_amounts(uint64_t size_bytes)
{
	return (struct amounts){ .objects = UINT64_C(1) << HM_OBJECTS_FRACTION_BITS,
				 .bytes = hm_stack_bytes_fixed(size_bytes, 1.0F) };
}

uint64_t hm_stack_estimated_bytes_fixed(uint64_t size_bytes, float weight)
{
	const uint32_t saved = hm_float_enter();
	const uint64_t bytes_fixed =
		hm_float_settled(hm_sample_bytes_fixed(hm_float_settled(size_bytes), weight));

	hm_float_leave(saved);
	return bytes_fixed;
}

static struct amounts amounts_of(uint64_t size_bytes, float weight)
{
	const double w = weight;
	const double size = (double)size_bytes;
	const double variance = w * (w - 1.0); /* (1-p)/p^2 with p = 1/w: docs/accuracy.md */

	return (struct amounts){
		.objects = hm_sample_objects_fixed(weight),
		.bytes = hm_sample_bytes_fixed(size_bytes, weight),
		.objects_variance = variance,
		.bytes_variance = size * size * variance,
	};
}

static void add_estimated_alloc(struct hm_ledger_stack *stack, uint64_t size_bytes, float weight)
{
	const uint32_t saved = hm_float_enter();
	const struct amounts amounts = amounts_of(size_bytes, weight);

	/* relaxed: statistics; freed_* of this sample come later, by way of the live table */
	atomic_fetch_add_explicit(&stack->alloc_objects, amounts.objects, memory_order_relaxed);
	atomic_fetch_add_explicit(&stack->alloc_bytes, amounts.bytes, memory_order_relaxed);
	hm_float_add(&stack->alloc_objects_variance, amounts.objects_variance);
	hm_float_add(&stack->alloc_bytes_variance, amounts.bytes_variance);
	hm_float_leave(saved);
}

void hm_stack_add_alloc(struct hm_ledger_stack *stack, uint64_t size_bytes, float weight)
{
	if (hm_stack_is_exact(weight)) {
		const struct amounts amounts = exact_amounts(size_bytes);

		/* relaxed: as above */
		atomic_fetch_add_explicit(&stack->alloc_objects, amounts.objects, memory_order_relaxed);
		atomic_fetch_add_explicit(&stack->alloc_bytes, amounts.bytes, memory_order_relaxed);
	} else {
		add_estimated_alloc(stack, size_bytes, weight);
	}
	atomic_fetch_add_explicit(&stack->samples, 1, memory_order_relaxed);
}

static void add_estimated_freed(struct hm_ledger_stack *stack, uint64_t size_bytes, float weight)
{
	const uint32_t saved = hm_float_enter();
	const struct amounts amounts = amounts_of(size_bytes, weight);

	/* release [stack.free]: who sees these sees the alloc_* that came before them */
	atomic_fetch_add_explicit(&stack->freed_objects, amounts.objects, memory_order_release);
	atomic_fetch_add_explicit(&stack->freed_bytes, amounts.bytes, memory_order_release);
	hm_float_add(&stack->freed_objects_variance, amounts.objects_variance);
	hm_float_add(&stack->freed_bytes_variance, amounts.bytes_variance);
	hm_float_leave(saved);
}

void hm_stack_add_freed(struct hm_ledger_stack *stack, uint64_t size_bytes, float weight)
{
	if (hm_stack_is_exact(weight)) {
		const struct amounts amounts = exact_amounts(size_bytes);

		/* release [stack.free]: as above */
		atomic_fetch_add_explicit(&stack->freed_objects, amounts.objects, memory_order_release);
		atomic_fetch_add_explicit(&stack->freed_bytes, amounts.bytes, memory_order_release);
	} else {
		add_estimated_freed(stack, size_bytes, weight);
	}
}

void hm_stack_divide(struct hm_ledger_stack *stack, uint32_t more_count)
{
	/* relaxed: as in hm_stack_add_alloc */
	atomic_fetch_add_explicit(&stack->alloc_objects, (uint64_t)more_count << HM_OBJECTS_FRACTION_BITS,
				  memory_order_relaxed);
}

void hm_stack_shrink(struct hm_ledger_stack *stack, uint64_t size_bytes, bool is_gone)
{
	const struct amounts amounts = exact_amounts(size_bytes);

	/* release [stack.free]: as in hm_stack_add_freed */
	if (is_gone)
		atomic_fetch_add_explicit(&stack->freed_objects, amounts.objects, memory_order_release);
	atomic_fetch_add_explicit(&stack->freed_bytes, amounts.bytes, memory_order_release);
}
