// SPDX-License-Identifier: Apache-2.0
/*
 * What a profile says about itself in words: lines for people, and "#heapmark.KEY=VALUE" lines for machines.
 */
#ifndef HM_PROTO_PROFILE_COMMENTS_H
#define HM_PROTO_PROFILE_COMMENTS_H

#include "proto/profile_read.h"
#include "proto/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Receives one comment, valid during the call. */
typedef void hm_comment_add(void *context, const char *comment);

/*
 * The lines that the ledger gives reason for, in a fixed order: those for people first.  `producer` is the
 * writing program with its version.
 */
void hm_profile_comment_snapshot(const struct hm_snapshot *snapshot, const char *producer,
				 hm_comment_add *add, void *context);

/*
 * Reads back the mean age of what has each label "age" (proto/ages.h), in seconds; negative where a profile
 * does not say.
 */
void hm_profile_comment_ages(const struct hm_profile *profile, double ret_means_seconds[HM_AGE_COUNT]);

/*
 * The value of "#heapmark.KEY=VALUE", borrowed from the profile; NULL where there is none, or there are
 * several that differ: the profile was merged from those of several processes, or moments.
 */
const char *hm_profile_comment_value(const struct hm_profile *profile, const char *key);

/*
 * Reads back with which intervals samples were drawn: the period is only the last of them, and 0 where the
 * process was asleep at last.
 */
struct hm_profile_intervals {
	uint64_t longest_bytes; /* 1: the figures are exact; 0: unknown */
	bool slept;             /* what was allocated meanwhile is not among the figures */
};
struct hm_profile_intervals hm_profile_comment_intervals(const struct hm_profile *profile);

/* Reads back what was lost; 0 for kinds of which a profile says nothing. */
void hm_profile_comment_losses(const struct hm_profile *profile, uint64_t ret_losses[HM_LOSS_KINDS]);

#endif
