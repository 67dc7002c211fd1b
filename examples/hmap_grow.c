// SPDX-License-Identifier: Apache-2.0
/*
 * How a map grows.
 *
 * An insert of a new key first asks two questions.
 *
 *   Would there be more than 6.5 entries to a bucket?   Then an array of twice the size is made.
 *   Are there about as many overflow buckets as buckets?  (Sparsely filled ones, else the first answer had
 *   been yes: many keys came and went.)   Then an array of the same size is made.  The entries, moved over,
 *   stand close together again, and the long chains are gone with the old array.
 *
 * Entries are not moved at once.  Every insert and every delete evacuates the chain it is about to touch, and
 * the next one in line: two old buckets a write.  As long as an old bucket is not evacuated, its entries are
 * looked up there (E: evacuated):
 *
 *	          0     1     2     3     4     5     6     7
 *	old    [  E  |  E  |  E  |     |     |  E  |     |     ]
 *	                         ^ evacuation_index  ^ 5 was touched by a write
 *
 *	doubling: the entries of old bucket i go to i or to i + 8, as one more bit of the hash says
 *
 *	          0     1     2     3     4     5     6     7     8     9    10    11    12    13
 *	table  [  x  |  x  |  x  |     |     |  x  |     |     |  x  |  x  |  x  |     |     |  x  |  ...
 *
 *	same size: all go to i
 *
 *	          0     1     2     3     4     5     6     7
 *	table  [  x  |  x  |  x  |     |     |  x  |     |     ]
 *
 * With the last old bucket evacuated, the old array and its overflow buckets are freed.  (Go drops them for
 * its collector to find.)  Where an iterator is open they are retired, and freed once none is.
 *
 * No array is ever replaced by a smaller one: a map that was filled and emptied keeps its memory.
 */
#include "examples/hmap_grow.h"

#include "examples/hmap.h"
#include "examples/hmap_chain.h"
#include "examples/hmap_layout.h"
#include "examples/hmap_table.h"

#include <assert.h>
#include <errno.h>

/* Evacuated buckets to pass over in one write, so that no write takes long. */
enum { EVACUATION_SKIP_MAX = 1024 };

static bool is_doubling(const struct hmap *map)
{
	return map->table->bucket_count != map->old->bucket_count;
}

/* More than 13/2 entries to a bucket; a single bucket may be filled up. */
bool hmap_is_overloaded(size_t len, size_t bucket_count)
{
	return len > HMAP_SLOTS && 2 * len > 13 * bucket_count;
}

/* Sparse chains everywhere: see count_overflow. */
static bool has_many_overflows(const struct hmap_table *table)
{
	const size_t limit = table->bucket_count < HMAP_OVERFLOW_ESTIMATE_MAX ? table->bucket_count
									      : HMAP_OVERFLOW_ESTIMATE_MAX;

	return table->overflow_estimate >= limit;
}

bool hmap_must_grow(const struct hmap *map)
{
	return map->old == NULL &&
	       (hmap_is_overloaded(map->len + 1, map->table->bucket_count) || has_many_overflows(map->table));
}

int hmap_begin_growth(struct hmap *map)
{
	const bool doubling = hmap_is_overloaded(map->len + 1, map->table->bucket_count);
	struct hmap_table *table = hmap_table_create(map, map->table->bucket_count * (doubling ? 2 : 1));

	if (table == NULL)
		return -ENOMEM;
	map->old = map->table;
	map->table = table;
	map->evacuation_index = 0;
	if (doubling)
		map->grows++;
	else
		map->same_size_grows++;
	return 0;
}

/* [hmap.reclaim] pairs with [hmap.release]: where no iterator is open, none still reads a retired table. */
void hmap_free_retired(struct hmap *map)
{
	if (atomic_load_explicit(&map->iterator_count, memory_order_acquire) != 0)
		return;
	while (map->retired != NULL) {
		struct hmap_table *table = map->retired;

		map->retired = table->next_retired;
		hmap_table_free(map, table);
	}
}

static void finish_growth(struct hmap *map)
{
	map->old->next_retired = map->retired;
	map->retired = map->old;
	map->old = NULL;
	hmap_free_retired(map);

	/* In a debug build.  As many buckets are read as were evacuated: a growth then takes twice as long.
	 */
	assert(hmap_check(map) == NULL);
}

/* Moves evacuation_index past the bucket just evacuated, and past those that writes have evacuated before. */
static void advance_evacuation(struct hmap *map)
{
	const size_t old_count = map->old->bucket_count;
	size_t stop = map->evacuation_index + 1 + EVACUATION_SKIP_MAX;

	if (stop > old_count)
		stop = old_count;
	map->evacuation_index++;
	while (map->evacuation_index < stop && hmap_is_evacuated(&map->old->buckets[map->evacuation_index]))
		map->evacuation_index++;
	if (map->evacuation_index == old_count)
		finish_growth(map);
}

/* Moves all entries of one chain.  Keys and values stay behind in the old chain, for iterators that stand in
 * it; its tophash bytes say where each entry went. */
static void move_chain(struct hmap *map, size_t index)
{
	const size_t old_count = map->old->bucket_count;
	const bool doubling = is_doubling(map);
	struct hmap_slot low = { &map->table->buckets[index], 0 };
	struct hmap_slot high = { doubling ? &map->table->buckets[index + old_count] : NULL, 0 };

	for (struct hmap_bucket *from = &map->old->buckets[index]; from != NULL; from = from->overflow) {
		for (unsigned i = 0; i < HMAP_SLOTS; i++) {
			const uint8_t tophash = from->tophash[i];

			if (!hmap_is_filled(tophash)) {
				from->tophash[i] = EVACUATED_EMPTY;
				continue;
			}
			const bool goes_high = doubling && (hmap_hash(map, from->keys[i]) & old_count) != 0;
			struct hmap_slot *to = goes_high ? &high : &low;

			if (to->index == HMAP_SLOTS)
				*to = (struct hmap_slot){
					hmap_table_add_overflow(map, map->table, to->bucket), 0
				};
			hmap_slot_fill(*to, tophash, from->keys[i], from->values[i]);
			to->index++;
			from->tophash[i] = goes_high ? EVACUATED_HIGH : EVACUATED_LOW;
		}
	}
	map->evacuated_buckets++;
}

static int evacuate(struct hmap *map, size_t index)
{
	const struct hmap_bucket *chain = &map->old->buckets[index];

	if (!hmap_is_evacuated(chain)) {
		/* A chain of c buckets, 8c slots, needs no more than c - 1 overflow buckets where it goes:
		 * a entries take ceil(a/8) buckets, of which one is not overflow, and for a + b <= 8c
		 * ceil(a/8) + ceil(b/8) <= c + 1, of which two are not. */
		size_t overflow_count = 0;
		for (const struct hmap_bucket *bucket = chain->overflow; bucket != NULL;
		     bucket = bucket->overflow)
			overflow_count++;

		const int error = hmap_table_reserve(map, map->table, overflow_count);
		if (error != 0)
			return error;
		move_chain(map, index);
	}
	if (index == map->evacuation_index)
		advance_evacuation(map);
	return 0;
}

int hmap_carry_growth_on(struct hmap *map, uint64_t hash)
{
	int error = 0;

	if (map->retired != NULL)
		hmap_free_retired(map);
	if (map->old != NULL)
		error = evacuate(map, hash & (map->old->bucket_count - 1));
	if (error == 0 && map->old != NULL)
		error = evacuate(map, map->evacuation_index);
	return error;
}
