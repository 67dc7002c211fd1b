// SPDX-License-Identifier: Apache-2.0
/*
 * The ledgers of one `heapmark run`: found by the run's id in their header, turned into profiles when their
 * process is gone.
 *
 * A ledger belongs to the run if its header holds the id, whatever its name says; it is given up by its
 * process when no process has it mapped any more, however that one ended.
 */
#ifndef HM_TOOLS_RUN_LEDGERS_H
#define HM_TOOLS_RUN_LEDGERS_H

#include "proto/profile_write.h"
#include "proto/snapshot.h"
#include "tools/symbols.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A process of the run that is over. */
struct hm_run_profile {
	char *path; /* owned; of its profile */
	char comm[HM_COMM_MAX];
	uint32_t pid;
	bool finished;   /* came to its normal end */
	bool is_damaged; /* its ledger was, and was read as far as it went */
	struct hm_snapshot_totals totals;
	uint64_t losses[HM_LOSS_KINDS];
};

/* A ledger that could not be made into a profile, and is left where it is. */
struct hm_run_failure {
	char *path; /* owned */
	bool is_ledger_fault;
	enum hm_snapshot_fault fault; /* with is_ledger_fault */
	int error;                    /* negative errno */
};

/* A process of the run that still runs, and will write its profile itself. */
struct hm_run_survivor {
	char *ledger_path; /* owned */
	char comm[HM_COMM_MAX];
	pid_t pid; /* here */
};

struct hm_run {
	const char *directory; /* borrowed; as it stands in messages */
	uint64_t run_id;
	struct hm_symbols *symbols; /* borrowed; NULL: profiles have addresses only */
	bool no_labels;             /* profiles do not split what is in use by its age */

	/* All owned; released by hm_run_done. */
	struct hm_run_profile *profiles;
	struct hm_run_failure *failures;
	struct hm_run_survivor *survivors;
	size_t profile_count;
	size_t failure_count;
	size_t survivor_count;

	unsigned int snapshot_failure_count; /* snapshots that could not be written */
	int snapshot_error;                  /* why the last of them could not: negative errno */
	struct hm_profile_written
		unnamed; /* of all profiles: the files that could not be named, nothing else */
};

/*
 * Makes profiles of the ledgers whose process is gone, and removes the ledgers.  One in which nothing was
 * sampled is removed without a profile.  Ledgers that failed before are left alone.
 */
void hm_run_collect(struct hm_run *run);

/* Writes NAME.0001.pb.gz, where number is 1, of every process that runs. */
void hm_run_snapshot(struct hm_run *run, unsigned int number);

/*
 * The end: collects, with another try for what failed before, and leaves the processes that still run to
 * themselves.
 */
void hm_run_finish(struct hm_run *run);

void hm_run_done(struct hm_run *run);

#endif
