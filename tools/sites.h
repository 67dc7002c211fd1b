// SPDX-License-Identifier: Apache-2.0
/*
 * Where memory is allocated, each place once: the stacks of a view that have the same innermost
 * HM_SITE_FRAMES functions, with their figures, how old what is live is, and what they did between two looks.
 *
 * Functions that the profile wants hidden are left out.  Names are told apart by their first
 * HM_SITE_NAME_BYTES_MAX bytes.
 */
#ifndef HM_TOOLS_SITES_H
#define HM_TOOLS_SITES_H

#include "proto/snapshot.h"
#include "tools/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HM_SITE_FRAMES = 3,
	HM_SITE_NAME_BYTES_MAX = 256, /* of one function */
	HM_BANDS_MAX = HM_AGE_COUNT,
	HM_BANDS_OF_LEDGER = 4,
};

struct hm_site {
	char *name; /* owned; "insert < handle_request < serve" */
	struct hm_view_figures figures;
	bool is_dropped;                  /* "[dropped]": what is live of it is not known (proto/ledger.h) */
	double bands_bytes[HM_BANDS_MAX]; /* in use, by age: struct hm_sites */
	/* The same by quarters of the age of what is oldest here, the youngest first.  Of a ledger. */
	double quarters_bytes[HM_BANDS_OF_LEDGER];
	double oldest_seconds;
	/* Between the two looks.  Zero where there was one. */
	double look_alloc_bytes;
	double look_freed_bytes;
	double look_new_bytes;    /* allocated between them and not freed by the second */
	double look_growth_bytes; /* of what is in use; below zero where it shrinks */
	double look_growth_variance;
};

struct hm_sites {
	struct hm_site *entries; /* owned; by name */
	size_t count;
	struct hm_site total; /* of all; its name is NULL */

	/*
	 * The time since recording began is cut into bands, the youngest first: what part of it each is.  Of
	 * a ledger four equal ones, since it knows each age; of a profile those of its labels (proto/ages.h).
	 * What is older is in none.
	 */
	double bands_part[HM_BANDS_MAX];
	uint32_t band_count;
	double recorded_seconds; /* 0: not known; then there are no bands */

	uint32_t *units; /* owned; ascending; empty for a profile */
	size_t *of_unit; /* owned; the entry that the stack at this unit belongs to */
	size_t unit_count;
};

/*
 * Puts the samples of a view together.  recorded_seconds: since recording began, until the moment of the
 * view. Returns 0, or -EINVAL where the profile's expression for hidden frames cannot be understood: then
 * none are hidden.
 */
int hm_sites_build(const struct hm_view *view, double recorded_seconds, struct hm_sites *ret_sites);

/* Adds the ages of all live samples of the snapshot that the view was made of. */
void hm_sites_add_ages(struct hm_sites *sites, const struct hm_snapshot *snapshot);

/* Adds what happened between two snapshots of a process; `later`, with live samples, is the one that the view
 * was made of. */
void hm_sites_add_look(struct hm_sites *sites, const struct hm_snapshot *earlier,
		       const struct hm_snapshot *later);

/* Accepts zeroed sites. */
void hm_sites_done(struct hm_sites *sites);

#endif
