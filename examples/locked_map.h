// SPDX-License-Identifier: Apache-2.0
/*
 * A map with a lock: any number of threads, many readers or one writer at a time.
 *
 * Who must hold what is written in the declarations, for clang to check (thread_safety.h).  What Go finds out
 * at run time, if it does ("concurrent map iteration and map write"), does not compile here.
 */
#ifndef EXAMPLES_LOCKED_MAP_H
#define EXAMPLES_LOCKED_MAP_H

#include "examples/thread_safety.h"

#include <stdbool.h>
#include <stdint.h>

struct hmap_iter;
struct hmap_stats;
struct CAPABILITY("map") locked_map;

/* Returns an empty map, to be freed with locked_map_free, or NULL where there is no memory. */
struct locked_map *locked_map_create(uint64_t seed);

/* Accepts NULL.  No other thread may use the map any more. */
void locked_map_free(struct locked_map *map) EXCLUDES(map);

/* Shared with other readers.  A thread takes a lock once: neither a second time, nor the other kind besides.
 */
void locked_map_read_lock(struct locked_map *map) ACQUIRES_SHARED(map);
void locked_map_read_unlock(struct locked_map *map) RELEASES_SHARED(map);

/* Alone. */
void locked_map_write_lock(struct locked_map *map) ACQUIRES(map);
void locked_map_write_unlock(struct locked_map *map) RELEASES(map);

/* As the functions of hmap.h. */
int locked_map_insert(struct locked_map *map, uint64_t key, uint64_t value) REQUIRES(map);
bool locked_map_delete(struct locked_map *map, uint64_t key) REQUIRES(map);
bool locked_map_get(const struct locked_map *map, uint64_t key, uint64_t *ret_value) REQUIRES_SHARED(map);
void locked_map_get_stats(const struct locked_map *map, struct hmap_stats *ret_stats) REQUIRES_SHARED(map);
const char *locked_map_check(const struct locked_map *map) REQUIRES_SHARED(map);

/* A walk belongs to one holding of the lock: it ends before the lock is given back. */
void locked_map_iter_init(struct locked_map *map, struct hmap_iter *iter) REQUIRES_SHARED(map);
bool locked_map_iter_next(struct locked_map *map, struct hmap_iter *iter) REQUIRES_SHARED(map);
void locked_map_iter_done(struct locked_map *map, struct hmap_iter *iter) REQUIRES_SHARED(map);

#endif
