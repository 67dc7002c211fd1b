// SPDX-License-Identifier: Apache-2.0
#include "examples/replaced_map.h"

#include "examples/hmap.h"
#include "examples/readers.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct replaced_map {
	_Atomic(struct hmap *) current; /* owned */
};

struct replaced_map *replaced_map_create(struct hmap *map)
{
	struct replaced_map *replaced = malloc(sizeof(*replaced));

	if (replaced != NULL)
		atomic_init(&replaced->current, map);
	return replaced;
}

void replaced_map_free(struct replaced_map *map)
{
	if (map == NULL)
		return;
	/* relaxed: there is no other thread */
	hmap_free(atomic_load_explicit(&map->current, memory_order_relaxed));
	free(map);
}

const struct hmap *replaced_map_current(const struct replaced_map *map)
{
	/* [replaced.read] pairs with [replaced.publish]: whoever has the pointer sees the whole copy. */
	return atomic_load_explicit(&map->current, memory_order_acquire);
}

/* Returns NULL where there is no memory. */
static struct hmap *copy_compact(struct hmap *map, uint64_t seed)
{
	struct hmap *copy = hmap_create_for(seed, hmap_len(map));
	struct hmap_iter iter;
	int error = copy != NULL ? 0 : -ENOMEM;

	hmap_iter_init(&iter, map);
	while (error == 0 && hmap_iter_next(&iter))
		error = hmap_insert(copy, iter.key, iter.value);
	hmap_iter_done(&iter);
	if (error == 0)
		return copy;
	hmap_free(copy);
	return NULL;
}

int replaced_map_compact(struct replaced_map *map, uint64_t seed)
{
	/* relaxed: this thread alone has ever stored it, or was started after */
	struct hmap *old = atomic_load_explicit(&map->current, memory_order_relaxed);
	struct hmap *copy = copy_compact(old, seed);

	if (copy == NULL)
		return -ENOMEM;
	assert(hmap_len(copy) == hmap_len(old));

	/* [replaced.publish] pairs with [replaced.read] */
	atomic_store_explicit(&map->current, copy, memory_order_release);
	readers_wait();
	hmap_free(old);
	return 0;
}
