// SPDX-License-Identifier: Apache-2.0
/*
 * Chains: a bucket and the overflow buckets behind it.  All keys that land in the bucket stand in its chain,
 * each once.  Nothing here allocates.  For the files of the map only.
 */
#ifndef EXAMPLES_HMAP_CHAIN_H
#define EXAMPLES_HMAP_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

struct hmap;
struct hmap_bucket;

struct hmap_slot {
	struct hmap_bucket *bucket; /* borrowed */
	unsigned index;             /* HMAP_SLOTS: the place behind the bucket's last slot */
};

/* The chain in which an entry with this hash stands, if it is in the map.  The map has a table. */
struct hmap_bucket *hmap_chain_of(const struct hmap *map, uint64_t hash);

/* Returns whether `key` stands in the chain, and where. */
bool hmap_chain_find(struct hmap_bucket *chain, uint64_t hash, uint64_t key, struct hmap_slot *ret_slot);

/* The first empty slot of a chain; where all are taken, the place behind the last one: index HMAP_SLOTS. */
struct hmap_slot hmap_chain_find_room(struct hmap_bucket *chain);

void hmap_slot_fill(struct hmap_slot slot, uint8_t tophash, uint64_t key, uint64_t value);

/* Empties a slot of the chain. */
void hmap_chain_clear(struct hmap_bucket *chain, struct hmap_slot slot);

#endif
