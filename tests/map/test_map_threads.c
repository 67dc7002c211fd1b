// SPDX-License-Identifier: Apache-2.0
/*
 * The maps of examples/ that several threads may use, used by several threads.  Built plain, and with the
 * thread sanitizer.
 *
 * Each key is written by one thread only, and its value counts up: that thread knows at any time what must be
 * there, and the others may see any value but none twice as old as one they have seen.
 */
#include "examples/hmap.h"
#include "examples/locked_map.h"
#include "examples/readers.h"
#include "examples/replaced_map.h"
#include "examples/sharded_map.h"
#include "examples/syncmap.h"
#include "tests/map/expect.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	THREADS = 4,
	KEYS = 512,                  /* key % THREADS names the writer */
	ROUNDS = 40000 / TEST_SHARE, /* operations of each thread */
	COMPACTIONS = 200 / TEST_SHARE,
};

struct worker {
	pthread_t thread;
	unsigned index;
	void *map;
	uint64_t random_state;
	uint64_t own[KEYS];    /* of the keys this thread writes: the value, or 0 where deleted */
	uint64_t latest[KEYS]; /* of all keys: the greatest value seen */
};

static void run_threads(void *(*work)(void *), void *map)
{
	static struct worker workers[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .index = i, .map = map, .random_state = i };
		EXPECT(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT(pthread_join(workers[i].thread, NULL) == 0);
}

/* What was loaded under `key`: value is 0 where there was nothing. */
static void judge(struct worker *worker, uint32_t key, uint64_t value)
{
	if (key % THREADS == worker->index)
		EXPECT(value == worker->own[key]);
	if (value == 0)
		return;
	EXPECT(value % KEYS == key);
	EXPECT(value >= worker->latest[key]);
	worker->latest[key] = value;
}

/* One operation by chance: 1 in 4 stores, 1 in 8 deletes, the others load. */
enum operation { STORE, DELETE, LOAD };

static enum operation choose(struct worker *worker, uint32_t *ret_key)
{
	static const enum operation operations[8] = { STORE, STORE, DELETE, LOAD, LOAD, LOAD, LOAD, LOAD };
	const enum operation operation = operations[random_below(&worker->random_state, 8)];
	const uint32_t key = random_below(&worker->random_state, KEYS);

	*ret_key = operation == LOAD ? key : key / THREADS * THREADS + worker->index;
	return operation;
}

/* Counts up in steps of KEYS, so that the value tells its key. */
static uint64_t next_value(const struct worker *worker, uint32_t key)
{
	return (worker->latest[key] != 0 ? worker->latest[key] : key) + KEYS;
}

static void *use_syncmap(void *context)
{
	struct worker *worker = context;
	uint32_t key;

	readers_join();
	for (unsigned i = 0; i < ROUNDS; i++) {
		const enum operation operation = choose(worker, &key);
		uint64_t value = 0;

		if (operation == STORE) {
			value = next_value(worker, key);
			EXPECT(syncmap_store(worker->map, key, value) == 0);
			worker->own[key] = value;
			worker->latest[key] = value;
		} else if (operation == DELETE) {
			EXPECT(syncmap_delete(worker->map, key) == (worker->own[key] != 0));
			worker->own[key] = 0;
		} else {
			(void)syncmap_load(worker->map, key, &value);
			judge(worker, key, value);
		}
	}
	readers_leave();
	return NULL;
}

static void test_syncmap(void)
{
	struct syncmap *map = syncmap_create(1);
	struct syncmap_stats stats;

	EXPECT(map != NULL);
	run_threads(use_syncmap, map);
	EXPECT(syncmap_check(map) == NULL);
	syncmap_get_stats(map, &stats);
	EXPECT(stats.promotions > 2);
	syncmap_free(map);
}

static void *use_sharded_map(void *context)
{
	struct worker *worker = context;
	uint32_t key;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const enum operation operation = choose(worker, &key);
		uint64_t value = 0;

		if (operation == STORE) {
			value = next_value(worker, key);
			EXPECT(sharded_map_insert(worker->map, key, value) == 0);
			worker->own[key] = value;
			worker->latest[key] = value;
		} else if (operation == DELETE) {
			EXPECT(sharded_map_delete(worker->map, key) == (worker->own[key] != 0));
			worker->own[key] = 0;
		} else {
			(void)sharded_map_get(worker->map, key, &value);
			judge(worker, key, value);
		}
	}
	return NULL;
}

static void test_sharded_map(void)
{
	struct sharded_map *map = sharded_map_create(2, 3);

	EXPECT(map != NULL);
	run_threads(use_sharded_map, map);
	EXPECT(sharded_map_check(map) == NULL);
	sharded_map_free(map);
}

/* Thread 0 writes, the others walk over all entries: as many as the map says it has, whatever it grows. */
static void *write_or_walk(void *context)
{
	struct worker *worker = context;
	struct locked_map *map = worker->map;

	for (unsigned i = 0; i < ROUNDS / 100; i++) {
		if (worker->index == 0) {
			locked_map_write_lock(map);
			for (uint32_t key = i * 20; key < i * 20 + 20; key++)
				EXPECT(locked_map_insert(map, key, key) == 0);
			EXPECT(locked_map_delete(map, i * 20 + 10));
			locked_map_write_unlock(map);
			continue;
		}
		struct hmap_iter iter;
		struct hmap_stats stats;
		uint64_t count = 0;

		locked_map_read_lock(map);
		locked_map_get_stats(map, &stats);
		locked_map_iter_init(map, &iter);
		while (locked_map_iter_next(map, &iter)) {
			EXPECT(iter.key == iter.value);
			count++;
		}
		locked_map_iter_done(map, &iter);
		locked_map_read_unlock(map);
		EXPECT(count == stats.len && count % 19 == 0);
	}
	return NULL;
}

static void test_locked_map(void)
{
	struct locked_map *map = locked_map_create(3);

	EXPECT(map != NULL);
	run_threads(write_or_walk, map);
	locked_map_free(map);
}

/* Thread 0 replaces the map again and again, the others find every entry in whichever they get. */
static void *replace_or_look(void *context)
{
	static atomic_bool stop;
	struct worker *worker = context;

	readers_join();
	if (worker->index == 0) {
		for (unsigned i = 0; i < COMPACTIONS; i++)
			EXPECT(replaced_map_compact(worker->map, i) == 0);
		/* relaxed: nothing is read on the strength of it */
		atomic_store_explicit(&stop, true, memory_order_relaxed);
	}
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		readers_begin();
		const struct hmap *map = replaced_map_current(worker->map);

		for (uint64_t key = 0; key < KEYS; key++) {
			uint64_t value = 0;

			EXPECT(hmap_get(map, key, &value) && value == key);
		}
		readers_end();
	}
	readers_leave();
	return NULL;
}

static void test_replaced_map(void)
{
	struct hmap *map = hmap_create(4);

	EXPECT(map != NULL);
	for (uint64_t key = 0; key < 8 * KEYS; key++)
		EXPECT(hmap_insert(map, key, key) == 0);
	for (uint64_t key = KEYS; key < 8 * KEYS; key++)
		EXPECT(hmap_delete(map, key));

	struct replaced_map *replaced = replaced_map_create(map);
	EXPECT(replaced != NULL);
	run_threads(replace_or_look, replaced);

	struct hmap_stats stats;
	hmap_get_stats(replaced_map_current(replaced), &stats);
	EXPECT(stats.len == KEYS && stats.bucket_count == 128);
	replaced_map_free(replaced);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "syncmap", test_syncmap },
	{ "sharded map", test_sharded_map },
	{ "locked map", test_locked_map },
	{ "replaced map", test_replaced_map },
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
