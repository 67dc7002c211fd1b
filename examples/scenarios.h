// SPDX-License-Identifier: Apache-2.0
/*
 * The loads of mapdemo.  Each keeps its map alive, reachable from a static variable, to the end of the
 * process: what is alive at the end is what a profile is to show.
 */
#ifndef EXAMPLES_SCENARIOS_H
#define EXAMPLES_SCENARIOS_H

#include "examples/hmap.h"

#include <stdint.h>

enum {
	/* Fixed: the same command prints the same line.  Of 60 seeds the memory in use after `window` was
	 * 4.29 MB +- 0.14, as it was in 40 runs of Go, whose seed nobody can choose; with this one it
	 * is 4.30. */
	MAP_SEED = 8,
};

struct request {
	uint64_t n;
	uint64_t second; /* the second operand, what it may mean; 0 for a scenario that has none */
};

struct figures {
	struct hmap_stats map; /* of the map that is alive at the end, or of all of them together */
	char own[256];         /* what only this scenario has to tell: " key=value" of each, or empty */
};

/* Each returns 0 or a negative errno, *ret_figures being then untouched. */
int run_fill(const struct request *request, struct figures *ret_figures);
int run_drain(const struct request *request, struct figures *ret_figures);
int run_window(const struct request *request, struct figures *ret_figures);  /* second: WINDOW */
int run_rebuild(const struct request *request, struct figures *ret_figures); /* second: KEPT */
int run_syncmap(const struct request *request, struct figures *ret_figures); /* second: WINDOW */
int run_sharded(const struct request *request, struct figures *ret_figures); /* second: SHARDS */

#endif
