// SPDX-License-Identifier: Apache-2.0
/*
 * A call tree as a picture: an icicle graph in SVG that needs nothing but itself.
 *
 * The root is on top and what is called hangs below its caller, as in the flame view of `go tool pprof
 * -http`: the wide frames, which are read first, stand where the page begins, however deep the stacks are.  A
 * frame is as wide as its bytes; its colour says how much of what was allocated there is still in use, pale
 * for churn and strong for retention, so that a picture of either shows the other as well.
 *
 * With two panels, what was allocated stands above what is in use.  Each is as wide as its own total, for
 * else the lower one could be too narrow to read; a bar between them shows the two totals on one scale.
 * Siblings stand in the same order in both.
 *
 * Frames narrower than HM_FLAME_FRAME_PIXELS_MIN are left out and counted in the picture, with those they
 * called.  As a static image it is complete; in a browser its script adds zoom, search and details.
 * Names are escaped; what is no text becomes "?".
 */
#ifndef HM_TOOLS_FLAME_SVG_H
#define HM_TOOLS_FLAME_SVG_H

#include "tools/call_tree.h"

#include <stdbool.h>
#include <stdio.h>

#define HM_FLAME_FRAME_PIXELS_MIN 0.5

struct hm_flame {
	const struct hm_call_tree *tree;  /* borrowed, as all here */
	const struct hm_profile *profile; /* that the tree was made of */
	const char *title;                /* whose profile it is */
	const char *subtitle;             /* how and when it was made */
	bool show_alloc;
	bool show_inuse;
};

/* Writes the picture.  Errors are left to ferror. */
void hm_flame_draw(const struct hm_flame *flame, FILE *stream);

#endif
