// SPDX-License-Identifier: Apache-2.0
/*
 * Does a profile keep the rules by which every consumer shows it right?
 *
 * The rules are those of the format itself and of its readers (go tool pprof, Parca, Pyroscope, speedscope,
 * Perfetto, the OpenTelemetry collector).  A finding says which rule it is about, what is wrong and where,
 * and what a reader makes of it.  What breaks the format, or what a heap profile has to be, makes the profile
 * broken; what only one of the readers stumbles over, or what is most likely not meant, is a hint.
 *
 * What cannot be told from a file is not asked: whether addresses are those of calls and not of returns,
 * whether values are estimates already, whether inlined functions stand in the right order.
 *
 * For the outside of a process: compiling drop_frames calls malloc.
 */
#ifndef HM_PROTO_PROFILE_CHECK_H
#define HM_PROTO_PROFILE_CHECK_H

#include "proto/profile_read.h"

#include <stdbool.h>
#include <stdint.h>

/* All text is valid during the call, fit for a terminal, and without a full stop or newline. */
struct hm_profile_finding {
	const char *rule;        /* its name: "ids-order" */
	const char *sentence;    /* what is wrong, and where */
	const char *consequence; /* what a reader makes of it */
	bool is_broken;          /* else a hint */
};

typedef void hm_profile_report(void *context, const struct hm_profile_finding *finding);

/*
 * Calls `report` for every finding, at most 10 of one rule (3, where it is a hint) and then once for how many
 * more there are.  Returns how often rules are broken; 0: the profile is good, hints or not.
 */
uint64_t hm_profile_check(const struct hm_profile *profile, hm_profile_report *report, void *context);

#endif
