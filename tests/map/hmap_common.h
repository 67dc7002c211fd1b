// SPDX-License-Identifier: Apache-2.0
/*
 * What the tests of hmap have in common: maps over the allocator of memory.h.
 */
#ifndef TESTS_MAP_HMAP_COMMON_H
#define TESTS_MAP_HMAP_COMMON_H

#include "examples/hmap.h"
#include "tests/map/expect.h"
#include "tests/map/memory.h"

static inline struct hmap *new_map(uint64_t seed)
{
	memory_reset();
	struct hmap *map = hmap_create(seed);

	EXPECT(map != NULL);
	return map;
}

static inline void free_map(struct hmap *map)
{
	EXPECT(hmap_check(map) == NULL);
	hmap_free(map);
	EXPECT(memory.live_blocks == 0);
}

static inline struct hmap_stats stats_of(const struct hmap *map)
{
	struct hmap_stats stats;

	hmap_get_stats(map, &stats);
	return stats;
}

static inline uint64_t growths_of(const struct hmap *map)
{
	return stats_of(map).grows + stats_of(map).same_size_grows;
}

/* The next key, from *counter on, that lands in bucket_count buckets at one from first to end - 1. */
static inline uint64_t next_key(const struct hmap *map, uint64_t bucket_count, uint64_t first, uint64_t end,
				uint64_t *counter)
{
	for (;;) {
		const uint64_t key = (*counter)++;
		const uint64_t bucket_index = hmap_hash(map, key) & (bucket_count - 1);

		if (bucket_index >= first && bucket_index < end)
			return key;
	}
}

#endif
