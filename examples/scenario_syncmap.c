// SPDX-License-Identifier: Apache-2.0
/*
 * syncmap: ever new keys in a map of two.  Each key is stored, loaded twice and, when it is older than the
 * window, deleted.
 *
 * Twice, since a load of a new key is a miss, and the dirty map is promoted after as many misses as it has
 * keys: with one load to a new key there would never be enough of them.
 */
#include "examples/scenarios.h"

#include "examples/gauges.h"
#include "examples/readers.h"
#include "examples/syncmap.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

enum { LOADS_PER_KEY = 2 };

static struct syncmap *kept_map; /* owned, never freed */

static int slide(struct syncmap *map, uint64_t n, uint64_t window)
{
	for (uint64_t key = 0; key < n; key++) {
		const int error = syncmap_store(map, key, key);

		if (error != 0)
			return error;
		for (unsigned i = 0; i < LOADS_PER_KEY; i++) {
			uint64_t value;
			const bool found = syncmap_load(map, key, &value);

			assert(found && value == key);
			(void)found;
		}
		if (key >= window)
			syncmap_delete(map, key - window);
		if (gauges_are_due(key)) {
			struct syncmap_stats stats;

			syncmap_get_stats(map, &stats);
			gauges_publish(&stats.maps);
		}
	}
	return 0;
}

int run_syncmap(const struct request *request, struct figures *ret_figures)
{
	kept_map = syncmap_create(MAP_SEED);
	if (kept_map == NULL)
		return -ENOMEM;
	readers_join();
	const int error = slide(kept_map, request->n, request->second);
	readers_leave();
	if (error != 0)
		return error;
	assert(syncmap_check(kept_map) == NULL);

	struct syncmap_stats stats;
	struct figures figures = { 0 };
	syncmap_get_stats(kept_map, &stats);
	figures.map = stats.maps;
	figures.map.bytes = stats.bytes;
	figures.map.allocated_bytes = stats.allocated_bytes;
	snprintf(figures.own, sizeof(figures.own),
		 " read_len=%llu dirty_len=%llu promotions=%llu copied_entries=%llu",
		 (unsigned long long)stats.read_len, (unsigned long long)stats.dirty_len,
		 (unsigned long long)stats.promotions, (unsigned long long)stats.copied_entries);
	*ret_figures = figures;
	return 0;
}
