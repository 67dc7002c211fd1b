// SPDX-License-Identifier: Apache-2.0
#include "examples/hmap_table.h"

#include "examples/go_size_class.h"
#include "examples/hmap_layout.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_PER_PREALLOCATED = 16 };

/* Memory is zeroed, and counted. */
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

void hmap_table_free(struct hmap *map, struct hmap_table *table)
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

struct hmap_table *hmap_table_create(struct hmap *map, size_t bucket_count)
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

int hmap_table_reserve(struct hmap *map, struct hmap_table *table, size_t count)
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
	const size_t share = table->bucket_count / HMAP_OVERFLOW_ESTIMATE_MAX;

	if (share <= 1 || hmap_next_random(map) % share == 0)
		table->overflow_estimate++;
}

struct hmap_bucket *hmap_table_add_overflow(struct hmap *map, struct hmap_table *table,
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

size_t hmap_table_bytes(const struct hmap_table *table)
{
	const size_t own_blocks = table->overflow_count > table->preallocated_count
					  ? table->overflow_count - table->preallocated_count
					  : 0;

	return sizeof(*table) + table->block_bytes + table->overflow_capacity * sizeof(*table->overflow) +
	       (own_blocks + table->reserve_count) * sizeof(struct hmap_bucket);
}
