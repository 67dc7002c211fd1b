// SPDX-License-Identifier: Apache-2.0
/*
 * What a map is made of.  For the files of the map only: hmap.h is for everybody else.
 *
 * Buckets.  Entries live in buckets of eight, 144 bytes each:
 *
 *	0          8                              72                             136       144
 *	+----------+----+----+-- ... --+----+----+----+----+-- ... --+----+----+----------+
 *	| tophash  | k0 | k1 |         | k6 | k7 | v0 | v1 |         | v6 | v7 | overflow |
 *	| 8 x 1    |                                                           | pointer  |
 *	+----------+----+----+-- ... --+----+----+----+----+-- ... --+----+----+----------+
 *
 * A key's hash says where to look.  Its low bits name a bucket, its top byte is kept in tophash, so that most
 * keys that are not the right one are passed over without being read:
 *
 *	 63       56 55                                        log2(bucket_count)        0
 *	+-----------+----------------------------------------------------+-----------------+
 *	|  tophash  |                                                    |  bucket index   |
 *	+-----------+----------------------------------------------------+-----------------+
 *
 * Overflow.  A ninth key for a bucket goes into an overflow bucket, chained behind it.  From 16 buckets on,
 * the block that holds the array has room for one overflow bucket to sixteen buckets, and for what Go's
 * allocator rounds up besides; when those are used up, overflow buckets are allocated one by one:
 *
 *	table->buckets, one block:
 *
 *	|<------- bucket_count -------->|<--- preallocated --->|
 *	+-----+-----+-----+- ... -+-----+-----+-----+-- ... ---+
 *	|  0  |  1  |  2  |       | n-1 |  n  | n+1 |          |
 *	+-----+-----+-----+- ... -+-----+-----+-----+-- ... ---+
 *
 *	chain of bucket 0:   [ 0 ]
 *	chain of bucket 1:   [ 1 ] --> [ n ]
 *	chain of bucket 2:   [ 2 ] --> [ n+1 ] --> [ a block of its own ]
 *
 * Deleting an entry empties its slot and no more.  Chains never get shorter while their table lives.
 */
#ifndef EXAMPLES_HMAP_LAYOUT_H
#define EXAMPLES_HMAP_LAYOUT_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HMAP_SLOTS = 8,

	/* The estimate of overflow buckets has 16 bits in Go, of which 15 are used. */
	HMAP_OVERFLOW_ESTIMATE_MAX = 1 << 15,
};

/*
 * What a tophash byte says of its slot.  A bucket of an old table is evacuated as a whole, so its first byte
 * tells: EVACUATED_*, or anything else.
 */
enum {
	EMPTY_REST = 0,      /* empty, and so are all slots behind it in the chain: a search ends here */
	EMPTY = 1,           /* empty */
	EVACUATED_LOW = 2,   /* the entry has gone to the bucket of the same index; key and value stay */
	EVACUATED_HIGH = 3,  /* to the one in the upper half of a doubled table; key and value stay */
	EVACUATED_EMPTY = 4, /* was empty when its bucket was evacuated */
	FILLED_MIN = 5,      /* from here on: an entry, and the top byte of its key's hash */
};

struct hmap_bucket {
	uint8_t tophash[HMAP_SLOTS];
	uint64_t keys[HMAP_SLOTS];
	uint64_t values[HMAP_SLOTS];
	struct hmap_bucket *overflow; /* borrowed from the table; NULL at the end of the chain */
};
static_assert(sizeof(struct hmap_bucket) == 144, "as in Go for 8-byte keys and values");

/* An array of buckets with the overflow buckets chained to it. */
struct hmap_table {
	struct hmap_bucket *buckets; /* owned, one block: bucket_count, then preallocated_count */
	size_t block_bytes;
	size_t bucket_count; /* a power of two */
	size_t preallocated_count;

	/* Every overflow bucket in use, in the order of use: first the preallocated ones, which belong to
	 * the block above, then those with a block of their own, which are owned here. */
	struct hmap_bucket **overflow;
	size_t overflow_count;
	size_t overflow_capacity;

	/* Owned: overflow buckets allocated ahead of use, chained.  See hmap_table_reserve. */
	struct hmap_bucket *reserve;
	size_t reserve_count;

	/* overflow_count as Go counts it, exact up to 32,768 buckets: see count_overflow */
	uint32_t overflow_estimate;

	struct hmap_table *next_retired; /* owned by the map */
};

struct hmap {
	size_t len;
	uint64_t seed;
	uint64_t random_state;

	struct hmap_table *table; /* owned; NULL before the first insert */
	struct hmap_table *old;   /* owned; NULL but during a growth */
	size_t evacuation_index;  /* all buckets of old below it are evacuated */

	struct hmap_table *retired; /* owned, chained: outgrown, but an iterator may stand in them */
	atomic_uint iterator_count; /* open iterators, of any thread that reads */

	uint64_t grows;
	uint64_t same_size_grows;
	uint64_t evacuated_buckets;
	uint64_t bytes;
	uint64_t allocated_bytes;
};

static inline uint8_t hmap_tophash_of(uint64_t hash)
{
	const uint8_t top = (uint8_t)(hash >> 56);

	return top < FILLED_MIN ? (uint8_t)(top + FILLED_MIN) : top;
}

static inline bool hmap_is_filled(uint8_t tophash)
{
	return tophash >= FILLED_MIN;
}

static inline bool hmap_is_evacuated(const struct hmap_bucket *chain)
{
	return chain->tophash[0] >= EVACUATED_LOW && chain->tophash[0] <= EVACUATED_EMPTY;
}

/* The next number of the map's own sequence, which its seed alone determines. */
uint64_t hmap_next_random(struct hmap *map);

#endif
