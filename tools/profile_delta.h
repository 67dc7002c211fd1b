// SPDX-License-Identifier: Apache-2.0
/*
 * The difference of two profiles of one process, stack by stack: what happened between them.
 *
 *	alloc_*   newer - older, never negative: the counters of a stack only grow
 *	inuse_*   newer - older, negative where more was freed than allocated; or as it is in the newer one
 *	others    as they are in the newer one
 *
 * Go's ?seconds=N has differences of inuse_*, its delta_heap has them as they are: a collector that graphs
 * what is in use takes the latter, and one that refuses negative values has to.
 *
 * A stack is known by its addresses, each with the place of its mapping, and by its labels; names do not
 * count, so the older profile needs none.
 */
#ifndef HM_TOOLS_PROFILE_DELTA_H
#define HM_TOOLS_PROFILE_DELTA_H

#include "proto/profile_read.h"

enum hm_delta_inuse { HM_DELTA_INUSE_DIFFERENCE, HM_DELTA_INUSE_NOW };

/*
 * Turns `newer` into the difference: values are changed in place, samples of which all are zero are taken
 * out, and duration_ns is the time between the two.  `older` is borrowed for the call.
 *
 * Returns 0; -EBADMSG where their sample types differ; -ESTALE where `older` has a stack that `newer` has
 * not, so that they are not of one process, or in the wrong order; -ENOMEM.  After an error `newer` is only
 * fit to be given back.
 */
int hm_profile_subtract(struct hm_profile *newer, const struct hm_profile *older, enum hm_delta_inuse inuse);

#endif
