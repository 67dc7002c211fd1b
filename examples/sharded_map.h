// SPDX-License-Identifier: Apache-2.0
/*
 * A map of several: each key belongs to one of the shards, each shard is a map with a lock of its own.
 * Threads that write to different shards do not wait for each other.
 *
 * Any thread at any time, but for create and free.
 */
#ifndef EXAMPLES_SHARDED_MAP_H
#define EXAMPLES_SHARDED_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct hmap_stats;
struct sharded_map;

/* Returns an empty map, to be freed with sharded_map_free, or NULL where there is no memory.  1 or more. */
struct sharded_map *sharded_map_create(uint64_t seed, uint32_t shard_count);

/* Accepts NULL. */
void sharded_map_free(struct sharded_map *map);

/* As the functions of hmap.h. */
int sharded_map_insert(struct sharded_map *map, uint64_t key, uint64_t value);
bool sharded_map_delete(struct sharded_map *map, uint64_t key);
bool sharded_map_get(struct sharded_map *map, uint64_t key, uint64_t *ret_value);

/* The sums over all shards.  They are visited one after the other: where others write, no one moment. */
void sharded_map_get_stats(struct sharded_map *map, struct hmap_stats *ret_stats);

/* Returns NULL, or what is wrong with a shard. */
const char *sharded_map_check(struct sharded_map *map);

#endif
