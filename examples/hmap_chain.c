// SPDX-License-Identifier: Apache-2.0
#include "examples/hmap_chain.h"

#include "examples/hmap_layout.h"

#include <stddef.h>

struct hmap_bucket *hmap_chain_of(const struct hmap *map, uint64_t hash)
{
	if (map->old != NULL) {
		struct hmap_bucket *chain = &map->old->buckets[hash & (map->old->bucket_count - 1)];

		if (!hmap_is_evacuated(chain))
			return chain;
	}
	return &map->table->buckets[hash & (map->table->bucket_count - 1)];
}

bool hmap_chain_find(struct hmap_bucket *chain, uint64_t hash, uint64_t key, struct hmap_slot *ret_slot)
{
	const uint8_t tophash = hmap_tophash_of(hash);

	for (struct hmap_bucket *bucket = chain; bucket != NULL; bucket = bucket->overflow) {
		for (unsigned i = 0; i < HMAP_SLOTS; i++) {
			if (bucket->tophash[i] == tophash && bucket->keys[i] == key) {
				*ret_slot = (struct hmap_slot){ bucket, i };
				return true;
			}
			if (bucket->tophash[i] == EMPTY_REST)
				return false;
		}
	}
	return false;
}

struct hmap_slot hmap_chain_find_room(struct hmap_bucket *chain)
{
	struct hmap_slot slot = { chain, 0 };

	while (slot.bucket->tophash[slot.index] > EMPTY) {
		slot.index++;
		if (slot.index < HMAP_SLOTS)
			continue;
		if (slot.bucket->overflow == NULL)
			break;
		slot = (struct hmap_slot){ slot.bucket->overflow, 0 };
	}
	return slot;
}

/* Steps to the slot before; returns false at the very first one. */
static bool chain_step_back(struct hmap_bucket *chain, struct hmap_slot *slot)
{
	if (slot->index > 0) {
		slot->index--;
		return true;
	}
	if (slot->bucket == chain)
		return false;

	struct hmap_bucket *before = chain;
	while (before->overflow != slot->bucket)
		before = before->overflow;
	*slot = (struct hmap_slot){ before, HMAP_SLOTS - 1 };
	return true;
}

static uint8_t tophash_behind(struct hmap_slot slot)
{
	if (slot.index + 1 < HMAP_SLOTS)
		return slot.bucket->tophash[slot.index + 1];
	return slot.bucket->overflow == NULL ? EMPTY_REST : slot.bucket->overflow->tophash[0];
}

/* Empties a slot.  Where nothing stands behind it, it and the empty slots just before it become EMPTY_REST.
 */
void hmap_chain_clear(struct hmap_bucket *chain, struct hmap_slot slot)
{
	slot.bucket->tophash[slot.index] = EMPTY;
	if (tophash_behind(slot) != EMPTY_REST)
		return;
	while (slot.bucket->tophash[slot.index] == EMPTY) {
		slot.bucket->tophash[slot.index] = EMPTY_REST;
		if (!chain_step_back(chain, &slot))
			return;
	}
}

void hmap_slot_fill(struct hmap_slot slot, uint8_t tophash, uint64_t key, uint64_t value)
{
	slot.bucket->tophash[slot.index] = tophash;
	slot.bucket->keys[slot.index] = key;
	slot.bucket->values[slot.index] = value;
}
