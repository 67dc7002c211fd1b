// SPDX-License-Identifier: Apache-2.0
/*
 * A profile as the text that Go's /debug/pprof/heap?debug=1 shows, and pprof reads:
 *
 *	heap profile: OBJECTS: BYTES [OBJECTS: BYTES] @ heap/2
 *	OBJECTS: BYTES [OBJECTS: BYTES] @ 0x401197 0x4011ef 0x7f1c2d3
 *	#	0x401196	retain_blocks	/src/subject.c:17
 *	...
 *
 * in use first, allocated in brackets; most in use first.
 *
 * Go writes heap/RATE, twice its interval, and raw counts: pprof then scales each line by its average size.
 * Ours are estimates already, each sample scaled by its own size, which is more exact; scaled again they
 * would be wrong.  heap/2 is the text for "every byte was seen": pprof takes the figures as they are.
 */
#ifndef HM_TOOLS_HEAP_TEXT_H
#define HM_TOOLS_HEAP_TEXT_H

#include "proto/profile_read.h"

#include <stdio.h>

/* Returns 0, -EBADMSG where it is no profile of a heap, or -ENOMEM. */
int hm_heap_text_print(const struct hm_profile *profile, FILE *stream);

#endif
