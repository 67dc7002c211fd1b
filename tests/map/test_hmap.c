// SPDX-License-Identifier: Apache-2.0
/*
 * examples/hmap against Go's rules, and without memory.
 */
#include "tests/map/hmap_common.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/*
 * Go's rules
 */

static void test_doubling_thresholds(void)
{
	struct hmap *map = new_map(1);
	uint64_t bucket_count = 1;

	EXPECT(stats_of(map).bucket_count == 0);
	for (uint64_t key = 0; key < 500000; key++) {
		EXPECT(hmap_insert(map, key, key) == 0);

		/* 8 in the first bucket, and 6.5 to a bucket from there on */
		if (key + 1 > 8 && (key + 1) * 2 > bucket_count * 13)
			bucket_count *= 2;
		EXPECT(stats_of(map).bucket_count == bucket_count);
	}
	EXPECT(bucket_count == 131072);
	EXPECT(stats_of(map).grows == 17);
	EXPECT(stats_of(map).same_size_grows == 0);
	free_map(map);
}

/* What Go 1.19's heap profiler showed of a map that grew to a million entries: its arrays, and its lists of
 * overflow buckets. */
static void test_block_sizes(void)
{
	/* clang-format off */
	static const size_t array_bytes[] = {
		288, 576, 1152, 2688, 5376, 10240, 20480, 40960, 81920, 163840, 319488, 630784, 1253376,
		2506752, 5013504, 10027008, 20054016, 40108032,
	};
	static const size_t list_bytes[] = {
		8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 6784, 10240, 14336, 20480, 27264, 40960,
		57344, 73728, 98304, 131072, 172032, 221184,
	};
	/* clang-format on */
	struct hmap *map = new_map(2);

	for (uint64_t key = 0; key < 1000000; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	EXPECT(memory.large_count * sizeof(size_t) == sizeof(array_bytes));
	EXPECT(memcmp(memory.large_bytes, array_bytes, sizeof(array_bytes)) == 0);
	EXPECT(memory.list_count * sizeof(size_t) == sizeof(list_bytes));
	EXPECT(memcmp(memory.list_bytes, list_bytes, sizeof(list_bytes)) == 0);
	free_map(map);
}

/* Overflow buckets follow from how many keys land in each bucket, and the first of them cost no malloc. */
static void test_overflow_count(void)
{
	enum { BUCKETS = 4096, BLOCK_BYTES = 630784 };
	static uint8_t occupancy[BUCKETS];
	struct hmap *map = new_map(3);
	uint64_t expected = 0;
	uint64_t key = 0;

	for (; stats_of(map).bucket_count < BUCKETS; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	memory.overflow_bucket_callocs = 0;
	for (; key < BUCKETS * 13 / 2; key++)
		EXPECT(hmap_insert(map, key, key) == 0);

	EXPECT(stats_of(map).evacuated_buckets == BUCKETS - 1); /* the growth is over */
	while (key-- > 0)
		occupancy[hmap_hash(map, key) & (BUCKETS - 1)]++;
	for (size_t i = 0; i < BUCKETS; i++)
		expected += occupancy[i] > 8 ? (occupancy[i] - 1) / 8 : 0;
	EXPECT(stats_of(map).overflow_count == expected);

	/* (A chain that splits may leave one bucket in reserve.) */
	const uint64_t preallocated = BLOCK_BYTES / 144 - BUCKETS;
	EXPECT(expected > preallocated + 100);
	EXPECT(memory.overflow_bucket_callocs >= expected - preallocated);
	EXPECT(memory.overflow_bucket_callocs <= expected - preallocated + 1);
	free_map(map);
}

/* Two old buckets a write, and the old array is freed by the very write that evacuates the last of them. */
static void test_evacuation_pace(void)
{
	enum { OLD_COUNT = 1024, OLD_BYTES = 163840, NEW_BYTES = 319488 };
	struct hmap *map = new_map(4);
	uint64_t key = 0;
	unsigned write_count = 0;

	for (; key < OLD_COUNT * 13 / 2; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	EXPECT(stats_of(map).evacuated_buckets == OLD_COUNT - 1);
	EXPECT(memory_large_bytes_live() == OLD_BYTES);

	uint64_t evacuated = 0;
	while (evacuated < OLD_COUNT) {
		if (write_count % 2 == 0)
			EXPECT(hmap_insert(map, key++, 0) == 0);
		else
			EXPECT(hmap_delete(map, write_count));
		write_count++;

		const uint64_t before = evacuated;
		evacuated = stats_of(map).evacuated_buckets - (OLD_COUNT - 1);
		EXPECT(evacuated >= before && evacuated <= before + 2);
		EXPECT(memory_large_bytes_live() == NEW_BYTES + (evacuated < OLD_COUNT ? OLD_BYTES : 0));
		EXPECT(hmap_check(map) == NULL);
	}
	EXPECT(write_count >= OLD_COUNT / 2 && write_count <= OLD_COUNT);
	EXPECT(stats_of(map).grows == 11);
	free_map(map);
}

/* Sixteen buckets, each made to overflow once and emptied again: the next new key makes the map grow, and not
 * before. */
static void test_same_size_growth(void)
{
	enum { BUCKETS = 16, KEYS = 53 }; /* one more than 8 buckets take */
	struct hmap *map = new_map(5);
	uint64_t counter = KEYS;

	for (uint64_t key = 0; key < KEYS; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	for (uint64_t key = 1; key < KEYS; key++) /* one stays: an empty map would take a new seed */
		EXPECT(hmap_delete(map, key));
	EXPECT(stats_of(map).bucket_count == BUCKETS);
	EXPECT(stats_of(map).evacuated_buckets == BUCKETS - 1);

	while (stats_of(map).overflow_count < BUCKETS) {
		const uint64_t overflow_count = stats_of(map).overflow_count;
		uint64_t inserted[8 * BUCKETS];
		size_t inserted_count = 0;

		while (stats_of(map).overflow_count == overflow_count) {
			const uint64_t key = next_key(map, BUCKETS, overflow_count % BUCKETS,
						      overflow_count % BUCKETS + 1, &counter);

			EXPECT(hmap_insert(map, key, key) == 0);
			inserted[inserted_count++] = key;
		}
		while (inserted_count > 0)
			EXPECT(hmap_delete(map, inserted[--inserted_count]));
		EXPECT(stats_of(map).same_size_grows == 0);
	}
	EXPECT(hmap_insert(map, 0, 77) == 0); /* not a new key */
	EXPECT(stats_of(map).same_size_grows == 0);

	EXPECT(hmap_insert(map, counter, 0) == 0);
	EXPECT(stats_of(map).same_size_grows == 1);
	EXPECT(stats_of(map).bucket_count == BUCKETS);
	EXPECT(stats_of(map).overflow_count == 0);
	for (unsigned i = 0; i < BUCKETS; i++)
		EXPECT(!hmap_delete(map, counter + 1 + i)); /* carries the growth on */
	EXPECT(stats_of(map).evacuated_buckets == 2 * BUCKETS - 1);
	EXPECT(hmap_len(map) == 2);
	free_map(map);
}

/*
 * 65,536 buckets: Go counts every second overflow bucket, by chance, up to 32,768.  The number at which it
 * grows has a standard deviation of sqrt(2 * 32768) = 256.
 */
static void test_overflow_estimate(void)
{
	enum { BUCKETS = 65536, FILL = 212993, ROUND_BUCKETS = 4096, ROUND_KEYS = 200000 };
	static uint64_t keys[ROUND_KEYS];
	struct hmap *map = new_map(6);
	uint64_t counter = FILL;
	uint64_t overflow_count = 0;

	for (uint64_t key = 0; key < FILL; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	EXPECT(stats_of(map).bucket_count == BUCKETS);

	for (uint64_t first = 0; stats_of(map).same_size_grows == 0; first += ROUND_BUCKETS) {
		size_t count = 0;

		while (count < ROUND_KEYS && stats_of(map).same_size_grows == 0) {
			overflow_count = stats_of(map).overflow_count;
			keys[count] = next_key(map, BUCKETS, first, first + ROUND_BUCKETS, &counter);
			EXPECT(hmap_insert(map, keys[count++], 0) == 0);
		}
		while (count > 0)
			EXPECT(hmap_delete(map, keys[--count]));
	}
	EXPECT(fabs((double)overflow_count - BUCKETS) < 4 * 256);
	EXPECT(stats_of(map).bucket_count == BUCKETS);
	free_map(map);
}

/* Keys with a pattern must land as if at random: chi-square over 16,384 buckets and over the 256 top bytes.
 */
static void test_hash_spread(void)
{
	enum { BUCKETS = 16384, KEYS = 16 * BUCKETS };
	static uint32_t low[BUCKETS];
	struct hmap *map = new_map(7);

	for (unsigned shift = 0; shift <= 44; shift += 4) {
		uint32_t top[256] = { 0 };
		double low_chi = 0;
		double top_chi = 0;

		memset(low, 0, sizeof(low));
		for (uint64_t i = 0; i < KEYS; i++) {
			const uint64_t hash = hmap_hash(map, i << shift);

			low[hash & (BUCKETS - 1)]++;
			top[hash >> 56]++;
		}
		for (size_t i = 0; i < BUCKETS; i++)
			low_chi += pow(low[i] - (double)KEYS / BUCKETS, 2) / ((double)KEYS / BUCKETS);
		for (size_t i = 0; i < 256; i++)
			top_chi += pow(top[i] - (double)KEYS / 256, 2) / ((double)KEYS / 256);

		/* mean n - 1, standard deviation sqrt(2 (n - 1)); 24 figures.  A bit that is not mixed shows
		 * in hundreds of deviations. */
		EXPECT(fabs(low_chi - (BUCKETS - 1)) < 5 * sqrt(2.0 * (BUCKETS - 1)));
		EXPECT(fabs(top_chi - 255) < 5 * sqrt(2.0 * 255));
	}
	free_map(map);
}

/* As many buckets as Go 1.19's make(map[uint64]uint64, len) has, and no growth until there are more entries.
 */
static void test_room_ahead(void)
{
	static const struct {
		size_t len;
		uint64_t bucket_count;
	} cases[] = {
		{ 0, 0 },        { 8, 0 },           { 9, 2 },           { 13, 2 },
		{ 14, 4 },       { 104, 16 },        { 105, 32 },        { 1000, 256 },
		{ 10000, 2048 }, { 851968, 131072 }, { 851969, 262144 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memory_reset();
		struct hmap *map = hmap_create_for(11, cases[i].len);

		EXPECT(map != NULL);
		EXPECT(stats_of(map).bucket_count == cases[i].bucket_count);
		EXPECT(hmap_check(map) == NULL);
		for (uint64_t key = 0; key < cases[i].len; key++)
			EXPECT(hmap_insert(map, key, key) == 0);
		EXPECT(growths_of(map) == 0);
		EXPECT(memory.large_count == (cases[i].bucket_count > 1));
		free_map(map);
	}

	memory_reset();
	EXPECT(hmap_create_for(11, SIZE_MAX) == NULL);
	for (uint64_t refuse_call = 1; refuse_call <= 3; refuse_call++) {
		memory_reset();
		memory.refuse_call = refuse_call;
		EXPECT(hmap_create_for(11, 1000) == NULL);
		EXPECT(memory.live_blocks == 0);
	}
}

static void test_seeds(void)
{
	struct hmap *one = new_map(1);
	struct hmap *same = hmap_create(1);
	struct hmap *other = hmap_create(2);
	uint64_t value;

	EXPECT(hmap_hash(one, 5) == hmap_hash(same, 5));
	EXPECT(hmap_hash(one, 5) != hmap_hash(other, 5));

	/* a map that becomes empty takes a new one, and so does its twin */
	EXPECT(hmap_insert(one, 5, 50) == 0 && hmap_insert(same, 5, 50) == 0);
	EXPECT(hmap_delete(one, 5));
	EXPECT(hmap_hash(one, 5) != hmap_hash(same, 5));
	EXPECT(hmap_delete(same, 5));
	EXPECT(hmap_hash(one, 5) == hmap_hash(same, 5));
	EXPECT(!hmap_get(one, 5, &value));
	hmap_free(other);
	hmap_free(same);
	free_map(one);
}

/* What a map has outgrown stays while an iterator is open, and goes with the next write after that. */
static void test_retired_tables(void)
{
	struct hmap *map = new_map(8);
	struct hmap_iter iter;
	uint64_t key = 0;

	for (; key < 1664; key++) /* 256 buckets, full */
		EXPECT(hmap_insert(map, key, key) == 0);
	EXPECT(memory_large_bytes_live() == 40960);
	hmap_iter_init(&iter, map);
	EXPECT(hmap_iter_next(&iter));
	for (; key < 6656; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	EXPECT(memory_large_bytes_live() == 40960 + 81920 + 163840);
	EXPECT(hmap_check(map) == NULL);

	unsigned step_count = 1;
	while (hmap_iter_next(&iter))
		step_count += iter.key < 1664;
	EXPECT(step_count == 1664);
	EXPECT(!hmap_iter_next(&iter));
	hmap_iter_done(&iter);
	EXPECT(memory_large_bytes_live() == 40960 + 81920 + 163840);
	EXPECT(hmap_delete(map, 0));
	EXPECT(memory_large_bytes_live() == 163840);
	free_map(map);
}

/*
 * Without memory
 */

/* Refuses each allocation in turn, of a load that is otherwise always the same. */
static void test_every_refusal(void)
{
	enum { KEYS = 300 };
	uint64_t refused_count = 0;

	memory_reset();
	memory.refuse_call = 1;
	EXPECT(hmap_create(9) == NULL);

	for (uint64_t refuse_call = 2; refused_count + 2 == refuse_call; refuse_call++) {
		struct hmap *map = new_map(9);

		memory.refuse_call = refuse_call;
		for (uint64_t key = 0; key < KEYS; key++) {
			uint64_t value;
			const int error = hmap_insert(map, key, key);

			EXPECT(hmap_check(map) == NULL);
			if (error == 0)
				continue;
			EXPECT(error == -ENOMEM);
			refused_count++;
			EXPECT(hmap_len(map) == key);
			for (uint64_t earlier = 0; earlier < key; earlier++)
				EXPECT(hmap_get(map, earlier, &value) && value == earlier);
			EXPECT(!hmap_get(map, key, &value));
			EXPECT(hmap_insert(map, key, key) == 0);
		}
		free_map(map);
	}
	EXPECT(refused_count > 30);
}

/* A growth has begun whose evacuation needs overflow buckets, and there is no memory at all. */
static void test_delete_without_memory(void)
{
	enum { BUCKETS = 8, KEYS = 52 };
	struct hmap *map = new_map(10);
	uint64_t counter = 0;
	uint64_t keys[KEYS + 1];
	uint64_t value;

	for (size_t i = 0; i < KEYS; i++) { /* all in one chain, also after the growth */
		keys[i] = next_key(map, 2 * BUCKETS, 3, 4, &counter);
		EXPECT(hmap_insert(map, keys[i], i) == 0);
	}
	EXPECT(stats_of(map).bucket_count == BUCKETS);
	keys[KEYS] = next_key(map, 2 * BUCKETS, 4, 5, &counter); /* evacuates two other buckets */
	EXPECT(hmap_insert(map, keys[KEYS], KEYS) == 0);
	EXPECT(stats_of(map).bucket_count == 2 * BUCKETS);

	memory.refuse_one_in = 1;
	EXPECT(hmap_insert(map, keys[0], 1000) == -ENOMEM);
	EXPECT(hmap_get(map, keys[0], &value) && value == 0);
	for (size_t i = 0; i <= KEYS; i++) {
		EXPECT(hmap_delete(map, keys[i]));
		EXPECT(!hmap_get(map, keys[i], &value));
		EXPECT(hmap_check(map) == NULL);
	}
	EXPECT(hmap_len(map) == 0);
	EXPECT(stats_of(map).evacuated_buckets < 2 * BUCKETS - 1); /* it waits */

	memory.refuse_one_in = 0;
	for (size_t i = 0; i <= KEYS; i++)
		EXPECT(hmap_insert(map, keys[i], i) == 0);
	EXPECT(hmap_len(map) == KEYS + 1);
	free_map(map);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "doubling thresholds", test_doubling_thresholds },
	{ "block sizes", test_block_sizes },
	{ "overflow count", test_overflow_count },
	{ "evacuation pace", test_evacuation_pace },
	{ "same-size growth", test_same_size_growth },
	{ "overflow estimate", test_overflow_estimate },
	{ "hash spread", test_hash_spread },
	{ "room ahead", test_room_ahead },
	{ "seeds", test_seeds },
	{ "retired tables", test_retired_tables },
	{ "every refusal", test_every_refusal },
	{ "delete without memory", test_delete_without_memory },
};

int main(void)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		printf("%s\n", tests[i].name);
		fflush(stdout);
		tests[i].run();
	}
	return EXIT_SUCCESS;
}
