// SPDX-License-Identifier: Apache-2.0
/*
 * A hash map of 64-bit keys and values that is laid out and grows as the maps of Go 1.19 do
 * (runtime/map.go), so that what is said about the memory of Go maps can be seen in a C program.
 * hmap.c says which file to read for which part of it.
 *
 * Threads: as in Go.  Any number of threads may read (get, iterate, stats) while none writes; a thread that
 * inserts or deletes must be alone.
 *
 * Memory: a map that grew never shrinks.  Deleting gives nothing back; only hmap_free does.
 */
#ifndef EXAMPLES_HMAP_H
#define EXAMPLES_HMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hmap;

/*
 * Returns an empty map, to be freed with hmap_free, or NULL where there is no memory.
 *
 * The seed decides where keys land: the same seed and the same calls give the same map, to the byte.
 */
struct hmap *hmap_create(uint64_t seed);

/* The same with room for `len` entries: it does not grow before there are more. */
struct hmap *hmap_create_for(uint64_t seed, size_t len);

/* Accepts NULL.  No iterator may be open. */
void hmap_free(struct hmap *map);

/*
 * Stores `value` under `key`, in place of an earlier value.
 *
 * Returns 0, or -ENOMEM: the map then holds what it held before and stays usable, and the same call may
 * succeed later.  Even the replacement of a value can fail so, since every write carries a growth onward.
 */
int hmap_insert(struct hmap *map, uint64_t key, uint64_t value);

/* Returns whether `key` is there, and if so its value in *ret_value. */
bool hmap_get(const struct hmap *map, uint64_t key, uint64_t *ret_value);

/* Returns whether `key` was there.  Never fails: a growth that lacks memory waits for a later write. */
bool hmap_delete(struct hmap *map, uint64_t key);

size_t hmap_len(const struct hmap *map);

/*
 * Walks over all entries, in no order worth relying on.
 *
 *	struct hmap_iter iter;
 *
 *	hmap_iter_init(&iter, map);
 *	while (hmap_iter_next(&iter))
 *		use(iter.key, iter.value);
 *	hmap_iter_done(&iter);
 *
 * The map may be written to between the steps, and may grow.  An entry that is there from init to the end
 * comes exactly once, with the value it has at that step; one that is deleted before it was reached does not
 * come; one that is inserted on the way comes or not.  (Deleted and inserted again, it is a new entry.)
 *
 * As long as any iterator is open, the map keeps the bucket arrays it has grown out of: hmap_iter_done is a
 * must, also when the walk is left early.
 */
struct hmap_table;
struct hmap_bucket;

struct hmap_iter {
	uint64_t key; /* valid after hmap_iter_next has returned true */
	uint64_t value;

	/* private */
	struct hmap *map;         /* borrowed; outlives the iterator */
	struct hmap_table *table; /* borrowed: the array to walk, kept by the map while an iterator is open */
	struct hmap_bucket *bucket; /* borrowed: where the walk stands; NULL between two chains */
	size_t next_bucket_index;   /* in table */
	unsigned slot_index;        /* in bucket */
};

void hmap_iter_init(struct hmap_iter *iter, struct hmap *map);
bool hmap_iter_next(struct hmap_iter *iter);
void hmap_iter_done(struct hmap_iter *iter);

struct hmap_stats {
	uint64_t len;
	uint64_t bucket_count; /* of the current array, without overflow buckets; 0 before the first insert */
	uint64_t overflow_count;    /* overflow buckets chained to them, exact */
	uint64_t grows;             /* times the array was doubled */
	uint64_t same_size_grows;   /* times it was replaced by one of the same size */
	uint64_t evacuated_buckets; /* buckets of outgrown arrays that were emptied, over all growths */
	uint64_t bytes;             /* asked of malloc and not yet freed */
	uint64_t allocated_bytes;   /* asked of malloc since hmap_create */
};

void hmap_get_stats(const struct hmap *map, struct hmap_stats *ret_stats);

/* For structures that consist of several maps: adds each figure to that of *sum. */
void hmap_stats_add(struct hmap_stats *sum, const struct hmap_stats *stats);

/*
 * The hash of `key` in this map, now: its low bits name the bucket.  For those who want to know where a key
 * lands.  A map that becomes empty takes a new seed.
 */
uint64_t hmap_hash(const struct hmap *map, uint64_t key);

/*
 * Checks the whole map against its invariants.  Returns NULL, or what is wrong.  Takes time in proportion to
 * the map.  Where assertions are on, the map asks by itself at the end of each growth.
 */
const char *hmap_check(const struct hmap *map);

#endif
