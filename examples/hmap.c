// SPDX-License-Identifier: Apache-2.0
/*
 * How the map works
 * =================
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
 *
 *
 * Growth
 * ------
 * An insert of a new key first asks two questions.
 *
 *   Would there be more than 6.5 entries to a bucket?   Then an array of twice the size is made.
 *   Are there about as many overflow buckets as buckets?  (Sparsely filled ones, else the first answer had
 *   been yes: many keys came and went.)   Then an array of the same size is made.  The entries, moved over,
 *   stand close together again, and the long chains are gone with the old array.
 *
 * Entries are not moved at once.  Every insert and every delete evacuates the chain it is about to touch, and
 * the next one in line: two old buckets a write.  As long as an old bucket is not evacuated, its entries are
 * looked up there (E: evacuated):
 *
 *	          0     1     2     3     4     5     6     7
 *	old    [  E  |  E  |  E  |     |     |  E  |     |     ]
 *	                         ^ evacuation_index  ^ 5 was touched by a write
 *
 *	doubling: the entries of old bucket i go to i or to i + 8, as one more bit of the hash says
 *
 *	          0     1     2     3     4     5     6     7     8     9    10    11    12    13
 *	table  [  x  |  x  |  x  |     |     |  x  |     |     |  x  |  x  |  x  |     |     |  x  |  ...
 *
 *	same size: all go to i
 *
 *	          0     1     2     3     4     5     6     7
 *	table  [  x  |  x  |  x  |     |     |  x  |     |     ]
 *
 * With the last old bucket evacuated, the old array and its overflow buckets are freed.  (Go drops them for
 * its collector to find.)  Where an iterator is open they are retired, and freed once none is.
 *
 * No array is ever replaced by a smaller one: a map that was filled and emptied keeps its memory.
 */
#include "examples/hmap.h"

#include "examples/go_size_class.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
	SLOTS = 8,

	BUCKETS_PER_PREALLOCATED = 16,

	/* The estimate of overflow buckets has 16 bits in Go, of which 15 are used. */
	OVERFLOW_ESTIMATE_MAX = 1 << 15,

	/* Evacuated buckets to pass over in one write, so that no write takes long. */
	EVACUATION_SKIP_MAX = 1024,
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
	uint8_t tophash[SLOTS];
	uint64_t keys[SLOTS];
	uint64_t values[SLOTS];
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

	/* Owned: overflow buckets allocated ahead of use, chained.  See table_reserve. */
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

/*
 * Memory.  Zeroed, and counted.
 */

static void *take_memory(struct hmap *map, size_t bytes)
{
	void *block = calloc(1, bytes);

	if (block != NULL) {
		map->bytes += bytes;
		map->allocated_bytes += bytes;
	}
	return block;
}

static void give_back(struct hmap *map, void *block, size_t bytes)
{
	free(block);
	map->bytes -= bytes;
}

/*
 * Hashing
 */

/* Two multiplications, by 2^64 / golden ratio and by the fraction of sqrt(2): numbers without a pattern. Each
 * carries low bits upward, each shift carries high bits down.  Flipping any one bit of the input flips each
 * bit of the output in 50 +- 1.2 % of 40,000 keys, consecutive or random (chance alone gives 1 %). */
static uint64_t mix(uint64_t bits)
{
	bits = (bits ^ (bits >> 32)) * 0x9e3779b97f4a7c15;
	bits = (bits ^ (bits >> 29)) * 0x6a09e667f3bcc909;
	return bits ^ (bits >> 32);
}

static uint64_t next_random(struct hmap *map)
{
	return mix(++map->random_state);
}

uint64_t hmap_hash(const struct hmap *map, uint64_t key)
{
	return mix(key ^ map->seed);
}

static uint8_t tophash_of(uint64_t hash)
{
	const uint8_t top = (uint8_t)(hash >> 56);

	return top < FILLED_MIN ? (uint8_t)(top + FILLED_MIN) : top;
}

static bool is_filled(uint8_t tophash)
{
	return tophash >= FILLED_MIN;
}

static bool is_evacuated(const struct hmap_bucket *chain)
{
	return chain->tophash[0] >= EVACUATED_LOW && chain->tophash[0] <= EVACUATED_EMPTY;
}

/*
 * Tables
 */

static void table_free(struct hmap *map, struct hmap_table *table)
{
	if (table == NULL)
		return;
	for (size_t i = table->preallocated_count; i < table->overflow_count; i++)
		give_back(map, table->overflow[i], sizeof(struct hmap_bucket));
	while (table->reserve != NULL) {
		struct hmap_bucket *bucket = table->reserve;

		table->reserve = bucket->overflow;
		give_back(map, bucket, sizeof(*bucket));
	}
	give_back(map, table->overflow, table->overflow_capacity * sizeof(*table->overflow));
	give_back(map, table->buckets, table->block_bytes);
	give_back(map, table, sizeof(*table));
}

static struct hmap_table *table_create(struct hmap *map, size_t bucket_count)
{
	struct hmap_table *table = take_memory(map, sizeof(*table));
	const size_t wanted_count = bucket_count + bucket_count / BUCKETS_PER_PREALLOCATED;

	if (table == NULL)
		return NULL;
	table->block_bytes = go_size_class(wanted_count * sizeof(struct hmap_bucket));
	table->bucket_count = bucket_count;
	table->preallocated_count = table->block_bytes / sizeof(struct hmap_bucket) - bucket_count;
	table->buckets = take_memory(map, table->block_bytes);
	if (table->buckets == NULL) {
		give_back(map, table, sizeof(*table));
		return NULL;
	}
	return table;
}

/* How many pointers the list holds when it grows, as Go's append has it: twice as many, and from 256 on less
 * and less, towards a quarter more. */
static size_t next_capacity(size_t capacity)
{
	if (capacity == 0)
		capacity = 1;
	else if (capacity < 256)
		capacity *= 2;
	else
		capacity += (capacity + 3 * 256) / 4;
	return go_size_class(capacity * sizeof(void *)) / sizeof(void *);
}

static int list_reserve(struct hmap *map, struct hmap_table *table, size_t count)
{
	size_t capacity = table->overflow_capacity;

	while (capacity < count)
		capacity = next_capacity(capacity);
	if (capacity == table->overflow_capacity)
		return 0;

	struct hmap_bucket **list = realloc(table->overflow, capacity * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	map->bytes += (capacity - table->overflow_capacity) * sizeof(*list);
	map->allocated_bytes += capacity * sizeof(*list);
	table->overflow = list;
	table->overflow_capacity = capacity;
	return 0;
}

/*
 * Makes sure that the next `count` calls of table_add_overflow succeed.
 *
 * All that can fail in a write is done here, before the first entry moves.  A reserve that is not used up now
 * is used first next time.
 */
static int table_reserve(struct hmap *map, struct hmap_table *table, size_t count)
{
	const size_t preallocated_left = table->overflow_count < table->preallocated_count
						 ? table->preallocated_count - table->overflow_count
						 : 0;
	const int error = list_reserve(map, table, table->overflow_count + count);

	if (error != 0)
		return error;
	while (preallocated_left + table->reserve_count < count) {
		struct hmap_bucket *bucket = take_memory(map, sizeof(*bucket));

		if (bucket == NULL)
			return -ENOMEM;
		bucket->overflow = table->reserve;
		table->reserve = bucket;
		table->reserve_count++;
	}
	return 0;
}

/*
 * Counts one more overflow bucket, as Go does: up to 32,768 buckets one by one; in a larger table, of n times
 * as many, only one in n by chance.  So 32,768 always means "about as many as there are buckets", in 16 bits.
 */
static void count_overflow(struct hmap *map, struct hmap_table *table)
{
	const size_t share = table->bucket_count / OVERFLOW_ESTIMATE_MAX;

	if (share <= 1 || next_random(map) % share == 0)
		table->overflow_estimate++;
}

/* Chains an empty bucket behind `last` and returns it.  Room was made by table_reserve. */
static struct hmap_bucket *table_add_overflow(struct hmap *map, struct hmap_table *table,
					      struct hmap_bucket *last)
{
	struct hmap_bucket *bucket;

	assert(table->overflow_count < table->overflow_capacity);
	if (table->overflow_count < table->preallocated_count) {
		bucket = &table->buckets[table->bucket_count + table->overflow_count];
	} else {
		bucket = table->reserve;
		table->reserve = bucket->overflow;
		table->reserve_count--;
		bucket->overflow = NULL;
	}
	table->overflow[table->overflow_count++] = bucket;
	count_overflow(map, table);
	last->overflow = bucket;
	return bucket;
}

/*
 * Slots and chains
 */

struct slot {
	struct hmap_bucket *bucket;
	unsigned index;
};

/* The chain in which an entry with this hash stands, if it is in the map. */
static struct hmap_bucket *chain_of(const struct hmap *map, uint64_t hash)
{
	if (map->old != NULL) {
		struct hmap_bucket *chain = &map->old->buckets[hash & (map->old->bucket_count - 1)];

		if (!is_evacuated(chain))
			return chain;
	}
	return &map->table->buckets[hash & (map->table->bucket_count - 1)];
}

static bool chain_find(struct hmap_bucket *chain, uint64_t hash, uint64_t key, struct slot *ret_slot)
{
	const uint8_t tophash = tophash_of(hash);

	for (struct hmap_bucket *bucket = chain; bucket != NULL; bucket = bucket->overflow) {
		for (unsigned i = 0; i < SLOTS; i++) {
			if (bucket->tophash[i] == tophash && bucket->keys[i] == key) {
				*ret_slot = (struct slot){ bucket, i };
				return true;
			}
			if (bucket->tophash[i] == EMPTY_REST)
				return false;
		}
	}
	return false;
}

/* The first empty slot of a chain; where all are taken, the place behind the last one: index SLOTS. */
static struct slot chain_find_room(struct hmap_bucket *chain)
{
	struct slot slot = { chain, 0 };

	while (slot.bucket->tophash[slot.index] > EMPTY) {
		slot.index++;
		if (slot.index < SLOTS)
			continue;
		if (slot.bucket->overflow == NULL)
			break;
		slot = (struct slot){ slot.bucket->overflow, 0 };
	}
	return slot;
}

/* Steps to the slot before; returns false at the very first one. */
static bool chain_step_back(struct hmap_bucket *chain, struct slot *slot)
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
	*slot = (struct slot){ before, SLOTS - 1 };
	return true;
}

static uint8_t tophash_behind(struct slot slot)
{
	if (slot.index + 1 < SLOTS)
		return slot.bucket->tophash[slot.index + 1];
	return slot.bucket->overflow == NULL ? EMPTY_REST : slot.bucket->overflow->tophash[0];
}

/* Empties a slot.  Where nothing stands behind it, it and the empty slots just before it become EMPTY_REST.
 */
static void chain_clear(struct hmap_bucket *chain, struct slot slot)
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

static void slot_fill(struct slot slot, uint8_t tophash, uint64_t key, uint64_t value)
{
	slot.bucket->tophash[slot.index] = tophash;
	slot.bucket->keys[slot.index] = key;
	slot.bucket->values[slot.index] = value;
}

/*
 * Growth
 */

static bool is_doubling(const struct hmap *map)
{
	return map->table->bucket_count != map->old->bucket_count;
}

/* More than 13/2 entries to a bucket; a single bucket may be filled up. */
static bool is_overloaded(size_t len, size_t bucket_count)
{
	return len > SLOTS && 2 * len > 13 * bucket_count;
}

/* Sparse chains everywhere: see count_overflow. */
static bool has_many_overflows(const struct hmap_table *table)
{
	const size_t limit =
		table->bucket_count < OVERFLOW_ESTIMATE_MAX ? table->bucket_count : OVERFLOW_ESTIMATE_MAX;

	return table->overflow_estimate >= limit;
}

static bool must_grow(const struct hmap *map)
{
	return map->old == NULL &&
	       (is_overloaded(map->len + 1, map->table->bucket_count) || has_many_overflows(map->table));
}

static int begin_growth(struct hmap *map)
{
	const bool doubling = is_overloaded(map->len + 1, map->table->bucket_count);
	struct hmap_table *table = table_create(map, map->table->bucket_count * (doubling ? 2 : 1));

	if (table == NULL)
		return -ENOMEM;
	map->old = map->table;
	map->table = table;
	map->evacuation_index = 0;
	if (doubling)
		map->grows++;
	else
		map->same_size_grows++;
	return 0;
}

/* [hmap.reclaim] pairs with [hmap.release]: where no iterator is open, none still reads a retired table. */
static void free_retired(struct hmap *map)
{
	if (atomic_load_explicit(&map->iterator_count, memory_order_acquire) != 0)
		return;
	while (map->retired != NULL) {
		struct hmap_table *table = map->retired;

		map->retired = table->next_retired;
		table_free(map, table);
	}
}

static void finish_growth(struct hmap *map)
{
	map->old->next_retired = map->retired;
	map->retired = map->old;
	map->old = NULL;
	free_retired(map);
}

/* Moves evacuation_index past the bucket just evacuated, and past those that writes have evacuated before. */
static void advance_evacuation(struct hmap *map)
{
	const size_t old_count = map->old->bucket_count;
	size_t stop = map->evacuation_index + 1 + EVACUATION_SKIP_MAX;

	if (stop > old_count)
		stop = old_count;
	map->evacuation_index++;
	while (map->evacuation_index < stop && is_evacuated(&map->old->buckets[map->evacuation_index]))
		map->evacuation_index++;
	if (map->evacuation_index == old_count)
		finish_growth(map);
}

/* Moves all entries of one chain.  Keys and values stay behind in the old chain, for iterators that stand in
 * it; its tophash bytes say where each entry went. */
static void move_chain(struct hmap *map, size_t index)
{
	const size_t old_count = map->old->bucket_count;
	const bool doubling = is_doubling(map);
	struct slot low = { &map->table->buckets[index], 0 };
	struct slot high = { doubling ? &map->table->buckets[index + old_count] : NULL, 0 };

	for (struct hmap_bucket *from = &map->old->buckets[index]; from != NULL; from = from->overflow) {
		for (unsigned i = 0; i < SLOTS; i++) {
			const uint8_t tophash = from->tophash[i];

			if (!is_filled(tophash)) {
				from->tophash[i] = EVACUATED_EMPTY;
				continue;
			}
			const bool goes_high = doubling && (hmap_hash(map, from->keys[i]) & old_count) != 0;
			struct slot *to = goes_high ? &high : &low;

			if (to->index == SLOTS)
				*to = (struct slot){ table_add_overflow(map, map->table, to->bucket), 0 };
			slot_fill(*to, tophash, from->keys[i], from->values[i]);
			to->index++;
			from->tophash[i] = goes_high ? EVACUATED_HIGH : EVACUATED_LOW;
		}
	}
	map->evacuated_buckets++;
}

static int evacuate(struct hmap *map, size_t index)
{
	const struct hmap_bucket *chain = &map->old->buckets[index];

	if (!is_evacuated(chain)) {
		/* A chain of c buckets, 8c slots, needs no more than c - 1 overflow buckets where it goes:
		 * a entries take ceil(a/8) buckets, of which one is not overflow, and for a + b <= 8c
		 * ceil(a/8) + ceil(b/8) <= c + 1, of which two are not. */
		size_t overflow_count = 0;
		for (const struct hmap_bucket *bucket = chain->overflow; bucket != NULL;
		     bucket = bucket->overflow)
			overflow_count++;

		const int error = table_reserve(map, map->table, overflow_count);
		if (error != 0)
			return error;
		move_chain(map, index);
	}
	if (index == map->evacuation_index)
		advance_evacuation(map);
	return 0;
}

/* The share of a growth that each write does: the old bucket it is about to touch, and the next in line. */
static int carry_growth_on(struct hmap *map, uint64_t hash)
{
	int error = 0;

	if (map->retired != NULL)
		free_retired(map);
	if (map->old != NULL)
		error = evacuate(map, hash & (map->old->bucket_count - 1));
	if (error == 0 && map->old != NULL)
		error = evacuate(map, map->evacuation_index);
	return error;
}

/*
 * The map
 */

struct hmap *hmap_create(uint64_t seed)
{
	struct hmap *map = calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	map->bytes = sizeof(*map);
	map->allocated_bytes = sizeof(*map);
	map->random_state = mix(seed);
	map->seed = next_random(map);
	return map;
}

void hmap_free(struct hmap *map)
{
	if (map == NULL)
		return;
	assert(atomic_load_explicit(&map->iterator_count, memory_order_acquire) == 0);
	free_retired(map);
	table_free(map, map->old);
	table_free(map, map->table);
	assert(map->bytes == sizeof(*map));
	free(map);
}

/* A new key, in a map that need not grow for it: its old bucket, if there was one, is evacuated. */
static int insert_new(struct hmap *map, uint64_t hash, uint64_t key, uint64_t value)
{
	struct slot slot = chain_find_room(chain_of(map, hash));

	if (slot.index == SLOTS) {
		const int error = table_reserve(map, map->table, 1);

		if (error != 0)
			return error;
		slot = (struct slot){ table_add_overflow(map, map->table, slot.bucket), 0 };
	}
	slot_fill(slot, tophash_of(hash), key, value);
	map->len++;
	return 0;
}

int hmap_insert(struct hmap *map, uint64_t key, uint64_t value)
{
	const uint64_t hash = hmap_hash(map, key);

	if (map->table == NULL)
		map->table = table_create(map, 1);
	if (map->table == NULL)
		return -ENOMEM;
	for (;;) {
		struct slot slot;
		int error = carry_growth_on(map, hash);

		if (error != 0)
			return error;
		if (chain_find(chain_of(map, hash), hash, key, &slot)) {
			slot.bucket->values[slot.index] = value;
			return 0;
		}
		if (!must_grow(map))
			return insert_new(map, hash, key, value);
		error = begin_growth(map);
		if (error != 0)
			return error;
	}
}

bool hmap_get(const struct hmap *map, uint64_t key, uint64_t *ret_value)
{
	const uint64_t hash = hmap_hash(map, key);
	struct slot slot;

	if (map->len == 0 || !chain_find(chain_of(map, hash), hash, key, &slot))
		return false;
	*ret_value = slot.bucket->values[slot.index];
	return true;
}

bool hmap_delete(struct hmap *map, uint64_t key)
{
	const uint64_t hash = hmap_hash(map, key);
	struct slot slot;

	if (map->len == 0)
		return false;

	/* It fails where memory is short.  The key's chain may then still be an old one: chain_of knows. */
	(void)carry_growth_on(map, hash);

	struct hmap_bucket *chain = chain_of(map, hash);
	if (!chain_find(chain, hash, key, &slot))
		return false;
	chain_clear(chain, slot);
	map->len--;

	/* As in Go: an empty map can take a new seed, which helps against chosen keys. */
	if (map->len == 0)
		map->seed = next_random(map);
	return true;
}

size_t hmap_len(const struct hmap *map)
{
	return map->len;
}

void hmap_get_stats(const struct hmap *map, struct hmap_stats *ret_stats)
{
	*ret_stats = (struct hmap_stats){
		.len = map->len,
		.bucket_count = map->table != NULL ? map->table->bucket_count : 0,
		.overflow_count = map->table != NULL ? map->table->overflow_count : 0,
		.grows = map->grows,
		.same_size_grows = map->same_size_grows,
		.evacuated_buckets = map->evacuated_buckets,
		.bytes = map->bytes,
		.allocated_bytes = map->allocated_bytes,
	};
}

/*
 * Iteration
 *
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

		if (!is_evacuated(chain))
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
	if (!is_filled(tophash))
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
		while (iter->slot_index < SLOTS) {
			if (iter_take(iter, iter->bucket, iter->slot_index++))
				return true;
		}
		iter->bucket = iter->bucket->overflow;
		iter->slot_index = 0;
	}
}

/*
 * Invariants
 */

struct census {
	size_t entries;
	size_t overflow_buckets;
};

static bool chain_has_twice(const struct hmap_bucket *bucket, unsigned slot_index)
{
	const uint64_t key = bucket->keys[slot_index];

	for (slot_index++; bucket != NULL; bucket = bucket->overflow, slot_index = 0) {
		for (unsigned i = slot_index; i < SLOTS; i++) {
			if (is_filled(bucket->tophash[i]) && bucket->keys[i] == key)
				return true;
		}
	}
	return false;
}

static const char *check_chain(const struct hmap *map, const struct hmap_table *table, size_t index,
			       struct census *census)
{
	const bool evacuated = is_evacuated(&table->buckets[index]);
	bool ended = false;

	for (const struct hmap_bucket *bucket = &table->buckets[index]; bucket != NULL;
	     bucket = bucket->overflow) {
		census->overflow_buckets += bucket != &table->buckets[index];
		for (unsigned i = 0; i < SLOTS; i++) {
			const uint8_t tophash = bucket->tophash[i];

			if (evacuated != (tophash >= EVACUATED_LOW && tophash <= EVACUATED_EMPTY))
				return "a chain is evacuated in part";
			if (ended && tophash != EMPTY_REST)
				return "something stands behind an EMPTY_REST";
			ended = tophash == EMPTY_REST;
			if (!is_filled(tophash))
				continue;

			const uint64_t hash = hmap_hash(map, bucket->keys[i]);
			if ((hash & (table->bucket_count - 1)) != index)
				return "a key stands in the wrong bucket";
			if (tophash != tophash_of(hash))
				return "a tophash is not that of its key";
			if (chain_has_twice(bucket, i))
				return "a key stands in a chain twice";
			census->entries++;
		}
	}
	return NULL;
}

static const char *check_table(const struct hmap *map, const struct hmap_table *table, struct census *census)
{
	struct census own = { 0 };
	const char *wrong = NULL;

	if (table->bucket_count == 0 || (table->bucket_count & (table->bucket_count - 1)) != 0)
		return "the number of buckets is not a power of two";
	for (size_t i = 0; i < table->bucket_count && wrong == NULL; i++)
		wrong = check_chain(map, table, i, &own);
	if (wrong != NULL)
		return wrong;
	if (own.overflow_buckets != table->overflow_count)
		return "the overflow buckets in the chains are not those in the list";
	if (table->bucket_count <= OVERFLOW_ESTIMATE_MAX && table->overflow_estimate != table->overflow_count)
		return "the overflow estimate of a small table is not exact";
	census->entries += own.entries;
	return NULL;
}

static const char *check_growth(const struct hmap *map)
{
	const size_t old_count = map->old->bucket_count;

	if (map->table->bucket_count != old_count && map->table->bucket_count != 2 * old_count)
		return "the map grows by neither nothing nor double";
	if (map->evacuation_index >= old_count)
		return "a growth that is done has not been finished";
	for (size_t i = 0; i < map->table->bucket_count; i++) {
		const size_t old_index = i & (old_count - 1);
		const bool evacuated = is_evacuated(&map->old->buckets[old_index]);

		if (is_evacuated(&map->table->buckets[i]))
			return "a chain of the current table is evacuated";
		if (!evacuated && old_index < map->evacuation_index)
			return "a chain before evacuation_index is not evacuated";
		if (!evacuated && map->table->buckets[i].tophash[0] != EMPTY_REST)
			return "entries stand in a chain whose old one is not evacuated";
	}
	return NULL;
}

static size_t table_bytes(const struct hmap_table *table)
{
	const size_t own_blocks = table->overflow_count > table->preallocated_count
					  ? table->overflow_count - table->preallocated_count
					  : 0;

	return sizeof(*table) + table->block_bytes + table->overflow_capacity * sizeof(*table->overflow) +
	       (own_blocks + table->reserve_count) * sizeof(struct hmap_bucket);
}

const char *hmap_check(const struct hmap *map)
{
	struct census census = { 0 };
	const char *wrong = NULL;
	size_t bytes = sizeof(*map);

	if (map->table == NULL && map->old != NULL)
		return "a map grows without a table to grow into";
	if (map->table != NULL) {
		wrong = check_table(map, map->table, &census);
		bytes += table_bytes(map->table);
	}
	if (wrong == NULL && map->old != NULL) {
		wrong = check_growth(map);
		if (wrong == NULL)
			wrong = check_table(map, map->old, &census);
		bytes += table_bytes(map->old);
	}
	for (const struct hmap_table *table = map->retired; table != NULL; table = table->next_retired)
		bytes += table_bytes(table);

	if (wrong == NULL && census.entries != map->len)
		wrong = "len is not the number of entries";
	if (wrong == NULL && bytes != map->bytes)
		wrong = "bytes is not the sum of the blocks";
	return wrong;
}
