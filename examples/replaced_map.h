// SPDX-License-Identifier: Apache-2.0
/*
 * A map that is replaced as a whole while others read it: the remedy for a map that has kept the buckets of a
 * greater past.
 *
 * Readers take no lock (readers.h).  They find every entry at any time, in the old map or in the new one,
 * which hold the same.  Between two replacements nobody writes to the map.
 */
#ifndef EXAMPLES_REPLACED_MAP_H
#define EXAMPLES_REPLACED_MAP_H

#include <stdint.h>

struct hmap;
struct replaced_map;

/* Takes `map` over.  Returns NULL where there is no memory: `map` then stays the caller's. */
struct replaced_map *replaced_map_create(struct hmap *map);

/* Accepts NULL.  There are no readers any more. */
void replaced_map_free(struct replaced_map *map);

/* The map as it is now; to be used between readers_begin and readers_end, where it is called, and not after.
 */
const struct hmap *replaced_map_current(const struct replaced_map *map);

/*
 * Puts a copy in the place of the map, with as many buckets as its entries need, and frees the old one when
 * no reader can hold it any more.  One thread at a time, and none that is between readers_begin and
 * readers_end. Returns 0, or -ENOMEM: nothing has changed then.
 */
int replaced_map_compact(struct replaced_map *map, uint64_t seed);

#endif
