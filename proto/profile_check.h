// SPDX-License-Identifier: Apache-2.0
/*
 * Does a profile keep the rules by which every consumer shows it right?
 *
 * The rules are those of the format itself and of its readers (go tool pprof, Parca, Pyroscope, speedscope,
 * Perfetto, the OpenTelemetry collector); each sentence says what is wrong and where.
 */
#ifndef HM_PROTO_PROFILE_CHECK_H
#define HM_PROTO_PROFILE_CHECK_H

#include "proto/profile_read.h"

#include <stdint.h>

/* Receives one violation: a sentence without a full stop or newline, valid during the call. */
typedef void hm_profile_report(void *context, const char *sentence);

/*
 * Calls `report` for every violation, at most 10 of one rule and then once for how many more there are.
 * Returns the number of violations; 0: the profile is good.
 */
uint64_t hm_profile_check(const struct hm_profile *profile, hm_profile_report *report, void *context);

#endif
