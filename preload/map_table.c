// SPDX-License-Identifier: Apache-2.0
#include "preload/map_table.h"

#include "preload/memory.h"

#include <stddef.h>
#include <string.h>

/* The entries before a place, on each level; 0: the head. */
struct path {
	uint32_t before[HM_MAP_LEVELS];
};

void hm_map_table_reset(struct hm_map_table *table, uint32_t entry_count_max)
{
	memset(table->heads, 0, sizeof(table->heads));
	table->made_count = 0;
	table->free_first = 0;
	table->free_count = 0;
	table->entry_count = 0;
	table->reserved_count = 0;
	table->entry_count_max = entry_count_max < HM_MAP_TABLE_MAX ? entry_count_max : HM_MAP_TABLE_MAX;
	table->random_state = 1;
}

/* Which piece an entry is in: entry 1 is the first of piece 0, and piece k begins where 2^k - 1 of its size
 * came before. */
static uint32_t piece_of(uint32_t index, uint32_t *ret_place)
{
	const uint32_t number = index - 1 + (1U << HM_MAP_TABLE_FIRST_LOG2);
	const uint32_t log2 = 31 - (uint32_t)__builtin_clz(number);

	*ret_place = number - (1U << log2);
	return log2 - HM_MAP_TABLE_FIRST_LOG2;
}

struct hm_map_entry *hm_map_table_entry(const struct hm_map_table *table, uint32_t index)
{
	uint32_t place;
	const uint32_t piece = piece_of(index, &place);

	return &table->pieces[piece][place];
}

static uint32_t *next_of(struct hm_map_table *table, uint32_t index, uint32_t level)
{
	return index == 0 ? &table->heads[level] : &hm_map_table_entry(table, index)->next[level];
}

/* The way to the first entry that ends above the address. */
static uint32_t search(struct hm_map_table *table, uint64_t address, struct path *ret_path)
{
	uint32_t before = 0;

	for (uint32_t level = HM_MAP_LEVELS; level-- > 0;) {
		for (;;) {
			const uint32_t next = *next_of(table, before, level);

			if (next == 0 || hm_map_table_entry(table, next)->end_address > address)
				break;
			before = next;
		}
		ret_path->before[level] = before;
	}
	return *next_of(table, before, 0);
}

uint32_t hm_map_table_find(const struct hm_map_table *table, uint64_t address)
{
	uint32_t before = 0;
	uint32_t next = 0;

	for (uint32_t level = HM_MAP_LEVELS; level-- > 0;) {
		for (;;) {
			next = before == 0 ? table->heads[level]
					   : hm_map_table_entry(table, before)->next[level];
			if (next == 0 || hm_map_table_entry(table, next)->end_address > address)
				break;
			before = next;
		}
	}
	return next;
}

/* Whether `count` entries can be taken. */
static bool has_room(struct hm_map_table *table, uint32_t count)
{
	if (table->free_count >= count)
		return true;

	const uint32_t last = table->made_count + count - table->free_count;
	uint32_t place;

	if (last > table->entry_count_max)
		return false;
	for (uint32_t piece = 0; piece <= piece_of(last, &place); piece++) {
		const size_t piece_bytes = (sizeof(struct hm_map_entry) << HM_MAP_TABLE_FIRST_LOG2) << piece;

		if (table->pieces[piece] == NULL)
			table->pieces[piece] = hm_memory_map(piece_bytes);
		if (table->pieces[piece] == NULL)
			return false;
	}
	return true;
}

/* After has_room. */
static uint32_t take_free(struct hm_map_table *table)
{
	const uint32_t index = table->free_first;

	if (index == 0)
		return ++table->made_count;
	table->free_first = hm_map_table_entry(table, index)->next[0];
	table->free_count--;
	return index;
}

/* 1 with probability 3/4, 2 with 3/16, ...  Xorshift (Marsaglia 2003): only the shape of the lists depends on
 * it. */
static uint32_t draw_level_count(struct hm_map_table *table)
{
	uint64_t bits = table->random_state;
	uint32_t count = 1;

	bits ^= bits << 13;
	bits ^= bits >> 7;
	bits ^= bits << 17;
	table->random_state = bits;
	for (bits >>= 20; count < HM_MAP_LEVELS && (bits & 3) == 0; bits >>= 2)
		count++;
	return count;
}

static void count_in(struct hm_map_table *table, const struct hm_map_entry *entry)
{
	table->entry_count++;
	table->reserved_count += entry->stack_unit == 0;
}

static void link_at(struct hm_map_table *table, const struct path *path, uint32_t index)
{
	struct hm_map_entry *const entry = hm_map_table_entry(table, index);

	for (uint32_t level = 0; level < entry->level_count; level++) {
		uint32_t *const place = next_of(table, path->before[level], level);

		entry->next[level] = *place;
		*place = index;
	}
	count_in(table, entry);
}

static void link_somewhere(struct hm_map_table *table, uint32_t index)
{
	struct path path;

	(void)search(table, hm_map_table_entry(table, index)->start_address, &path);
	link_at(table, &path, index);
}

/* The entry right behind the path leaves all lists. */
static void unlink_at(struct hm_map_table *table, const struct path *path, uint32_t index)
{
	const struct hm_map_entry *const entry = hm_map_table_entry(table, index);

	for (uint32_t level = 0; level < entry->level_count; level++)
		*next_of(table, path->before[level], level) = entry->next[level];
	table->entry_count--;
	table->reserved_count -= entry->stack_unit == 0;
}

/* After has_room: an entry that is on no list. */
static uint32_t make(struct hm_map_table *table, uint64_t start_address, uint64_t end_address,
		     uint32_t stack_unit, uint32_t birth_ticks)
{
	const uint32_t index = take_free(table);

	*hm_map_table_entry(table, index) = (struct hm_map_entry){
		.start_address = start_address,
		.end_address = end_address,
		.stack_unit = stack_unit,
		.birth_ticks = birth_ticks,
		.level_count = draw_level_count(table),
	};
	return index;
}

bool hm_map_table_add(struct hm_map_table *table, uint64_t start_address, uint64_t end_address,
		      uint32_t stack_unit, uint32_t birth_ticks)
{
	if (!has_room(table, 1))
		return false;
	link_somewhere(table, make(table, start_address, end_address, stack_unit, birth_ticks));
	return true;
}

/*
 * Splits the entry at an address inside of it: the part below keeps its place on the lists, the part above is
 * a new one.
 */
static void split(struct hm_map_table *table, uint32_t index, uint64_t address)
{
	struct hm_map_entry *const entry = hm_map_table_entry(table, index);
	const uint32_t above =
		make(table, address, entry->end_address, entry->stack_unit, entry->birth_ticks);

	entry->end_address = address;
	link_somewhere(table, above);
}

/* Where the range begins or ends inside of an entry, there are two of it afterwards. */
static bool split_at_ends(struct hm_map_table *table, uint64_t start_address, uint64_t end_address,
			  struct hm_map_cut *cut)
{
	enum { SPLITS_MAX = 2 };
	const uint32_t first = hm_map_table_find(table, start_address);
	const uint32_t last = hm_map_table_find(table, end_address);
	const bool cuts_first = first != 0 && hm_map_table_entry(table, first)->start_address < start_address;
	const bool cuts_last = last != 0 && hm_map_table_entry(table, last)->start_address < end_address;

	if ((cuts_first || cuts_last) && !has_room(table, SPLITS_MAX))
		return false;
	if (cuts_last) {
		cut->right_end = hm_map_table_entry(table, last)->end_address;
		split(table, last, end_address);
	}
	if (cuts_first) {
		cut->left_start = hm_map_table_entry(table, first)->start_address;
		split(table, first, start_address);
	}
	return true;
}

bool hm_map_table_cut(struct hm_map_table *table, uint64_t start_address, uint64_t end_address,
		      struct hm_map_cut *ret_cut)
{
	struct hm_map_cut cut = { .first = 0 };
	uint32_t *chain = &cut.first;
	struct path path;
	uint32_t index;

	if (!split_at_ends(table, start_address, end_address, &cut))
		return false;
	index = search(table, start_address, &path);
	while (index != 0 && hm_map_table_entry(table, index)->start_address < end_address) {
		struct hm_map_entry *const entry = hm_map_table_entry(table, index);
		const uint32_t next = entry->next[0];

		unlink_at(table, &path, index);
		*chain = index;
		chain = &entry->next[0];
		index = next;
	}
	*chain = 0;
	*ret_cut = cut;
	return true;
}

void hm_map_table_release(struct hm_map_table *table, const struct hm_map_cut *cut)
{
	for (uint32_t index = cut->first; index != 0;) {
		struct hm_map_entry *const entry = hm_map_table_entry(table, index);
		const uint32_t next = entry->next[0];

		entry->next[0] = table->free_first;
		table->free_first = index;
		table->free_count++;
		index = next;
	}
}

void hm_map_table_put_back(struct hm_map_table *table, uint32_t index)
{
	link_somewhere(table, index);
}
