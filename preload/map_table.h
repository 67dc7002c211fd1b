// SPDX-License-Identifier: Apache-2.0
/*
 * The program's own mappings, in the order of their addresses: which of them a range touches, and where a
 * range takes parts out of them.
 *
 * A skip list (Pugh: "Skip lists: a probabilistic alternative to balanced trees", CACM 1990).  Entries are
 * known by their number, 0 is none; an entry of n levels is on the lists 0 .. n - 1, and is on the next one
 * up with probability 1/4:
 *
 *	heads[2] -------------------------------> 0x7f10..7f18 ---> 0
 *	heads[1] ------------> 0x7f02..7f04 ----> 0x7f10..7f18 ---> 0
 *	heads[0] -> 0x7f00..7f02 -> 0x7f02..7f04 -> 0x7f10..7f18 -> 0
 *
 * So a search takes some 4 log4(n) steps, nothing is ever rotated or recursed into, and the program that maps
 * neighbouring ranges in a row, as most do, is no worse off than another.
 *
 * Entries never overlap.  Neighbours stay apart: each is a mapping, or what is left of one, by itself.
 *
 * The memory is the library's own, in pieces that double in size; it is not given back, entries are used
 * again. A fork child has a copy, of what may have been in the middle of a change: it calls
 * hm_map_table_reset.
 *
 * One thread at a time (preload/map_lock.h); no signal handler in between.
 */
#ifndef HM_PRELOAD_MAP_TABLE_H
#define HM_PRELOAD_MAP_TABLE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	HM_MAP_LEVELS = 9, /* 4^9 entries before searches get longer than the logarithm */
	HM_MAP_TABLE_FIRST_LOG2 = 8,
	HM_MAP_TABLE_PIECES = 13, /* 256 entries, 512, ... */
	HM_MAP_TABLE_MAX = ((1 << HM_MAP_TABLE_PIECES) - 1) << HM_MAP_TABLE_FIRST_LOG2, /* 2,096,896 */
};

struct hm_map_entry {
	uint64_t start_address;
	uint64_t end_address;
	uint32_t stack_unit;  /* in the ledger; 0: a reservation, which is not counted */
	uint32_t birth_ticks; /* as of a live sample */
	uint32_t level_count;
	uint32_t next[HM_MAP_LEVELS]; /* next[0] also chains what was cut out, and what is free */
};
static_assert(sizeof(struct hm_map_entry) == 64, "a cache line");

/* All zero: empty, with room for `entry_count_max` entries once that is set. */
struct hm_map_table {
	struct hm_map_entry *pieces[HM_MAP_TABLE_PIECES]; /* owned, for ever */
	uint32_t heads[HM_MAP_LEVELS];
	uint32_t made_count; /* entries 1 .. made_count were in use at some time */
	uint32_t free_first; /* of those that are not any more */
	uint32_t free_count;
	uint32_t entry_count; /* on the lists */
	uint32_t reserved_count;
	uint32_t entry_count_max;
	uint64_t random_state;
};

/* Empties the table, whatever state it is in.  Memory that it has is kept. */
void hm_map_table_reset(struct hm_map_table *table, uint32_t entry_count_max);

/* The entry of a number that is not 0. */
struct hm_map_entry *hm_map_table_entry(const struct hm_map_table *table, uint32_t index);

/*
 * Adds a range that touches no other.  False where the table is full or there is no memory for it.
 */
bool hm_map_table_add(struct hm_map_table *table, uint64_t start_address, uint64_t end_address,
		      uint32_t stack_unit, uint32_t birth_ticks);

/* The first entry that ends above the address, or 0. */
uint32_t hm_map_table_find(const struct hm_map_table *table, uint64_t address);

/*
 * What was in a range, cut out: entries chained by next[0], ascending, clipped to the range.  Of an entry
 * that reached out of the range, what lies outside stays in the table:
 *
 *	             start            end
 *	before   [ A   |    ] [ B ] [  | C  ]
 *	after    [ A ]  (A2 ,   B  ,  C2) [ C ]       left_start = A.start, right_end = C.end
 */
struct hm_map_cut {
	uint32_t first;      /* 0: there was nothing */
	uint64_t left_start; /* of the first one before it was clipped; 0: it was not */
	uint64_t right_end;  /* of the last one before it was clipped; 0: it was not */
};

/* False, and nothing has changed, where there is no room for the parts. */
bool hm_map_table_cut(struct hm_map_table *table, uint64_t start_address, uint64_t end_address,
		      struct hm_map_cut *ret_cut);

/* The entries of a cut are free for others.  Accepts a zeroed one. */
void hm_map_table_release(struct hm_map_table *table, const struct hm_map_cut *cut);

/* One entry, which is in no chain any more, is back in the table: nothing has come to lie there meanwhile. */
void hm_map_table_put_back(struct hm_map_table *table, uint32_t index);

#endif
