// SPDX-License-Identifier: Apache-2.0
/*
 * A ledger or a profile, made ready for being shown: the samples of a profile, and for each the estimates,
 * how uncertain they are, and how old what is live is.
 *
 * A ledger is shown as the profile that `heapmark dump` would make of it, so that both name things alike;
 * what a profile holds only roughly (variances, ages) is added from the ledger.
 */
#ifndef HM_TOOLS_VIEW_H
#define HM_TOOLS_VIEW_H

#include "proto/profile_read.h"
#include "proto/snapshot.h"
#include "tools/input.h"

#include <stdbool.h>

/* Sums; those of several samples are added field by field. */
struct hm_view_figures {
	double alloc_bytes;
	double inuse_bytes;
	double alloc_variance; /* of the estimate, bytes squared; 0: exact */
	double inuse_variance;
	double aged_bytes;       /* in use and of known age */
	double age_byte_seconds; /* age times bytes */
	/* of aged_bytes: its variance; and the same with the age, and its square, as a factor (proto/ages.h)
	 */
	double aged_variance;
	double aged_variance_seconds;
	double aged_variance_seconds2;
};

static inline void hm_view_add(struct hm_view_figures *sum, const struct hm_view_figures *figures)
{
	sum->alloc_bytes += figures->alloc_bytes;
	sum->inuse_bytes += figures->inuse_bytes;
	sum->alloc_variance += figures->alloc_variance;
	sum->inuse_variance += figures->inuse_variance;
	sum->aged_bytes += figures->aged_bytes;
	sum->age_byte_seconds += figures->age_byte_seconds;
	sum->aged_variance += figures->aged_variance;
	sum->aged_variance_seconds += figures->aged_variance_seconds;
	sum->aged_variance_seconds2 += figures->aged_variance_seconds2;
}

struct hm_view {
	struct hm_profile profile;       /* owned */
	struct hm_view_figures *samples; /* owned; one for each sample of the profile */
	uint32_t *stack_units;           /* owned; of each sample, its stack in the ledger; NULL: a profile */
	bool is_damaged;                 /* the ledger is, and was read as far as it goes */
	bool is_exact;                   /* variances and ages come from a ledger */
};

/*
 * Loads what the input holds.  Returns 0 or a negative errno with *ret_reason (static text) for the user, to
 * follow the input's name and a colon.
 */
int hm_view_load(const struct hm_input *input, struct hm_view *ret_view, const char **ret_reason);

/* The same of a ledger of which a snapshot, with ages, was taken already; borrowed for the call. */
int hm_view_of_snapshot(const struct hm_snapshot *snapshot, const struct hm_input *input,
			struct hm_view *ret_view, const char **ret_reason);

void hm_view_done(struct hm_view *view);

#endif
