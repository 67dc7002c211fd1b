// SPDX-License-Identifier: Apache-2.0
/*
 * A map for many threads that mostly read, as Go 1.19's sync.Map has it: two maps over the same entries.
 * syncmap.c draws how it works.
 *
 * Any thread at any time, but for create and free.  A thread calls readers_join (readers.h) before its first
 * call and readers_leave after its last.
 *
 * Memory: up to two maps hold buckets for all keys.  A deleted key keeps its place in the read map, and its
 * entry, until the next promotion but one; if reads stop missing, that never comes.
 */
#ifndef EXAMPLES_SYNCMAP_H
#define EXAMPLES_SYNCMAP_H

#include "examples/hmap.h"

#include <stdbool.h>
#include <stdint.h>

struct syncmap;

/* Values are 0 to SYNCMAP_VALUE_MAX: the two above it stand for entries that are none. */
#define SYNCMAP_VALUE_MAX (UINT64_MAX - 2)

/* Returns an empty map, to be freed with syncmap_free, or NULL where there is no memory. */
struct syncmap *syncmap_create(uint64_t seed);

/* Accepts NULL. */
void syncmap_free(struct syncmap *map);

/* Returns 0; -EINVAL for a value above the limit; or -ENOMEM, and the map holds what it held before. */
int syncmap_store(struct syncmap *map, uint64_t key, uint64_t value);

/* Returns whether `key` is there, and if so its value in *ret_value. */
bool syncmap_load(struct syncmap *map, uint64_t key, uint64_t *ret_value);

/* Returns whether `key` was there. */
bool syncmap_delete(struct syncmap *map, uint64_t key);

struct syncmap_stats {
	uint64_t len;             /* keys that have a value */
	uint64_t read_len;        /* places in the read map, those of deleted keys among them */
	uint64_t dirty_len;       /* in the dirty map; 0 where there is none */
	uint64_t promotions;      /* times the dirty map became the read map */
	uint64_t copied_entries;  /* from read maps into new dirty ones, over all times */
	uint64_t bytes;           /* asked of malloc and not yet freed: both maps, and the entries */
	uint64_t allocated_bytes; /* asked of malloc since syncmap_create */
	struct hmap_stats maps;   /* of the read and the dirty map together, but for len, which is as above */
};

void syncmap_get_stats(struct syncmap *map, struct syncmap_stats *ret_stats);

/* Checks the whole map against its invariants.  Returns NULL, or what is wrong.  Nobody else uses the map. */
const char *syncmap_check(struct syncmap *map);

#endif
