// SPDX-License-Identifier: Apache-2.0
/*
 * The table of mappings, held against an array that knows the owner of each page: random ranges come, go and
 * are put back.
 */
#include "preload/map_table.h"

#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES = 300, PAGE_BYTES = 4096, FIRST_PAGE = 0x7f000, STEPS = 200000 };

static struct hm_map_table table;
static uint32_t owners[PAGES]; /* stack units; 0: nobody */
static bool begins[PAGES];     /* an entry begins here */
static uint64_t random_state = 4711;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % limit;
}

static uint64_t address_of(uint32_t page)
{
	return (uint64_t)(FIRST_PAGE + page) * PAGE_BYTES;
}

/* Where the entry that `page` is in ends, or the range before it does. */
static uint32_t end_of_run(uint32_t page, uint32_t range_end)
{
	uint32_t end = page + 1;

	while (end < range_end && owners[end] == owners[page] && !begins[end])
		end++;
	return end;
}

/* Every entry, in order, is a run of pages of one owner, and every page is in one. */
static bool is_same(void)
{
	uint32_t index = hm_map_table_find(&table, 0);
	uint32_t count = 0;
	uint32_t reserved = 0;

	for (uint32_t page = 0; page < PAGES;) {
		const uint32_t end = end_of_run(page, PAGES);

		if (owners[page] == 0) {
			page++;
			continue;
		}
		if (index == 0)
			return false;

		const struct hm_map_entry *const entry = hm_map_table_entry(&table, index);

		if (entry->start_address != address_of(page) || entry->end_address != address_of(end) ||
		    entry->stack_unit != owners[page] - 1 || entry->birth_ticks != owners[page])
			return false;
		count++;
		reserved += entry->stack_unit == 0;
		index = entry->next[0];
		page = end;
	}
	return index == 0 && table.entry_count == count && table.reserved_count == reserved;
}

static void add(uint32_t page, uint32_t end, uint32_t owner)
{
	for (uint32_t i = page; i < end; i++)
		if (owners[i] != 0)
			return; /* taken */
	CHECK(hm_map_table_add(&table, address_of(page), address_of(end), owner - 1, owner));
	begins[page] = true;
	for (uint32_t i = page; i < end; i++)
		owners[i] = owner;
}

static void forget(uint32_t page, uint32_t end)
{
	for (uint32_t i = page; i < end; i++) {
		owners[i] = 0;
		begins[i] = false;
	}
	if (end < PAGES && owners[end] != 0)
		begins[end] = true; /* what is left of the last */
}

/* The pieces are the pages of the range, each of its owner, and what was left outside is told. */
static void check_cut(const struct hm_map_cut *cut, uint32_t page, uint32_t end)
{
	uint32_t left = page;
	uint32_t right = end;
	uint32_t index = cut->first;
	bool is_right = true;

	while (page < end && owners[page] != 0 && !begins[page] && left > 0 && !begins[left])
		left--;
	while (right < PAGES && owners[right] != 0 && !begins[right])
		right++;
	is_right = cut->left_start == (left < page && owners[page] != 0 ? address_of(left) : 0) &&
		   cut->right_end == (right > end && owners[end - 1] != 0 ? address_of(right) : 0);
	for (uint32_t i = page; i < end;) {
		const uint32_t after = end_of_run(i, end);

		if (owners[i] == 0) {
			i++;
			continue;
		}

		const struct hm_map_entry *const piece = hm_map_table_entry(&table, index);

		is_right = is_right && index != 0 && piece->start_address == address_of(i) &&
			   piece->end_address == address_of(after) && piece->stack_unit == owners[i] - 1;
		index = index != 0 ? piece->next[0] : 0;
		i = after;
	}
	CHECK(is_right && index == 0);
}

static void cut(uint32_t page, uint32_t end)
{
	struct hm_map_cut pieces;

	CHECK(hm_map_table_cut(&table, address_of(page), address_of(end), &pieces));
	check_cut(&pieces, page, end);
	if (random_below(4) != 0) {
		hm_map_table_release(&table, &pieces);
		forget(page, end);
		return;
	}
	/* Put back, each by itself. */
	for (uint32_t index = pieces.first; index != 0;) {
		const uint32_t next = hm_map_table_entry(&table, index)->next[0];

		begins[hm_map_table_entry(&table, index)->start_address / PAGE_BYTES - FIRST_PAGE] = true;
		hm_map_table_put_back(&table, index);
		index = next;
	}
	if (end < PAGES && owners[end] != 0)
		begins[end] = true;
}

static void test_random_ranges(void)
{
	hm_map_table_reset(&table, 10000);
	for (int step = 0; step < STEPS; step++) {
		const uint32_t page = random_below(PAGES);
		const uint32_t length = 1 + random_below(random_below(8) == 0 ? PAGES : 12);
		const uint32_t end = page + length < PAGES ? page + length : PAGES;

		if (random_below(2) == 0)
			add(page, end, 1 + random_below(5));
		else
			cut(page, end);
		CHECK(is_same());
	}
	CHECK(table.made_count < 2 * PAGES); /* entries are used again */
}

static void test_full(void)
{
	enum { ROOM = 600 }; /* more than one piece */
	struct hm_map_cut pieces;
	uint32_t second_count = 0;

	hm_map_table_reset(&table, ROOM);
	for (uint32_t i = 0; i < ROOM; i++)
		CHECK(hm_map_table_add(&table, address_of(10 * i), address_of(10 * i + 8), 1, 1));
	CHECK(!hm_map_table_add(&table, address_of(9), address_of(10), 1, 1));
	/* A hole needs another entry, an end does not stay without one either; whole ones can go. */
	CHECK(!hm_map_table_cut(&table, address_of(2), address_of(4), &pieces));
	CHECK_EQ(table.entry_count, ROOM);
	CHECK(hm_map_table_cut(&table, address_of(0), address_of(28), &pieces));
	hm_map_table_release(&table, &pieces);
	CHECK_EQ(table.entry_count, ROOM - 3);
	CHECK(hm_map_table_cut(&table, address_of(32), address_of(34), &pieces));
	hm_map_table_release(&table, &pieces);
	CHECK_EQ(table.entry_count, ROOM - 2);

	/* A quarter of the entries is on the second list, by which searches are short: 5 standard deviations of
	 * 10.6 around 150. */
	for (uint32_t i = table.heads[1]; i != 0; i = hm_map_table_entry(&table, i)->next[1])
		second_count++;
	CHECK(second_count >= 150 - 53 && second_count <= 150 + 53);

	/* Of the many that there are, each is found. */
	for (uint32_t i = 4; i < ROOM; i++)
		CHECK_EQ(hm_map_table_entry(&table, hm_map_table_find(&table, address_of(10 * i + 3)))
				 ->start_address,
			 address_of(10 * i));
	CHECK_EQ(hm_map_table_find(&table, address_of(10 * ROOM)), 0);
}

int main(void)
{
	test_random_ranges();
	test_full();
	return check_result();
}
