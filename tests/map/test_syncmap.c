// SPDX-License-Identifier: Apache-2.0
/*
 * examples/syncmap against the rules of Go's sync.Map, against a plain reference, and without memory.
 */
#include "examples/syncmap.h"

#include "examples/readers.h"
#include "tests/map/expect.h"
#include "tests/map/memory.h"

#include <errno.h>
#include <string.h>

static uint64_t random_state;

static struct syncmap *new_map(uint64_t seed)
{
	memory_reset();
	struct syncmap *map = syncmap_create(seed);

	EXPECT(map != NULL);
	return map;
}

static void free_map(struct syncmap *map)
{
	EXPECT(syncmap_check(map) == NULL);
	syncmap_free(map);
	EXPECT(memory.live_blocks == 0);
}

static struct syncmap_stats stats_of(struct syncmap *map)
{
	struct syncmap_stats stats;

	syncmap_get_stats(map, &stats);
	return stats;
}

static void store_all(struct syncmap *map, uint64_t first, uint64_t end)
{
	for (uint64_t key = first; key < end; key++)
		EXPECT(syncmap_store(map, key, key + 1) == 0);
}

static void load(struct syncmap *map, uint64_t key, unsigned times)
{
	while (times-- > 0) {
		uint64_t value;

		EXPECT(syncmap_load(map, key, &value) && value == key + 1);
	}
}

/* As many misses as the dirty map has keys, and not one less. */
static void test_promotion(void)
{
	struct syncmap *map = new_map(1);

	store_all(map, 0, 100);
	EXPECT(stats_of(map).read_len == 0 && stats_of(map).dirty_len == 100);
	load(map, 7, 99);
	EXPECT(stats_of(map).promotions == 0);
	load(map, 7, 1);
	EXPECT(stats_of(map).promotions == 1);
	EXPECT(stats_of(map).read_len == 100 && stats_of(map).dirty_len == 0);

	load(map, 7, 1000); /* no misses any more */
	EXPECT(stats_of(map).promotions == 1);

	/* The next new key costs a copy. */
	EXPECT(stats_of(map).copied_entries == 0);
	store_all(map, 100, 101);
	EXPECT(stats_of(map).copied_entries == 100);
	EXPECT(stats_of(map).read_len == 100 && stats_of(map).dirty_len == 101);

	/* The copy hangs about as long as only old keys are read; a key that is nowhere is a miss, too. */
	load(map, 7, 1000);
	EXPECT(stats_of(map).promotions == 1);
	for (unsigned i = 0; i < 101; i++) {
		uint64_t value;

		EXPECT(stats_of(map).promotions == 1);
		EXPECT(!syncmap_load(map, 1000, &value));
	}
	EXPECT(stats_of(map).promotions == 2);
	EXPECT(stats_of(map).read_len == 101 && stats_of(map).dirty_len == 0);
	free_map(map);
}

/* One load to a new key: there are never as many misses as keys. */
static void test_no_promotion(void)
{
	struct syncmap *map = new_map(2);

	store_all(map, 0, 1);
	load(map, 0, 1);
	EXPECT(stats_of(map).promotions == 1);
	for (uint64_t key = 1; key < 10000; key++) {
		store_all(map, key, key + 1);
		load(map, key, 1);
	}
	EXPECT(stats_of(map).promotions == 1);
	EXPECT(stats_of(map).read_len == 1 && stats_of(map).dirty_len == 10000);
	free_map(map);
}

/* A key that is deleted from the read map leaves it with the promotion of a copy that was made after. */
static void test_deleted_keys(void)
{
	struct syncmap *map = new_map(3);
	uint64_t value;

	store_all(map, 0, 100);
	load(map, 0, 100);
	for (uint64_t key = 0; key < 90; key++) {
		EXPECT(syncmap_delete(map, key));
		EXPECT(!syncmap_delete(map, key));
		EXPECT(!syncmap_load(map, key, &value));
	}
	EXPECT(stats_of(map).len == 10 && stats_of(map).read_len == 100);

	const int64_t blocks_before = memory.live_blocks;
	store_all(map, 100, 101);
	EXPECT(stats_of(map).read_len == 100 && stats_of(map).dirty_len == 11);

	/* 0 is expunged: stored again, it goes into the dirty map as well, in its old entry. */
	EXPECT(syncmap_store(map, 0, 1) == 0);
	EXPECT(stats_of(map).dirty_len == 12);
	EXPECT(syncmap_check(map) == NULL);
	load(map, 0, 1);
	load(map, 100, 12);
	EXPECT(stats_of(map).promotions == 2);
	EXPECT(stats_of(map).len == 12 && stats_of(map).read_len == 12);

	/* 89 entries, and a map of less than 16 buckets instead of one of 16; 1 entry more */
	EXPECT(memory.live_blocks <= blocks_before - 89 + 1 + 1);
	free_map(map);
}

/* A key that only the dirty map has is gone at once. */
static void test_delete_dirty(void)
{
	struct syncmap *map = new_map(4);

	store_all(map, 0, 100);
	for (uint64_t key = 0; key < 40; key++)
		EXPECT(syncmap_delete(map, key));
	EXPECT(stats_of(map).promotions == 0);
	EXPECT(stats_of(map).len == 60 && stats_of(map).dirty_len == 60);
	for (uint64_t key = 40; key < 60; key++) /* each deletion is a miss, and leaves one key less */
		EXPECT(syncmap_delete(map, key));
	EXPECT(stats_of(map).promotions == 1);
	EXPECT(stats_of(map).len == 50 - 10 && stats_of(map).dirty_len == 0);
	free_map(map);
}

static void test_limits(void)
{
	struct syncmap *map = new_map(5);
	uint64_t value;

	EXPECT(!syncmap_load(map, 0, &value));
	EXPECT(!syncmap_delete(map, 0));
	EXPECT(syncmap_store(map, 0, SYNCMAP_VALUE_MAX + 1) == -EINVAL);
	EXPECT(syncmap_store(map, 0, UINT64_MAX) == -EINVAL);
	EXPECT(syncmap_store(map, UINT64_MAX, SYNCMAP_VALUE_MAX) == 0);
	EXPECT(syncmap_load(map, UINT64_MAX, &value) && value == SYNCMAP_VALUE_MAX);
	EXPECT(stats_of(map).len == 1);
	free_map(map);
}

/* What the map says it has asked for is what malloc was asked for. */
static void test_bytes(void)
{
	struct syncmap *map = new_map(6);

	for (uint64_t key = 0; key < 20000; key++) {
		store_all(map, key, key + 1);
		load(map, key, 2);
		if (key >= 3000)
			EXPECT(syncmap_delete(map, key - 3000));
	}
	EXPECT(stats_of(map).promotions > 5);
	EXPECT(stats_of(map).allocated_bytes == memory.asked_bytes);
	free_map(map);
}

/*
 * Random operations against a reference
 */

enum { UNIVERSE = 1000 };

static uint64_t run_random(uint64_t seed, uint32_t operation_count, uint32_t refuse_one_in)
{
	static uint64_t expected[UNIVERSE]; /* 0: not there */
	struct syncmap *map = new_map(seed);
	uint64_t refusals = 0;

	random_state = seed;
	memory.random_state = seed;
	memset(expected, 0, sizeof(expected));
	memory.refuse_one_in = refuse_one_in;
	for (uint32_t i = 0; i < operation_count; i++) {
		/* Keys of one part of the universe at a time, so that there are new ones and old ones. */
		const uint32_t part = i / (operation_count / 8) % 4 * (UNIVERSE / 8);
		const uint32_t key = part + random_below(&random_state, UNIVERSE / 2);
		const uint32_t dice = random_below(&random_state, 100);
		uint64_t value = 0;

		if (dice < 25) {
			const int error = syncmap_store(map, key, i + 1);

			EXPECT(error == 0 || (error == -ENOMEM && refuse_one_in != 0));
			refusals += error != 0;
			if (error == 0)
				expected[key] = i + 1;
		} else if (dice < 45) {
			EXPECT(syncmap_delete(map, key) == (expected[key] != 0));
			expected[key] = 0;
		} else {
			EXPECT(syncmap_load(map, key, &value) == (expected[key] != 0));
			EXPECT(value == expected[key]);
		}
		if (i % 500 == 0) {
			const char *wrong = syncmap_check(map);

			if (wrong != NULL)
				fprintf(stderr, "test_syncmap: %s\n", wrong);
			EXPECT(wrong == NULL);
		}
	}
	EXPECT(stats_of(map).promotions > 10);
	free_map(map);
	return refusals;
}

static void test_random_operations(void)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		EXPECT(run_random(seed, 400000, 0) == 0);
}

static void test_random_refusals(void)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		EXPECT(run_random(seed, 200000, 3) > 50);
}

static void test_every_refusal(void)
{
	uint64_t refuse_call = 1;
	bool refused_one = true;

	for (; refused_one; refuse_call++) {
		memory_reset();
		memory.refuse_call = refuse_call;
		struct syncmap *map = syncmap_create(9);

		if (map != NULL) {
			for (uint64_t key = 0; key < 100; key++) {
				int error = syncmap_store(map, key, key + 1);

				EXPECT(error == 0 || error == -ENOMEM);
				EXPECT(syncmap_check(map) == NULL);
				if (error != 0)
					error = syncmap_store(map, key, key + 1);
				EXPECT(error == 0);
				load(map, key, 2);
				if (key >= 20)
					EXPECT(syncmap_delete(map, key - 20));
			}
			syncmap_free(map);
		}
		EXPECT(memory.live_blocks == 0);
		refused_one = memory.call_count >= refuse_call;
	}
	EXPECT(refuse_call > 100);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "promotion", test_promotion },
	{ "no promotion", test_no_promotion },
	{ "deleted keys", test_deleted_keys },
	{ "delete from the dirty map", test_delete_dirty },
	{ "limits", test_limits },
	{ "bytes", test_bytes },
	{ "random operations", test_random_operations },
	{ "random refusals", test_random_refusals },
	{ "every refusal", test_every_refusal },
};

int main(void)
{
	readers_join();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		printf("%s\n", tests[i].name);
		fflush(stdout);
		tests[i].run();
	}
	readers_leave();
	return EXIT_SUCCESS;
}
