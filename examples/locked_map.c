// SPDX-License-Identifier: Apache-2.0
#include "examples/locked_map.h"

#include "examples/hmap.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct CAPABILITY("map") locked_map {
	pthread_rwlock_t rwlock;
	struct hmap *map; /* owned */
};

/* The lock functions of libc fail where they are misused, and on nothing else that can happen here. */
static void must_be_zero(int error)
{
	assert(error == 0);
	(void)error;
}

struct locked_map *locked_map_create(uint64_t seed)
{
	struct locked_map *map = calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	map->map = hmap_create(seed);
	if (map->map == NULL) {
		free(map);
		return NULL;
	}
	must_be_zero(pthread_rwlock_init(&map->rwlock, NULL));
	return map;
}

void locked_map_free(struct locked_map *map)
{
	if (map == NULL)
		return;
	must_be_zero(pthread_rwlock_destroy(&map->rwlock));
	hmap_free(map->map);
	free(map);
}

/* libc's locks are not annotated, so these four are taken at their word. */

void locked_map_read_lock(struct locked_map *map) NO_THREAD_SAFETY_ANALYSIS
{
	must_be_zero(pthread_rwlock_rdlock(&map->rwlock));
}

void locked_map_read_unlock(struct locked_map *map) NO_THREAD_SAFETY_ANALYSIS
{
	must_be_zero(pthread_rwlock_unlock(&map->rwlock));
}

void locked_map_write_lock(struct locked_map *map) NO_THREAD_SAFETY_ANALYSIS
{
	must_be_zero(pthread_rwlock_wrlock(&map->rwlock));
}

void locked_map_write_unlock(struct locked_map *map) NO_THREAD_SAFETY_ANALYSIS
{
	must_be_zero(pthread_rwlock_unlock(&map->rwlock));
}

int locked_map_insert(struct locked_map *map, uint64_t key, uint64_t value)
{
	return hmap_insert(map->map, key, value);
}

bool locked_map_delete(struct locked_map *map, uint64_t key)
{
	return hmap_delete(map->map, key);
}

bool locked_map_get(const struct locked_map *map, uint64_t key, uint64_t *ret_value)
{
	return hmap_get(map->map, key, ret_value);
}

void locked_map_get_stats(const struct locked_map *map, struct hmap_stats *ret_stats)
{
	hmap_get_stats(map->map, ret_stats);
}

const char *locked_map_check(const struct locked_map *map)
{
	return hmap_check(map->map);
}

void locked_map_iter_init(struct locked_map *map, struct hmap_iter *iter)
{
	hmap_iter_init(iter, map->map);
}

bool locked_map_iter_next(struct locked_map *map, struct hmap_iter *iter)
{
	assert(iter->map == map->map);
	(void)map;
	return hmap_iter_next(iter);
}

void locked_map_iter_done(struct locked_map *map, struct hmap_iter *iter)
{
	assert(iter->map == map->map);
	(void)map;
	hmap_iter_done(iter);
}
