// SPDX-License-Identifier: Apache-2.0
/*
 * The invariants of the map, each with the words that say it is broken.
 */
#include "examples/hmap.h"
#include "examples/hmap_layout.h"
#include "examples/hmap_table.h"

struct census {
	size_t entries;
	size_t overflow_buckets;
};

static bool chain_has_twice(const struct hmap_bucket *bucket, unsigned slot_index)
{
	const uint64_t key = bucket->keys[slot_index];

	for (slot_index++; bucket != NULL; bucket = bucket->overflow, slot_index = 0) {
		for (unsigned i = slot_index; i < HMAP_SLOTS; i++) {
			if (hmap_is_filled(bucket->tophash[i]) && bucket->keys[i] == key)
				return true;
		}
	}
	return false;
}

static const char *check_chain(const struct hmap *map, const struct hmap_table *table, size_t index,
			       struct census *census)
{
	const bool evacuated = hmap_is_evacuated(&table->buckets[index]);
	bool ended = false;

	for (const struct hmap_bucket *bucket = &table->buckets[index]; bucket != NULL;
	     bucket = bucket->overflow) {
		census->overflow_buckets += bucket != &table->buckets[index];
		for (unsigned i = 0; i < HMAP_SLOTS; i++) {
			const uint8_t tophash = bucket->tophash[i];

			if (evacuated != (tophash >= EVACUATED_LOW && tophash <= EVACUATED_EMPTY))
				return "a chain is evacuated in part";
			if (ended && tophash != EMPTY_REST)
				return "something stands behind an EMPTY_REST";
			ended = tophash == EMPTY_REST;
			if (!hmap_is_filled(tophash))
				continue;

			const uint64_t hash = hmap_hash(map, bucket->keys[i]);
			if ((hash & (table->bucket_count - 1)) != index)
				return "a key stands in the wrong bucket";
			if (tophash != hmap_tophash_of(hash))
				return "a tophash is not that of its key";
			if (chain_has_twice(bucket, i))
				return "a key stands in a chain twice";
			census->entries++;
		}
	}
	return NULL;
}

static const char *check_table(const struct hmap *map, const struct hmap_table *table, struct census *census)
{
	struct census own = { 0 };
	const char *wrong = NULL;

	if (table->bucket_count == 0 || (table->bucket_count & (table->bucket_count - 1)) != 0)
		return "the number of buckets is not a power of two";
	for (size_t i = 0; i < table->bucket_count && wrong == NULL; i++)
		wrong = check_chain(map, table, i, &own);
	if (wrong != NULL)
		return wrong;
	if (own.overflow_buckets != table->overflow_count)
		return "the overflow buckets in the chains are not those in the list";
	if (table->bucket_count <= HMAP_OVERFLOW_ESTIMATE_MAX &&
	    table->overflow_estimate != table->overflow_count)
		return "the overflow estimate of a small table is not exact";
	census->entries += own.entries;
	return NULL;
}

static const char *check_growth(const struct hmap *map)
{
	const size_t old_count = map->old->bucket_count;

	if (map->table->bucket_count != old_count && map->table->bucket_count != 2 * old_count)
		return "the map grows by neither nothing nor double";
	if (map->evacuation_index >= old_count)
		return "a growth that is done has not been finished";
	for (size_t i = 0; i < map->table->bucket_count; i++) {
		const size_t old_index = i & (old_count - 1);
		const bool evacuated = hmap_is_evacuated(&map->old->buckets[old_index]);

		if (hmap_is_evacuated(&map->table->buckets[i]))
			return "a chain of the current table is evacuated";
		if (!evacuated && old_index < map->evacuation_index)
			return "a chain before evacuation_index is not evacuated";
		if (!evacuated && map->table->buckets[i].tophash[0] != EMPTY_REST)
			return "entries stand in a chain whose old one is not evacuated";
	}
	return NULL;
}

const char *hmap_check(const struct hmap *map)
{
	struct census census = { 0 };
	const char *wrong = NULL;
	size_t bytes = sizeof(*map);

	if (map->table == NULL && map->old != NULL)
		return "a map grows without a table to grow into";
	if (map->table != NULL) {
		wrong = check_table(map, map->table, &census);
		bytes += hmap_table_bytes(map->table);
	}
	if (wrong == NULL && map->old != NULL) {
		wrong = check_growth(map);
		if (wrong == NULL)
			wrong = check_table(map, map->old, &census);
		bytes += hmap_table_bytes(map->old);
	}
	for (const struct hmap_table *table = map->retired; table != NULL; table = table->next_retired)
		bytes += hmap_table_bytes(table);

	if (wrong == NULL && census.entries != map->len)
		wrong = "len is not the number of entries";
	if (wrong == NULL && bytes != map->bytes)
		wrong = "bytes is not the sum of the blocks";
	return wrong;
}
