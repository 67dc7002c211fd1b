// SPDX-License-Identifier: Apache-2.0
/*
 * hmap_check must see what it is there for: each invariant is broken by hand, in a map that grows, and mended
 * again.
 */
#include "examples/hmap.h"

#include "examples/hmap_layout.h"
#include "tests/map/expect.h"

#include <string.h>

/* Has just begun to grow from 4 buckets to 8: at most two of the old ones are evacuated. */
static struct hmap *growing_map(void)
{
	struct hmap *map = hmap_create(3);
	uint64_t key = 0;

	EXPECT(map != NULL);
	for (; map->table == NULL || map->table->bucket_count < 8; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	EXPECT(map->old != NULL && map->old->bucket_count == 4);
	EXPECT(hmap_check(map) == NULL);
	return map;
}

/* The first old chain that is not evacuated. */
static size_t waiting_index(const struct hmap *map)
{
	size_t index = 0;

	while (hmap_is_evacuated(&map->old->buckets[index]))
		index++;
	EXPECT(index < map->old->bucket_count);
	return index;
}

static void expect_words(const struct hmap *map, const char *words)
{
	const char *wrong = hmap_check(map);

	if (wrong == NULL || strcmp(wrong, words) != 0)
		fprintf(stderr, "hmap_check says: %s\n", wrong != NULL ? wrong : "all is well");
	EXPECT(wrong != NULL && strcmp(wrong, words) == 0);
}

static void break_slots(struct hmap *map)
{
	struct hmap_bucket *bucket = &map->old->buckets[waiting_index(map)];
	const struct hmap_bucket saved = *bucket;

	EXPECT(hmap_is_filled(bucket->tophash[0]) && hmap_is_filled(bucket->tophash[1]));
	bucket->tophash[1] = EVACUATED_LOW;
	expect_words(map, "a chain is evacuated in part");
	*bucket = saved;

	bucket->tophash[0] = EMPTY_REST;
	expect_words(map, "something stands behind an EMPTY_REST");
	*bucket = saved;

	while ((hmap_hash(map, bucket->keys[0]) & (map->old->bucket_count - 1)) ==
	       (hmap_hash(map, saved.keys[0]) & (map->old->bucket_count - 1)))
		bucket->keys[0]++;
	expect_words(map, "a key stands in the wrong bucket");
	*bucket = saved;

	bucket->tophash[0] ^= 64;
	expect_words(map, "a tophash is not that of its key");
	*bucket = saved;

	bucket->keys[1] = bucket->keys[0];
	bucket->tophash[1] = bucket->tophash[0];
	expect_words(map, "a key stands in a chain twice");
	*bucket = saved;

	bucket->tophash[0] = EMPTY;
	expect_words(map, "len is not the number of entries");
	*bucket = saved;
}

static void break_tables(struct hmap *map)
{
	map->table->overflow_count++;
	expect_words(map, "the overflow buckets in the chains are not those in the list");
	map->table->overflow_count--;

	map->table->overflow_estimate++;
	expect_words(map, "the overflow estimate of a small table is not exact");
	map->table->overflow_estimate--;

	map->table->bucket_count = 7;
	expect_words(map, "the number of buckets is not a power of two");
	map->table->bucket_count = 8;

	map->bytes++;
	expect_words(map, "bytes is not the sum of the blocks");
	map->bytes--;
}

static void break_growth(struct hmap *map)
{
	const size_t evacuation_index = map->evacuation_index;
	const struct hmap_bucket *from = &map->old->buckets[waiting_index(map)];
	const uint64_t hash = hmap_hash(map, from->keys[0]);
	struct hmap_bucket *chain = &map->table->buckets[hash & (map->table->bucket_count - 1)];
	const struct hmap_bucket saved = *chain;

	map->evacuation_index = map->old->bucket_count;
	expect_words(map, "a growth that is done has not been finished");
	map->evacuation_index = map->old->bucket_count - 1;
	expect_words(map, "a chain before evacuation_index is not evacuated");
	map->evacuation_index = evacuation_index;

	EXPECT(chain->tophash[0] == EMPTY_REST);
	chain->tophash[0] = from->tophash[0];
	chain->keys[0] = from->keys[0];
	expect_words(map, "entries stand in a chain whose old one is not evacuated");
	memset(chain->tophash, EVACUATED_EMPTY, sizeof(chain->tophash));
	expect_words(map, "a chain of the current table is evacuated");
	*chain = saved;

	map->old->bucket_count = 2;
	expect_words(map, "the map grows by neither nothing nor double");
	map->old->bucket_count = 4;

	struct hmap_table *table = map->table;
	map->table = NULL;
	expect_words(map, "a map grows without a table to grow into");
	map->table = table;
}

int main(void)
{
	struct hmap *map = growing_map();

	break_slots(map);
	break_tables(map);
	break_growth(map);
	EXPECT(hmap_check(map) == NULL);
	hmap_free(map);
	return EXIT_SUCCESS;
}
