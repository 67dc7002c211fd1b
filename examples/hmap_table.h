// SPDX-License-Identifier: Apache-2.0
/*
 * Tables: where the map's memory comes from and goes to.  All of it is counted in map->bytes and
 * map->allocated_bytes.  For the files of the map only.
 */
#ifndef EXAMPLES_HMAP_TABLE_H
#define EXAMPLES_HMAP_TABLE_H

#include <stddef.h>

struct hmap;
struct hmap_bucket;
struct hmap_table;

/* Returns an empty table, to be freed with hmap_table_free, or NULL where there is no memory. */
struct hmap_table *hmap_table_create(struct hmap *map, size_t bucket_count);

/* Accepts NULL. */
void hmap_table_free(struct hmap *map, struct hmap_table *table);

/*
 * Makes sure that the next `count` calls of hmap_table_add_overflow succeed.  Returns 0 or -ENOMEM.
 *
 * All that can fail in a write is done here, before the first entry moves.  A reserve that is not used up now
 * is used first next time.
 */
int hmap_table_reserve(struct hmap *map, struct hmap_table *table, size_t count);

/* Chains an empty bucket behind `last` and returns it.  Room was made by hmap_table_reserve. */
struct hmap_bucket *hmap_table_add_overflow(struct hmap *map, struct hmap_table *table,
					    struct hmap_bucket *last);

/* What the table has asked of malloc: the sum over all tables, and the map itself, is map->bytes. */
size_t hmap_table_bytes(const struct hmap_table *table);

#endif
