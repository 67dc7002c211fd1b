// SPDX-License-Identifier: Apache-2.0
/*
 * What `heapmark doctor` looks at, and what it found: gathered by doctor_gather.c, shown by doctor_page.c and, in
 * its last lines, by doctor_verdict.c.
 */
#ifndef HM_TOOLS_DOCTOR_H
#define HM_TOOLS_DOCTOR_H

#include "tools/diagnosis.h"
#include "tools/input.h"
#include "tools/memory_split.h"
#include "tools/process.h"
#include "tools/sites.h"
#include "tools/thread_report.h"
#include "tools/view.h"

#include <limits.h>
#include <stdbool.h>

struct hm_doctor {
	const char *argument;     /* borrowed; as the user knows it */
	pid_t pid;                /* of the process where it runs; else 0 */
	bool has_ended_meanwhile; /* it ran when it was first looked at */
	char left_path[PATH_MAX]; /* then, what it has left: a ledger or a profile; empty: not found */
	pid_t hidden_pid;         /* where that is 0: of one that may write the ledger (input.h) */
	bool is_profile;          /* the argument was a profile, not a ledger */

	/* Of a ledger. */
	struct hm_snapshot earlier; /* of a process that runs: the first look */
	struct hm_snapshot later;
	double look_seconds;          /* between them; 0: there was one, or nothing is recorded now */
	double resident_growth_bytes; /* between them */
	bool is_asleep;

	struct hm_view view;
	struct hm_sites sites;
	bool hides_frames; /* the profile's expression was understood */

	/* Of a process that runs. */
	struct hm_mappings mappings;
	struct hm_memory_split split;
	bool has_split;
	int split_error; /* why there is none: negative errno */
	struct hm_process_memory memory;
	bool has_memory; /* resident_bytes also of a profile that says it; peak_bytes 0: not known */
	struct hm_threads threads;
	struct hm_symbols symbols;
	struct hm_thread_names names;
	struct hm_thread_groups groups;

	struct hm_diagnosis diagnosis;
};

/*
 * Gathers everything and makes the diagnosis.  A process that runs is looked at for a second.  Returns 0 or a
 * negative errno with *ret_reason (static text) for the user, to follow the argument and a colon.  In either
 * case hm_doctor_done releases what there is.  `doctor` stays where it is.
 */
int hm_doctor_gather(struct hm_doctor *doctor, const char *argument, const struct hm_input *input,
		     const char **ret_reason);
void hm_doctor_done(struct hm_doctor *doctor);

/* Whether the process did not come to its normal end: it lived until its last sample, if not longer. */
bool hm_doctor_end_is_open(const struct hm_doctor *doctor);

/* Prints the screen on standard output. */
void hm_doctor_print(const struct hm_doctor *doctor);

/* Parts of it: the verdict and what to type next; and when what is not recorded was allocated, in words. */
void hm_doctor_print_verdict(const struct hm_doctor *doctor);
void hm_doctor_print_unrecorded(const struct hm_doctor *doctor);

#endif
