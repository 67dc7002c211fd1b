// SPDX-License-Identifier: Apache-2.0
/*
 * First the trie is walked, breadth first, each level in the order in which its nodes and records lie in the
 * file, so that one copy serves many of them; what comes out is where the records are.  A bitmap holds the
 * units already taken: a unit is part of one object at most, which ends every cycle and bounds the walk by
 * the file's length. Then all records are copied twice, in the order of the file; and those that changed from the
 * one copy to the other, which may be milliseconds apart, again, each by itself.
 */
#include "proto/snapshot_stacks.h"

#include "proto/sort.h"

#include <errno.h>
#include <float.h>
#include <string.h>

enum {
	RECORD_BYTES_MAX = sizeof(struct hm_ledger_stack) + HM_FRAMES_MAX * sizeof(uint64_t),
	/* Objects this close together share a copy: copying a page is cheaper than another call. */
	GAP_BYTES_MAX = 4096,
	ARENA_UNIT = HM_LEDGER_ARENA_OFFSET / HM_UNIT,
	IS_NODE = 1, /* of a trie reference */
};

struct walk {
	struct hm_snapshot *snapshot; /* borrowed */
	struct hm_window *window;     /* borrowed */
	uint8_t *taken;               /* bitmap of units */
	uint32_t unit_count;
	uint32_t *level; /* trie references to be read now */
	uint32_t *next;  /* and those found meanwhile */
	uint32_t level_count;
	uint32_t next_count;
	uint32_t *records; /* units of the records found */
	uint32_t record_count;
	uint32_t *scratch;  /* for sorting any of the three */
	uint64_t peak_mark; /* of the ledger, before any record was looked at */
};

static uint64_t offset_of(uint32_t unit)
{
	return (uint64_t)unit * HM_UNIT;
}

static bool is_taken(const struct walk *walk, uint32_t unit)
{
	return (walk->taken[unit / 8] >> unit % 8 & 1) != 0;
}

static void take(struct walk *walk, uint32_t unit)
{
	walk->taken[unit / 8] |= (uint8_t)(1 << unit % 8);
}

/* Takes an object's first unit, if it may be one. */
static bool take_first(struct walk *walk, uint32_t unit)
{
	if (unit >= walk->unit_count) {
		walk->snapshot->skipped.late++;
		return false;
	}
	if (unit < ARENA_UNIT || is_taken(walk, unit)) {
		walk->snapshot->skipped.references++;
		return false;
	}
	take(walk, unit);
	return true;
}

/* Takes the units that a record covers beyond its first; false where one is part of something else. */
static bool take_rest(struct walk *walk, uint32_t unit, size_t size_bytes)
{
	const uint32_t end = unit + (uint32_t)((size_bytes + HM_UNIT - 1) / HM_UNIT);

	for (uint32_t i = unit + 1; i < end; i++) {
		if (i >= walk->unit_count || is_taken(walk, i))
			return false;
	}
	for (uint32_t i = unit + 1; i < end; i++)
		take(walk, i);
	return true;
}

/* Notes an object to be read with the next level. */
static void push(struct walk *walk, uint32_t reference)
{
	if (reference != 0 && take_first(walk, reference >> 1))
		walk->next[walk->next_count++] = reference;
}

/*
 * How far beyond the first of `count` ascending places to copy: to the last of those that follow it closely.
 * A place is a unit in the bits above `shift`.
 */
static size_t look_ahead(const struct walk *walk, const uint32_t *places, uint32_t count, uint32_t shift)
{
	const struct hm_window *const window = walk->window;
	const uint64_t start = offset_of(places[0] >> shift);
	uint64_t end = start + RECORD_BYTES_MAX;

	if (start >= window->offset && end <= window->offset + window->size_bytes)
		return 0; /* copied already */

	for (uint32_t i = 1; i < count; i++) {
		const uint64_t offset = offset_of(places[i] >> shift);

		if (offset > end + GAP_BYTES_MAX ||
		    offset + RECORD_BYTES_MAX > start + window->capacity_bytes)
			break;
		end = offset + RECORD_BYTES_MAX;
	}
	return (size_t)(end - start);
}

static bool is_record_sane(const struct hm_ledger_stack *record)
{
	if (record->kind == HM_STACK_ORDINARY)
		return record->frame_count <= HM_FRAMES_MAX;
	return record->kind <= HM_STACK_OVERFLOW && record->frame_count == 0;
}

static size_t record_bytes(const struct hm_ledger_stack *record)
{
	return sizeof(*record) + record->frame_count * sizeof(uint64_t);
}

static void read_node(struct walk *walk, uint32_t unit, size_t ahead_bytes)
{
	const hm_trie_reference *const children =
		hm_window_view(walk->window, offset_of(unit), sizeof(struct hm_trie_node), ahead_bytes);

	if (children == NULL) {
		walk->snapshot->skipped.late++;
		return;
	}
	for (uint32_t i = 0; i < HM_TRIE_CHILDREN; i++)
		push(walk,
		     atomic_load_explicit(&children[i], memory_order_relaxed)); /* relaxed: our own copy */
}

static void find_record(struct walk *walk, uint32_t unit, bool special, size_t ahead_bytes)
{
	const struct hm_ledger_stack *const record =
		hm_window_view(walk->window, offset_of(unit), sizeof(*record), ahead_bytes);

	if (record == NULL) {
		walk->snapshot->skipped.late++;
		return;
	}
	if (!is_record_sane(record) || (record->kind != HM_STACK_ORDINARY) != special ||
	    !take_rest(walk, unit, record_bytes(record))) {
		walk->snapshot->skipped.records++;
		return;
	}
	walk->records[walk->record_count++] = unit;

	const uint32_t next_unit =
		atomic_load_explicit(&record->next_same_hash, memory_order_relaxed); /* a copy */
	if (next_unit != 0 && take_first(walk, next_unit))
		walk->next[walk->next_count++] = next_unit << 1;
}

static void read_level(struct walk *walk)
{
	hm_sort(walk->level, walk->scratch, walk->level_count, sizeof(*walk->level), hm_compare_u32, NULL);
	/* The copies that follow are made after the references to them were. [stack.publish] */
	hm_window_forget(walk->window);

	for (uint32_t i = 0; i < walk->level_count && walk->window->error == 0; i++) {
		const uint32_t reference = walk->level[i];
		const size_t ahead_bytes = look_ahead(walk, &walk->level[i], walk->level_count - i, 1);

		if ((reference & IS_NODE) != 0)
			read_node(walk, reference >> 1, ahead_bytes);
		else
			find_record(walk, reference >> 1, false, ahead_bytes);
	}
}

static void find_records(struct walk *walk, uint32_t dropped_unit, uint32_t overflow_unit)
{
	enum { ROOTS_AT_ONCE = 512 };

	hm_window_forget(walk->window);
	if (dropped_unit != 0 && take_first(walk, dropped_unit))
		find_record(walk, dropped_unit, true, 0);
	if (overflow_unit != 0 && take_first(walk, overflow_unit))
		find_record(walk, overflow_unit, true, 0);
	for (uint32_t i = 0; i < HM_TRIE_ROOTS; i += ROOTS_AT_ONCE) {
		const hm_trie_reference *const roots = hm_window_view(
			walk->window, HM_LEDGER_HEADER_BYTES + i * sizeof(*roots),
			ROOTS_AT_ONCE * sizeof(*roots), (HM_TRIE_ROOTS - ROOTS_AT_ONCE - i) * sizeof(*roots));

		for (uint32_t k = 0; roots != NULL && k < ROOTS_AT_ONCE; k++)
			push(walk, atomic_load_explicit(&roots[k],
							memory_order_relaxed)); /* relaxed: our own copy */
	}
	while (walk->next_count > 0 && walk->window->error == 0) {
		uint32_t *const emptied = walk->level;

		walk->level = walk->next;
		walk->level_count = walk->next_count;
		walk->next = emptied;
		walk->next_count = 0;
		read_level(walk);
	}
}

/* relaxed, as all loads from records here: they are copies of our own */
static uint64_t counter(const _Atomic uint64_t *place)
{
	return atomic_load_explicit(place, memory_order_relaxed);
}

/* A sum of squares, or zero where the bits are not one. */
static double variance_of(const _Atomic uint64_t *place, bool *wrong)
{
	const uint64_t bits = counter(place);
	double value;

	/* Decided on the bits: to compare a signalling NaN is an invalid operation, which may be a signal. */
	if (bits >> 52 >= 0x7ff) { /* negative, infinite or not a number */
		*wrong = true;
		return 0.0;
	}
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Copies a record's frames, and what it is. */
static int copy_stack(struct hm_snapshot *snapshot, struct hm_snapshot_stack *stack,
		      const struct hm_ledger_stack *record)
{
	uint64_t *frames = NULL;

	if (record->frame_count > 0) {
		frames = hm_arena_allocate_array(&snapshot->arena, record->frame_count, sizeof(*frames));
		if (frames == NULL)
			return -ENOMEM;
		memcpy(frames, record->frames, record->frame_count * sizeof(*frames));
	}
	stack->frame_count = record->frame_count;
	stack->flags = record->flags & HM_STACK_FLAGS;
	stack->kind = record->kind;
	stack->frames = frames;
	return 0;
}

/* What a record says of the high-water mark, as it stands there. */
struct peak_copy {
	uint64_t mark;
	uint64_t objects;
	uint64_t bytes;
	uint64_t objects_variance;
	uint64_t bytes_variance;
};

static struct peak_copy peak_of(const struct hm_ledger_stack *record)
{
	return (struct peak_copy){
		.mark = counter(&record->peak_mark),
		.objects = counter(&record->peak_objects),
		.bytes = counter(&record->peak_bytes),
		.objects_variance = counter(&record->peak_objects_variance),
		.bytes_variance = counter(&record->peak_bytes_variance),
	};
}

/* What one copy of a record leaves for a later one. */
struct look {
	uint64_t alloc_objects;
	uint64_t alloc_bytes;
	struct hm_figures freed;
	struct peak_copy peak;
	bool wrong; /* something in it makes no sense */
};

static struct look look_at(const struct hm_ledger_stack *record)
{
	struct look look = {
		.alloc_objects = counter(&record->alloc_objects),
		.alloc_bytes = counter(&record->alloc_bytes),
		.peak = peak_of(record),
	};

	look.freed = (struct hm_figures){
		.objects_fixed = counter(&record->freed_objects),
		.bytes_fixed = counter(&record->freed_bytes),
		.objects_variance = variance_of(&record->freed_objects_variance, &look.wrong),
		.bytes_variance = variance_of(&record->freed_bytes_variance, &look.wrong),
	};
	return look;
}

/* Two copies made one after the other.  One that is being written is settled if nobody goes on with that. */
static bool is_settled(const struct look *first, const struct look *second)
{
	return memcmp(&first->peak, &second->peak, sizeof(first->peak)) == 0;
}

/*
 * How much was allocated from one copy to the next, in no unit: 0 is nothing.  What is in use is taken from
 * both, allocated from the second and freed from the first, and is too much by this.
 */
static uint64_t moved_between(const struct look *first, const struct look *second)
{
	return (second->alloc_bytes - first->alloc_bytes) + (second->alloc_objects - first->alloc_objects);
}

/*
 * A record that was changed between the two looks: anew, one copy right after the other, until nothing changes
 * between two, or the best pair of a few.  One that was not kept for the same mark in both is the worse one,
 * whatever it has else.  Replaces the first look and the record by the pair found.
 */
static void look_closely(const struct hm_window *window, uint32_t unit, struct look *first,
			 struct hm_ledger_stack *record)
{
	enum { TRIES = 8 };
	const struct hm_source *const source = window->source;
	struct look before = look_at(record);
	bool settled = is_settled(first, &before);
	uint64_t moved = moved_between(first, &before);

	for (uint32_t i = 0; i < TRIES && !(settled && moved == 0); i++) {
		struct hm_ledger_stack anew;

		/* acquire: as in hm_window_forget, the next copy is made after this one [stack.free] [peak.claim] */
		atomic_thread_fence(memory_order_acquire);
		if (source->read(source, offset_of(unit), &anew, sizeof(anew)) != (int64_t)sizeof(anew))
			return;
		const struct look now = look_at(&anew);
		const bool now_settled = is_settled(&before, &now);
		const uint64_t now_moved = moved_between(&before, &now);

		if (now_settled != settled ? now_settled : now_moved < moved) {
			settled = now_settled;
			moved = now_moved;
			*first = before;
			memcpy(record, &anew, sizeof(anew));
		}
		before = now;
	}
}

static uint64_t difference(uint64_t alloc, uint64_t freed, bool *wrong)
{
	if (alloc >= freed)
		return alloc - freed;
	*wrong = true;
	return 0;
}

static void count_stack(struct hm_snapshot_stack *stack, const struct hm_ledger_stack *record,
			const struct hm_figures *freed, bool *wrong)
{
	stack->sample_count = counter(&record->samples);
	stack->alloc = (struct hm_figures){
		.objects_fixed = counter(&record->alloc_objects),
		.bytes_fixed = counter(&record->alloc_bytes),
		.objects_variance = variance_of(&record->alloc_objects_variance, wrong),
		.bytes_variance = variance_of(&record->alloc_bytes_variance, wrong),
	};
	stack->inuse.objects_fixed = difference(stack->alloc.objects_fixed, freed->objects_fixed, wrong);
	stack->inuse.bytes_fixed = difference(stack->alloc.bytes_fixed, freed->bytes_fixed, wrong);

	/* Sums of doubles added in different orders: what is left of nothing may be a little more or less. */
	const double objects = stack->alloc.objects_variance - freed->objects_variance;
	const double bytes = stack->alloc.bytes_variance - freed->bytes_variance;
	const bool anything = stack->inuse.objects_fixed != 0;
	stack->inuse.objects_variance = anything && objects > 0.0 ? objects : 0.0;
	stack->inuse.bytes_variance = anything && bytes > 0.0 ? bytes : 0.0;
}

/* After count_stack.  `is_kept`: the record's peak_* are to be believed. */
static void count_peak(struct hm_snapshot_stack *stack, const struct hm_ledger_stack *record, uint64_t mark,
		       bool is_kept, bool *wrong)
{
	const uint64_t kept_mark = counter(&record->peak_mark);

	stack->peak = stack->inuse;
	if (!is_kept || kept_mark % 2 != 0 || kept_mark < mark)
		return; /* has not changed since the mark */

	struct hm_figures peak = {
		.objects_fixed = counter(&record->peak_objects),
		.bytes_fixed = counter(&record->peak_bytes),
		.objects_variance = variance_of(&record->peak_objects_variance, wrong),
		.bytes_variance = variance_of(&record->peak_bytes_variance, wrong),
	};
	if (peak.objects_fixed > stack->alloc.objects_fixed || peak.bytes_fixed > stack->alloc.bytes_fixed) {
		*wrong = true;
		return;
	}
	if (peak.objects_fixed == 0) {
		peak.objects_variance = 0.0;
		peak.bytes_variance = 0.0;
	}
	stack->peak = peak;
}

/* The first copy of all records, ascending: frames and freed_*. */
static int copy_records(struct walk *walk, struct look *looks)
{
	struct hm_snapshot *const snapshot = walk->snapshot;

	hm_window_forget(walk->window);
	for (uint32_t i = 0; i < walk->record_count; i++) {
		const uint32_t unit = walk->records[i];
		const size_t ahead_bytes = look_ahead(walk, &walk->records[i], walk->record_count - i, 0);
		const struct hm_ledger_stack *record =
			hm_window_view(walk->window, offset_of(unit), sizeof(*record), ahead_bytes);

		/* Its first part says how long it is; if that lies in the window only in part, it is copied
		 * anew. */
		if (record != NULL && is_record_sane(record))
			record = hm_window_view(walk->window, offset_of(unit), record_bytes(record),
						ahead_bytes);
		if (walk->window->error != 0)
			return walk->window->error;
		if (record == NULL || !is_record_sane(record) ||
		    record_bytes(record) >
			    walk->window->size_bytes - (size_t)(offset_of(unit) - walk->window->offset)) {
			snapshot->skipped.records++;
			continue;
		}
		struct hm_snapshot_stack *const stack = &snapshot->stacks[snapshot->stack_count];
		const int error = copy_stack(snapshot, stack, record);
		if (error != 0)
			return error;
		looks[snapshot->stack_count] = look_at(record);
		stack->unit = unit;
		walk->records[snapshot->stack_count++] = unit;
	}
	return 0;
}

/* The second look at a record, of which there is a copy. */
static void count_record(const struct walk *walk, struct hm_snapshot_stack *stack,
			 const struct hm_ledger_stack *copy, const struct look *look)
{
	struct hm_ledger_stack record;
	struct look first = *look;

	memcpy(&record, copy, sizeof(record));
	look_closely(walk->window, stack->unit, &first, &record);

	const struct look second = look_at(&record);
	count_stack(stack, &record, &first.freed, &first.wrong);
	count_peak(stack, &record, walk->peak_mark, is_settled(&first, &second), &first.wrong);
	walk->snapshot->skipped.counters += first.wrong;
}

/* The second copy, made after the last of the first: alloc_* and peak_*. [stack.free] [peak.claim] */
static int copy_alloc_counters(struct walk *walk, const struct look *looks)
{
	struct hm_snapshot *const snapshot = walk->snapshot;
	uint32_t kept = 0;

	hm_window_forget(walk->window);
	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		struct hm_snapshot_stack *const stack = &snapshot->stacks[i];
		const struct hm_ledger_stack *const record =
			hm_window_view(walk->window, offset_of(stack->unit), sizeof(*record),
				       look_ahead(walk, &walk->records[i], snapshot->stack_count - i, 0));

		if (walk->window->error != 0)
			return walk->window->error;
		if (record == NULL) { /* the file was cut meanwhile */
			snapshot->skipped.late++;
			continue;
		}
		count_record(walk, stack, record, &looks[i]);
		snapshot->stacks[kept++] = *stack;
	}
	snapshot->stack_count = kept;
	return 0;
}

static bool begin_walk(struct walk *walk, struct hm_arena *arena)
{
	/* Each unit is noted at most once, so no list is longer than this; what is not reached costs nothing.
	 */
	const uint32_t unit_count = walk->unit_count;

	walk->taken = hm_arena_allocate(arena, unit_count / 8 + 1);
	walk->level = hm_arena_allocate_array(arena, unit_count, sizeof(uint32_t));
	walk->next = hm_arena_allocate_array(arena, unit_count, sizeof(uint32_t));
	walk->records = hm_arena_allocate_array(arena, unit_count, sizeof(uint32_t));
	walk->scratch = hm_arena_allocate_array(arena, unit_count, sizeof(uint32_t));
	return walk->taken != NULL && walk->level != NULL && walk->next != NULL && walk->records != NULL &&
	       walk->scratch != NULL;
}

static int read_stacks(struct walk *walk, struct hm_arena *temporary, const struct hm_ledger_header *header)
{
	struct hm_snapshot *const snapshot = walk->snapshot;

	if (!begin_walk(walk, temporary))
		return -ENOMEM;
	find_records(walk, header->dropped_unit, header->overflow_unit);
	if (walk->window->error != 0)
		return walk->window->error;
	hm_sort(walk->records, walk->scratch, walk->record_count, sizeof(*walk->records), hm_compare_u32,
		NULL);

	struct look *const looks = hm_arena_allocate_array(temporary, walk->record_count, sizeof(*looks));
	snapshot->stacks =
		hm_arena_allocate_array(&snapshot->arena, walk->record_count, sizeof(*snapshot->stacks));
	if (looks == NULL || snapshot->stacks == NULL)
		return -ENOMEM;
	const int error = copy_records(walk, looks);
	return error != 0 ? error : copy_alloc_counters(walk, looks);
}

int hm_snapshot_read_stacks(struct hm_snapshot *snapshot, struct hm_window *window,
			    const struct hm_ledger_header *header)
{
	const uint64_t units = window->source->length_bytes / HM_UNIT;
	struct walk walk = {
		.snapshot = snapshot,
		.window = window,
		.unit_count =
			units < INT32_MAX ? (uint32_t)units : INT32_MAX, /* a reference has 31 bits for it */
		.peak_mark = counter(&header->peak_mark),
	};
	struct hm_arena temporary;

	hm_arena_init(&temporary, SIZE_MAX);
	const int error = read_stacks(&walk, &temporary, header);
	hm_arena_done(&temporary);
	return error;
}
