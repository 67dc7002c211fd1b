// SPDX-License-Identifier: Apache-2.0
/*
 * sharded: the same writes, by the same threads, over as many maps as one likes.
 *
 * Which thread comes first differs from run to run, and with it, by a little, the overflow buckets of the
 * last growth; len, bucket_count and grows are always the same.
 */
#include "examples/scenarios.h"

#include "examples/gauges.h"
#include "examples/sharded_map.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

enum { WRITERS = 4 };

struct writer {
	pthread_t thread;
	struct sharded_map *map; /* borrowed */
	uint64_t first_key;      /* and every WRITERS keys from there on */
	uint64_t n;              /* all keys are below it */
	int error;               /* read by others after the thread has ended */
};

static struct sharded_map *kept_map; /* owned, never freed */

static void *write_all(void *context)
{
	struct writer *writer = context;

	for (uint64_t key = writer->first_key; key < writer->n && writer->error == 0; key += WRITERS) {
		writer->error = sharded_map_insert(writer->map, key, key);
		if (gauges_are_due(key)) { /* the first writer's keys only: powers of two */
			struct hmap_stats stats;

			sharded_map_get_stats(writer->map, &stats);
			gauges_publish(&stats);
		}
	}
	return NULL;
}

static int write_by_threads(struct sharded_map *map, uint64_t n)
{
	static struct writer writers[WRITERS];
	unsigned started = 0;
	int error = 0;

	while (started < WRITERS && error == 0) {
		struct writer *writer = &writers[started];

		*writer = (struct writer){ .map = map, .first_key = started, .n = n };
		error = -pthread_create(&writer->thread, NULL, write_all, writer);
		started += error == 0;
	}
	while (started-- > 0) {
		pthread_join(writers[started].thread, NULL);
		if (error == 0)
			error = writers[started].error;
	}
	return error;
}

int run_sharded(const struct request *request, struct figures *ret_figures)
{
	kept_map = sharded_map_create(MAP_SEED, (uint32_t)request->second);
	if (kept_map == NULL)
		return -ENOMEM;

	const int error = write_by_threads(kept_map, request->n);
	if (error != 0)
		return error;
	assert(sharded_map_check(kept_map) == NULL);

	struct figures figures = { 0 };
	sharded_map_get_stats(kept_map, &figures.map);
	snprintf(figures.own, sizeof(figures.own), " writers=%d", WRITERS);
	*ret_figures = figures;
	return 0;
}
