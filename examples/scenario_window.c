// SPDX-License-Identifier: Apache-2.0
/*
 * fill, drain, window: one map, one thread.
 */
#include "examples/scenarios.h"

#include "examples/gauges.h"

#include <assert.h>
#include <errno.h>

static struct hmap *kept_map; /* owned, never freed */

/* Inserts the keys 0 to n - 1 and, once there are more than `window`, deletes the oldest each time. */
static int slide(struct hmap *map, uint64_t n, uint64_t window)
{
	for (uint64_t key = 0; key < n; key++) {
		const int error = hmap_insert(map, key, key);

		if (error != 0)
			return error;
		if (key >= window)
			hmap_delete(map, key - window);
		gauges_publish_map(map, key);
	}
	return 0;
}

static void tell(const struct hmap *map, struct figures *ret_figures)
{
	assert(hmap_check(map) == NULL);
	*ret_figures = (struct figures){ 0 };
	hmap_get_stats(map, &ret_figures->map);
}

int run_window(const struct request *request, struct figures *ret_figures)
{
	kept_map = hmap_create(MAP_SEED);
	if (kept_map == NULL)
		return -ENOMEM;

	const int error = slide(kept_map, request->n, request->second);
	if (error == 0)
		tell(kept_map, ret_figures);
	return error;
}

int run_fill(const struct request *request, struct figures *ret_figures)
{
	const struct request all = { .n = request->n, .second = request->n };

	return run_window(&all, ret_figures);
}

int run_drain(const struct request *request, struct figures *ret_figures)
{
	const int error = run_fill(request, ret_figures);

	if (error != 0)
		return error;
	for (uint64_t key = 0; key < request->n; key++) {
		hmap_delete(kept_map, key);
		gauges_publish_map(kept_map, key);
	}
	tell(kept_map, ret_figures);
	return 0;
}
