// SPDX-License-Identifier: Apache-2.0
/*
 * What everybody calls.  The map's parts, in the order in which to read them:
 *
 *	hmap_layout.h   what a map is made of: buckets, overflow buckets, tables
 *	hmap_table.c    its memory
 *	hmap_chain.c    looking for a key, and for room
 *	hmap.c          get, insert, delete
 *	hmap_grow.c     doubling, same-size growth, evacuation
 *	hmap_iterate.c  walking over all entries while the map changes
 *	hmap_check.c    what must hold at any time
 */
#include "examples/hmap.h"

#include "examples/hmap_chain.h"
#include "examples/hmap_grow.h"
#include "examples/hmap_layout.h"
#include "examples/hmap_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Two multiplications, by 2^64 / golden ratio and by the fraction of sqrt(2): numbers without a pattern. Each
 * carries low bits upward, each shift carries high bits down.  Flipping any one bit of the input flips each
 * bit of the output in 50 +- 1.2 % of 40,000 keys, consecutive or random (chance alone gives 1 %). */
static uint64_t mix(uint64_t bits)
{
	bits = (bits ^ (bits >> 32)) * 0x9e3779b97f4a7c15;
	bits = (bits ^ (bits >> 29)) * 0x6a09e667f3bcc909;
	return bits ^ (bits >> 32);
}

uint64_t hmap_next_random(struct hmap *map)
{
	return mix(++map->random_state);
}

uint64_t hmap_hash(const struct hmap *map, uint64_t key)
{
	return mix(key ^ map->seed);
}

struct hmap *hmap_create(uint64_t seed)
{
	struct hmap *map = calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	map->bytes = sizeof(*map);
	map->allocated_bytes = sizeof(*map);
	map->random_state = mix(seed);
	map->seed = hmap_next_random(map);
	return map;
}

struct hmap *hmap_create_for(uint64_t seed, size_t len)
{
	struct hmap *map = len <= SIZE_MAX / sizeof(struct hmap_bucket) ? hmap_create(seed) : NULL;
	size_t bucket_count = 1;

	if (map == NULL)
		return NULL;
	while (hmap_is_overloaded(len, bucket_count))
		bucket_count *= 2;
	if (bucket_count == 1) /* made by the first insert */
		return map;
	map->table = hmap_table_create(map, bucket_count);
	if (map->table == NULL) {
		hmap_free(map);
		return NULL;
	}
	return map;
}

void hmap_free(struct hmap *map)
{
	if (map == NULL)
		return;
	assert(atomic_load_explicit(&map->iterator_count, memory_order_acquire) == 0);
	hmap_free_retired(map);
	hmap_table_free(map, map->old);
	hmap_table_free(map, map->table);
	assert(map->bytes == sizeof(*map));
	free(map);
}

/* A new key, in a map that need not grow for it: its old bucket, if there was one, is evacuated. */
static int insert_new(struct hmap *map, uint64_t hash, uint64_t key, uint64_t value)
{
	struct hmap_slot slot = hmap_chain_find_room(hmap_chain_of(map, hash));

	if (slot.index == HMAP_SLOTS) {
		const int error = hmap_table_reserve(map, map->table, 1);

		if (error != 0)
			return error;
		slot = (struct hmap_slot){ hmap_table_add_overflow(map, map->table, slot.bucket), 0 };
	}
	hmap_slot_fill(slot, hmap_tophash_of(hash), key, value);
	map->len++;
	return 0;
}

int hmap_insert(struct hmap *map, uint64_t key, uint64_t value)
{
	const uint64_t hash = hmap_hash(map, key);

	if (map->table == NULL)
		map->table = hmap_table_create(map, 1);
	if (map->table == NULL)
		return -ENOMEM;
	for (;;) {
		struct hmap_slot slot;
		int error = hmap_carry_growth_on(map, hash);

		if (error != 0)
			return error;
		if (hmap_chain_find(hmap_chain_of(map, hash), hash, key, &slot)) {
			slot.bucket->values[slot.index] = value;
			return 0;
		}
		if (!hmap_must_grow(map))
			return insert_new(map, hash, key, value);
		error = hmap_begin_growth(map);
		if (error != 0)
			return error;
	}
}

bool hmap_get(const struct hmap *map, uint64_t key, uint64_t *ret_value)
{
	const uint64_t hash = hmap_hash(map, key);
	struct hmap_slot slot;

	if (map->len == 0 || !hmap_chain_find(hmap_chain_of(map, hash), hash, key, &slot))
		return false;
	*ret_value = slot.bucket->values[slot.index];
	return true;
}

bool hmap_delete(struct hmap *map, uint64_t key)
{
	const uint64_t hash = hmap_hash(map, key);
	struct hmap_slot slot;

	if (map->len == 0)
		return false;

	/* It fails where memory is short.  The key's chain may then still be an old one: hmap_chain_of
	 * knows. */
	(void)hmap_carry_growth_on(map, hash);

	struct hmap_bucket *chain = hmap_chain_of(map, hash);
	if (!hmap_chain_find(chain, hash, key, &slot))
		return false;
	hmap_chain_clear(chain, slot);
	map->len--;

	/* As in Go: an empty map can take a new seed, which helps against chosen keys. */
	if (map->len == 0)
		map->seed = hmap_next_random(map);
	return true;
}

size_t hmap_len(const struct hmap *map)
{
	return map->len;
}

void hmap_get_stats(const struct hmap *map, struct hmap_stats *ret_stats)
{
	*ret_stats = (struct hmap_stats){
		.len = map->len,
		.bucket_count = map->table != NULL ? map->table->bucket_count : 0,
		.overflow_count = map->table != NULL ? map->table->overflow_count : 0,
		.grows = map->grows,
		.same_size_grows = map->same_size_grows,
		.evacuated_buckets = map->evacuated_buckets,
		.bytes = map->bytes,
		.allocated_bytes = map->allocated_bytes,
	};
}

void hmap_stats_add(struct hmap_stats *sum, const struct hmap_stats *stats)
{
	sum->len += stats->len;
	sum->bucket_count += stats->bucket_count;
	sum->overflow_count += stats->overflow_count;
	sum->grows += stats->grows;
	sum->same_size_grows += stats->same_size_grows;
	sum->evacuated_buckets += stats->evacuated_buckets;
	sum->bytes += stats->bytes;
	sum->allocated_bytes += stats->allocated_bytes;
}
