// SPDX-License-Identifier: Apache-2.0
/*
 * rebuild: a map that was filled and all but emptied is replaced by a compacted copy, while readers look up
 * what is left in it, without a lock and without a pause.
 */
#include "examples/scenarios.h"

#include "examples/gauges.h"
#include "examples/readers.h"
#include "examples/replaced_map.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
	READERS = 2,
	LOOKUPS_PER_SECTION = 64, /* between readers_begin and readers_end */
};

/* The entries that stay: every so many keys, with a value that no other key has. */
struct survivors {
	uint64_t count;
	uint64_t distance;
};

struct reader {
	pthread_t thread;
	const struct replaced_map *map;
	struct survivors survivors;
	const atomic_bool *stop;
	atomic_ulong sections; /* done; the main thread waits for them */

	/* Read by others after the thread has ended. */
	uint64_t lookups;
	uint64_t holes; /* entries that must be there and were not, or had another value */
};

static struct replaced_map *kept_map; /* owned, never freed */

static uint64_t value_of(uint64_t key)
{
	return ~key;
}

static void look_up_some(struct reader *reader)
{
	readers_begin();
	const struct hmap *map = replaced_map_current(reader->map);

	for (unsigned i = 0; i < LOOKUPS_PER_SECTION; i++) {
		const uint64_t key = reader->lookups++ % reader->survivors.count * reader->survivors.distance;
		uint64_t value;

		if (!hmap_get(map, key, &value) || value != value_of(key))
			reader->holes++;
	}
	readers_end();
}

static void *read_on(void *context)
{
	struct reader *reader = context;

	readers_join();
	/* relaxed: the main thread joins this one; nothing else is read on the strength of either */
	while (!atomic_load_explicit(reader->stop, memory_order_relaxed)) {
		look_up_some(reader);
		atomic_fetch_add_explicit(&reader->sections, 1, memory_order_relaxed);
	}
	readers_leave();
	return NULL;
}

/* Returns when each reader has begun and ended to read at least once more. */
static void wait_for_sections(const struct reader *readers)
{
	for (unsigned i = 0; i < READERS; i++) {
		const unsigned long before = atomic_load_explicit(&readers[i].sections, memory_order_relaxed);

		/* One section may have been under way, so two must end. */
		while (atomic_load_explicit(&readers[i].sections, memory_order_relaxed) < before + 2)
			sched_yield();
	}
}

static int fill_and_thin_out(struct hmap *map, uint64_t n, const struct survivors *survivors)
{
	for (uint64_t key = 0; key < n; key++) {
		const int error = hmap_insert(map, key, value_of(key));

		if (error != 0)
			return error;
		gauges_publish_map(map, key);
	}
	for (uint64_t key = 0; key < n; key++) {
		if (key % survivors->distance != 0 || key / survivors->distance >= survivors->count)
			hmap_delete(map, key);
		gauges_publish_map(map, key);
	}
	return 0;
}

/* Compacts the map between readers; *ret_lookups and *ret_holes are the sums over them. */
static int compact_under_readers(struct replaced_map *map, const struct survivors *survivors,
				 uint64_t *ret_lookups, uint64_t *ret_holes)
{
	static struct reader readers[READERS];
	static atomic_bool stop;
	unsigned started = 0;
	int error = 0;

	while (started < READERS && error == 0) {
		readers[started] = (struct reader){ .map = map, .survivors = *survivors, .stop = &stop };
		error = -pthread_create(&readers[started].thread, NULL, read_on, &readers[started]);
		started += error == 0;
	}
	if (error == 0) {
		wait_for_sections(readers);
		error = replaced_map_compact(map, MAP_SEED);
		wait_for_sections(readers);
	}
	atomic_store_explicit(&stop, true, memory_order_relaxed); /* relaxed: see read_on */

	uint64_t lookups = 0;
	uint64_t holes = 0;
	while (started-- > 0) {
		pthread_join(readers[started].thread, NULL);
		lookups += readers[started].lookups;
		holes += readers[started].holes;
	}
	if (error != 0)
		return error;
	*ret_lookups = lookups;
	*ret_holes = holes;
	return 0;
}

int run_rebuild(const struct request *request, struct figures *ret_figures)
{
	const struct survivors survivors = { request->second, request->n / request->second };
	struct hmap *map = hmap_create(MAP_SEED);
	struct hmap_stats before;
	uint64_t lookups;
	uint64_t holes;
	int error = map != NULL ? fill_and_thin_out(map, request->n, &survivors) : -ENOMEM;

	if (error != 0)
		return error;
	hmap_get_stats(map, &before);
	kept_map = replaced_map_create(map);
	if (kept_map == NULL)
		return -ENOMEM;
	error = compact_under_readers(kept_map, &survivors, &lookups, &holes);
	if (error != 0)
		return error;
	if (holes != 0)
		return -EBADMSG;

	/* There is one thread again: nobody replaces the map under us. */
	const struct hmap *rebuilt = replaced_map_current(kept_map);
	struct figures figures = { 0 };
	assert(hmap_check(rebuilt) == NULL);
	hmap_get_stats(rebuilt, &figures.map);
	snprintf(figures.own, sizeof(figures.own),
		 " bytes_before=%llu bucket_count_before=%llu readers=%d lookups=%llu holes=%llu",
		 (unsigned long long)before.bytes, (unsigned long long)before.bucket_count, READERS,
		 (unsigned long long)lookups, (unsigned long long)holes);
	*ret_figures = figures;
	return 0;
}
