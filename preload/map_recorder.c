// SPDX-License-Identifier: Apache-2.0
#include "preload/map_recorder.h"

#include "preload/ledger_file.h"
#include "preload/lifecycle.h"
#include "preload/map_lock.h"
#include "preload/next.h"
#include "preload/process.h"
#include "preload/recorder.h"

#include <dlfcn.h>

enum { PAGE_BYTES = 4096 };

bool hm_maps_are_counted;

static struct hm_map_table table; /* under the lock */
static uint32_t table_entries_max;
static uintptr_t own_start;
static uintptr_t own_end;
static uintptr_t front_start; /* an allocator in front of this library; empty: there is none */
static uintptr_t front_end;

struct range {
	uint64_t start;
	uint64_t end;
};

/* The kernel maps whole pages. */
static struct range pages_of(const void *start, size_t size_bytes)
{
	const uint64_t address = (uintptr_t)start;
	const uint64_t rounded = ((uint64_t)size_bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);

	return (struct range){ .start = address, .end = address + rounded };
}

void hm_maps_init(uint64_t limit_bytes)
{
	const uint64_t entries_max = limit_bytes / 4 / sizeof(struct hm_map_entry);
	struct dl_find_object own;
	struct dl_find_object front;

	if (_dl_find_object((void *)(uintptr_t)hm_maps_init, &own) != 0)
		return;
	own_start = (uintptr_t)own.dlfo_map_start;
	own_end = (uintptr_t)own.dlfo_map_end;
	if (_dl_find_object((void *)(uintptr_t)hm_next.visible_realloc, &front) == 0 &&
	    front.dlfo_map_start != own.dlfo_map_start) {
		front_start = (uintptr_t)front.dlfo_map_start;
		front_end = (uintptr_t)front.dlfo_map_end;
	}
	table_entries_max = entries_max < HM_MAP_TABLE_MAX ? (uint32_t)entries_max : HM_MAP_TABLE_MAX;
	hm_maps_are_counted = true;
}

bool hm_maps_pass_over(const void *caller)
{
	const uintptr_t address = (uintptr_t)caller;

	return (address >= own_start && address < own_end) ||
	       (address >= front_start && address < front_end) || hm_next_is_allocator(caller);
}

/* Another one in each process. */
static uint64_t process_token(void)
{
	/* relaxed: it does not change while a process lives */
	return atomic_load_explicit(&hm_process->token, memory_order_relaxed);
}

/* A fork child's memory was wiped of the mark: what its parent had mapped is its parent's to tell of. */
static bool enter(struct hm_signals_saved *ret_saved)
{
	if (!hm_map_lock_acquire(ret_saved)) {
		hm_recorder_lose(HM_LOSS_MAPPINGS);
		return false;
	}
	/* relaxed: under the lock */
	if (atomic_load_explicit(&hm_process->map_table_is_ours, memory_order_relaxed) == 0) {
		hm_map_table_reset(&table, table_entries_max);
		atomic_store_explicit(&hm_process->map_table_is_ours, 1, memory_order_relaxed);
	}
	return true;
}

/* What stays of the mapping that a piece of a cut was taken from. */
struct remains {
	uint64_t left_start; /* 0: nothing */
	uint64_t right_end;
};

static struct remains remains_of(const struct hm_map_cut *cut, uint32_t index)
{
	return (struct remains){
		.left_start = index == cut->first ? cut->left_start : 0,
		.right_end = hm_map_table_entry(&table, index)->next[0] == 0 ? cut->right_end : 0,
	};
}

/* In the live table the mapping makes way for what stays of it. */
static void replace_live(const struct hm_map_entry *piece, struct remains remains)
{
	hm_recorder_unlist_mapping(remains.left_start != 0 ? remains.left_start : piece->start_address);
	if (remains.left_start != 0)
		hm_recorder_list_mapping(remains.left_start, piece->start_address - remains.left_start,
					 piece->stack_unit, piece->birth_ticks);
	if (remains.right_end != 0)
		hm_recorder_list_mapping(piece->end_address, remains.right_end - piece->end_address,
					 piece->stack_unit, piece->birth_ticks);
}

/* A hole makes two of one; what loses an end is the same still. */
static void count_gone(const struct hm_map_entry *piece, struct remains remains)
{
	const bool is_last = remains.left_start == 0 && remains.right_end == 0;
	const bool is_hole = remains.left_start != 0 && remains.right_end != 0;

	hm_recorder_unmapped(piece->stack_unit, piece->end_address - piece->start_address, is_last, is_hole);
}

/* What was cut out has gone. */
static void count_all_gone(const struct hm_map_cut *cut)
{
	for (uint32_t index = cut->first; index != 0;) {
		const struct hm_map_entry *const piece = hm_map_table_entry(&table, index);
		const uint32_t next = piece->next[0];

		if (piece->stack_unit != 0)
			count_gone(piece, remains_of(cut, index));
		index = next;
	}
	hm_map_table_release(&table, cut);
}

static void unlist_all(const struct hm_map_cut *cut)
{
	for (uint32_t index = cut->first; index != 0; index = hm_map_table_entry(&table, index)->next[0]) {
		const struct hm_map_entry *const piece = hm_map_table_entry(&table, index);

		if (piece->stack_unit != 0)
			replace_live(piece, remains_of(cut, index));
	}
}

static void retire(const struct hm_map_cut *cut)
{
	unlist_all(cut);
	count_all_gone(cut);
}

/*
 * Where the kernel has just put a mapping there is no other.  What the table has there was unmapped by a bare
 * system call: it is retired now, late but not lost.
 */
static void evict(const struct range *range)
{
	const uint32_t index = hm_map_table_find(&table, range->start);
	struct hm_map_cut cut;

	if (index == 0 || hm_map_table_entry(&table, index)->start_address >= range->end)
		return;
	hm_recorder_lose(HM_LOSS_MISSED_FREE);
	if (!hm_map_table_cut(&table, range->start, range->end, &cut)) {
		hm_recorder_lose(HM_LOSS_MAPPINGS);
		return;
	}
	retire(&cut);
}

/* --- What is made -------------------------------------------------------------------------------------- */

void hm_maps_add(const void *start, size_t size_bytes, const void *caller, const void *frame)
{
	const struct range range = pages_of(start, size_bytes);
	struct hm_signals_saved saved;
	uint32_t stack_unit;

	if (!hm_recorder_begin_mapping(caller, frame, &stack_unit))
		return; /* asleep, or a handler's in the middle of our own work, which is counted as lost */
	if (enter(&saved)) {
		const uint32_t birth_ticks = hm_recorder_birth_ticks();

		evict(&range);
		if (hm_map_table_add(&table, range.start, range.end, stack_unit, birth_ticks))
			hm_recorder_mapped(range.start, range.end - range.start, stack_unit, birth_ticks);
		else
			hm_recorder_lose(HM_LOSS_MAPPINGS);
		hm_map_lock_release(&saved);
	}
	hm_recorder_pause();
}

void hm_maps_reserve(const void *start, size_t size_bytes)
{
	const struct range range = pages_of(start, size_bytes);
	struct hm_signals_saved saved;

	if (!enter(&saved))
		return;
	evict(&range);
	if (!hm_map_table_add(&table, range.start, range.end, 0, 0))
		hm_recorder_lose(HM_LOSS_MAPPINGS);
	hm_map_lock_release(&saved);
}

/* The first reservation in the range from `address` on; 0: there is none. */
static uint32_t find_reserved(uint64_t address, uint64_t end)
{
	uint32_t index = table.reserved_count == 0 ? 0 : hm_map_table_find(&table, address);

	while (index != 0) {
		const struct hm_map_entry *const entry = hm_map_table_entry(&table, index);

		if (entry->start_address >= end)
			return 0;
		if (entry->stack_unit == 0)
			return index;
		index = entry->next[0];
	}
	return 0;
}

static bool has_reserved(const struct range *range)
{
	struct hm_signals_saved saved;
	bool is_found = false;

	if (!enter(&saved))
		return false;
	is_found = find_reserved(range->start, range->end) != 0;
	hm_map_lock_release(&saved);
	return is_found;
}

/* The part of a reservation that lies in the range counts from now on. */
static bool commit_one(uint32_t index, const struct range *range, uint32_t stack_unit)
{
	const struct hm_map_entry *const reserved = hm_map_table_entry(&table, index);
	const uint64_t start =
		reserved->start_address > range->start ? reserved->start_address : range->start;
	const uint64_t end = reserved->end_address < range->end ? reserved->end_address : range->end;
	struct hm_map_cut cut;

	if (!hm_map_table_cut(&table, start, end, &cut))
		return false;

	struct hm_map_entry *const entry = hm_map_table_entry(&table, cut.first);

	entry->stack_unit = stack_unit;
	entry->birth_ticks = hm_recorder_birth_ticks();
	hm_map_table_put_back(&table, cut.first);
	hm_recorder_mapped(start, end - start, stack_unit, entry->birth_ticks);
	return true;
}

void hm_maps_commit(const void *start, size_t size_bytes, const void *caller, const void *frame)
{
	const struct range range = pages_of(start, size_bytes);
	struct hm_signals_saved saved;
	uint32_t stack_unit;
	uint32_t index;

	if (!has_reserved(&range) || !hm_recorder_begin_mapping(caller, frame, &stack_unit))
		return;
	if (enter(&saved)) {
		while ((index = find_reserved(range.start, range.end)) != 0)
			if (!commit_one(index, &range, stack_unit)) {
				hm_recorder_lose(HM_LOSS_MAPPINGS);
				break;
			}
		hm_map_lock_release(&saved);
	}
	hm_recorder_pause();
}

enum hm_maps_kind hm_maps_kind_at(const void *address)
{
	struct hm_signals_saved saved;
	enum hm_maps_kind kind = HM_MAPS_UNKNOWN;

	if (!enter(&saved))
		return HM_MAPS_UNKNOWN;

	const uint32_t index = hm_map_table_find(&table, (uintptr_t)address);

	if (index != 0) {
		const struct hm_map_entry *const entry = hm_map_table_entry(&table, index);

		if (entry->start_address <= (uintptr_t)address)
			kind = entry->stack_unit != 0 ? HM_MAPS_COUNTED : HM_MAPS_RESERVED;
	}
	hm_map_lock_release(&saved);
	return kind;
}

/* --- What goes ----------------------------------------------------------------------------------------- */

void hm_maps_remove(const void *start, size_t size_bytes, struct hm_maps_removal *ret_removal)
{
	const struct range range = pages_of(start, size_bytes);
	struct hm_signals_saved saved;

	*ret_removal = (struct hm_maps_removal){ .token = 0 };
	if (range.end <= range.start || range.start % PAGE_BYTES != 0 || !enter(&saved))
		return; /* the kernel will refuse, or we are refused */
	if (!hm_map_table_cut(&table, range.start, range.end, &ret_removal->cut))
		hm_recorder_lose(HM_LOSS_MAPPINGS);
	unlist_all(&ret_removal->cut);
	ret_removal->token = process_token();
	hm_map_lock_release(&saved);
}

/* It is there still, but a piece by itself. */
static void put_back(uint32_t index, struct remains remains)
{
	const struct hm_map_entry *const piece = hm_map_table_entry(&table, index);

	if (piece->stack_unit != 0) {
		hm_recorder_list_mapping(piece->start_address, piece->end_address - piece->start_address,
					 piece->stack_unit, piece->birth_ticks);
		hm_recorder_divided(piece->stack_unit,
				    (uint32_t)(remains.left_start != 0) + (remains.right_end != 0));
	}
	hm_map_table_put_back(&table, index);
}

static void put_all_back(const struct hm_map_cut *cut)
{
	for (uint32_t index = cut->first; index != 0;) {
		const struct remains remains = remains_of(cut, index);
		const uint32_t next = hm_map_table_entry(&table, index)->next[0];

		put_back(index, remains);
		index = next;
	}
}

void hm_maps_settle(const struct hm_maps_removal *removal, bool is_gone)
{
	struct hm_signals_saved saved;

	if (removal->cut.first == 0 || !enter(&saved))
		return;
	/* A handler may have forked meanwhile: in the child the pieces are those of its parent's table. */
	if (removal->token == process_token()) {
		if (is_gone)
			count_all_gone(&removal->cut);
		else
			put_all_back(&removal->cut);
	}
	hm_map_lock_release(&saved);
}
