// SPDX-License-Identifier: Apache-2.0
/*
 * An iterator walks the table that is current when it starts, to the end, also when the map grows out of it:
 * evacuated chains keep their keys, and what has become of an entry is then looked up in the map.
 *
 * Where it starts during a growth, its table is still being filled.  A chain of it whose entries are not
 * there yet is walked in the old table, leaving out the entries that will go to the other half:
 *
 *	old    [  ...  |  i: not evacuated  |  ...  ]
 *	table  [  ...  |  i: empty  |  ...  |  i + n: empty  |  ...  ]
 *
 *	chain i of table:       those in chain i of old whose hash has bit n clear
 *	chain i + n of table:   those in chain i of old whose hash has bit n set
 *
 * Each entry so belongs to one chain of the iterator's table, and each chain is walked once, in one place: no
 * entry comes twice, none is left out.
 */
#include "examples/hmap.h"
#include "examples/hmap_layout.h"

void hmap_iter_init(struct hmap_iter *iter, struct hmap *map)
{
	/* relaxed: no write runs beside this, so whoever frees tables next comes after it anyway */
	atomic_fetch_add_explicit(&map->iterator_count, 1, memory_order_relaxed);
	*iter = (struct hmap_iter){ .map = map, .table = map->table };
}

void hmap_iter_done(struct hmap_iter *iter)
{
	/* [hmap.release] pairs with [hmap.reclaim]: all that this iterator has read was read before. */
	atomic_fetch_sub_explicit(&iter->map->iterator_count, 1, memory_order_release);
}

/* Where the entries of a chain of the iterator's table stand now. */
static struct hmap_bucket *iter_chain(const struct hmap_iter *iter, size_t index)
{
	const struct hmap *map = iter->map;

	if (iter->table == map->table && map->old != NULL) {
		struct hmap_bucket *chain = &map->old->buckets[index & (map->old->bucket_count - 1)];

		if (!hmap_is_evacuated(chain))
			return chain;
	}
	return &iter->table->buckets[index];
}

/* Whether the entry in this slot is one to hand out; if so, it is in iter->key and iter->value. */
static bool iter_take(struct hmap_iter *iter, const struct hmap_bucket *bucket, unsigned slot_index)
{
	const uint8_t tophash = bucket->tophash[slot_index];
	const size_t chain_index = iter->next_bucket_index - 1;

	if (tophash <= EMPTY || tophash == EVACUATED_EMPTY)
		return false;

	iter->key = bucket->keys[slot_index];
	if ((hmap_hash(iter->map, iter->key) & (iter->table->bucket_count - 1)) != chain_index)
		return false;
	if (!hmap_is_filled(tophash))
		return hmap_get(iter->map, iter->key, &iter->value);
	iter->value = bucket->values[slot_index];
	return true;
}

bool hmap_iter_next(struct hmap_iter *iter)
{
	for (;;) {
		if (iter->bucket == NULL) {
			if (iter->table == NULL || iter->next_bucket_index == iter->table->bucket_count)
				return false;
			iter->bucket = iter_chain(iter, iter->next_bucket_index++);
		}
		while (iter->slot_index < HMAP_SLOTS) {
			if (iter_take(iter, iter->bucket, iter->slot_index++))
				return true;
		}
		iter->bucket = iter->bucket->overflow;
		iter->slot_index = 0;
	}
}
