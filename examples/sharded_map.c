// SPDX-License-Identifier: Apache-2.0
#include "examples/sharded_map.h"

#include "examples/hmap.h"
#include "examples/locked_map.h"

#include <assert.h>
#include <stdlib.h>

struct sharded_map {
	uint32_t shard_count;
	struct locked_map *shards[]; /* owned */
};

/* Multiplied by 2^64 / golden ratio, keys in a row lie evenly spread; the upper half, taken for a fraction of
 * 1, names the shard.  The shards hash with seeds of their own: where a key lands in its shard has nothing
 * to do with which shard it is. */
static struct locked_map *shard_of(const struct sharded_map *map, uint64_t key)
{
	const uint64_t fraction = (key * 0x9e3779b97f4a7c15) >> 32;

	return map->shards[(fraction * map->shard_count) >> 32];
}

struct sharded_map *sharded_map_create(uint64_t seed, uint32_t shard_count)
{
	assert(shard_count > 0);

	struct sharded_map *map = calloc(1, sizeof(*map) + shard_count * sizeof(map->shards[0]));
	if (map == NULL)
		return NULL;
	map->shard_count = shard_count;
	for (uint32_t i = 0; i < shard_count; i++) {
		map->shards[i] = locked_map_create(seed + i);
		if (map->shards[i] == NULL) {
			sharded_map_free(map);
			return NULL;
		}
	}
	return map;
}

void sharded_map_free(struct sharded_map *map)
{
	if (map == NULL)
		return;
	for (uint32_t i = 0; i < map->shard_count; i++)
		locked_map_free(map->shards[i]);
	free(map);
}

int sharded_map_insert(struct sharded_map *map, uint64_t key, uint64_t value)
{
	struct locked_map *shard = shard_of(map, key);

	locked_map_write_lock(shard);
	const int error = locked_map_insert(shard, key, value);
	locked_map_write_unlock(shard);
	return error;
}

bool sharded_map_delete(struct sharded_map *map, uint64_t key)
{
	struct locked_map *shard = shard_of(map, key);

	locked_map_write_lock(shard);
	const bool was_there = locked_map_delete(shard, key);
	locked_map_write_unlock(shard);
	return was_there;
}

bool sharded_map_get(struct sharded_map *map, uint64_t key, uint64_t *ret_value)
{
	struct locked_map *shard = shard_of(map, key);

	locked_map_read_lock(shard);
	const bool is_there = locked_map_get(shard, key, ret_value);
	locked_map_read_unlock(shard);
	return is_there;
}

void sharded_map_get_stats(struct sharded_map *map, struct hmap_stats *ret_stats)
{
	struct hmap_stats sum = { 0 };

	for (uint32_t i = 0; i < map->shard_count; i++) {
		struct hmap_stats stats;

		locked_map_read_lock(map->shards[i]);
		locked_map_get_stats(map->shards[i], &stats);
		locked_map_read_unlock(map->shards[i]);
		hmap_stats_add(&sum, &stats);
	}
	*ret_stats = sum;
}

const char *sharded_map_check(struct sharded_map *map)
{
	const char *wrong = NULL;

	for (uint32_t i = 0; i < map->shard_count && wrong == NULL; i++) {
		locked_map_read_lock(map->shards[i]);
		wrong = locked_map_check(map->shards[i]);
		locked_map_read_unlock(map->shards[i]);
	}
	return wrong;
}
