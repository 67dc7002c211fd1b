// SPDX-License-Identifier: Apache-2.0
/*
 * Growth: when a map takes a new table, and how its entries get there.  hmap_grow.c draws it.  For the files
 * of the map only.
 */
#ifndef EXAMPLES_HMAP_GROW_H
#define EXAMPLES_HMAP_GROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hmap;

/* Whether `len` entries are too many for `bucket_count` buckets: more than 6.5 to a bucket. */
bool hmap_is_overloaded(size_t len, size_t bucket_count);

/* Whether the map must grow before one more key goes in. */
bool hmap_must_grow(const struct hmap *map);

/* Puts an empty table in the place of the full one, which becomes map->old.  Returns 0 or -ENOMEM. */
int hmap_begin_growth(struct hmap *map);

/*
 * The share of a growth that each write does: the old bucket it is about to touch, and the next in line. Does
 * nothing where the map does not grow.  Returns 0 or -ENOMEM: the growth then waits for a later write.
 */
int hmap_carry_growth_on(struct hmap *map, uint64_t hash);

/* Frees what the map has outgrown, if no iterator is open. */
void hmap_free_retired(struct hmap *map);

#endif
