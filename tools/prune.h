// SPDX-License-Identifier: Apache-2.0
/*
 * Frames that a profile wants hidden (drop_frames, keep_frames), as pprof hides them: in a stack read from
 * the outermost frame inwards, the first that matches after one that does not goes, with all that it called.
 * What is allocated there then belongs to its caller.
 *
 * Which expressions are understood, and why not all, says proto/frame_expression.h.  Each name is matched
 * once, whoever has it.
 */
#ifndef HM_TOOLS_PRUNE_H
#define HM_TOOLS_PRUNE_H

#include "proto/profile_read.h"

#include <stdint.h>

struct hm_prune {
	uint32_t *hidden_lines; /* owned; for each location, how many of its inner lines are hidden */
};

/*
 * `rules` (borrowed for the call) is the profile whose expressions count: itself, or the one it is compared
 * with.  Returns 0, or -EINVAL where an expression cannot be understood (see above): then nothing is hidden.
 */
int hm_prune_init(const struct hm_profile *profile, const struct hm_profile *rules,
		  struct hm_prune *ret_prune);
void hm_prune_done(struct hm_prune *prune);

/*
 * The place in sample->locations of the innermost location that is shown; everything before it is hidden.
 * location_count where the sample has no locations.
 */
uint32_t hm_prune_innermost(const struct hm_prune *prune, const struct hm_profile *profile,
			    const struct hm_profile_sample *sample);

/* The first line of a location that is shown. */
uint32_t hm_prune_first_line(const struct hm_prune *prune, const struct hm_profile *profile,
			     uint32_t location);

#endif
