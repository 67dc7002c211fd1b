// SPDX-License-Identifier: Apache-2.0
/*
 * Ledger files as the verbs handle them: whose it is, whether it is still written, what is in it.
 */
#ifndef HM_TOOLS_LEDGER_H
#define HM_TOOLS_LEDGER_H

#include "proto/snapshot.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HM_LEDGER_SUFFIX  ".ledger"
#define HM_PROFILE_SUFFIX ".pb.gz"

/* The beginning of a ledger, read without trusting the rest. */
struct hm_ledger_identity {
	enum hm_ledger_state state;
	pid_t pid; /* in the pid namespace of the process */
	uint64_t run_id;
	uint64_t process_start_ticks; /* tells two processes of one number apart; 0: unknown */
};

/* False where the file does not begin as a ledger of this version. */
bool hm_ledger_identify(int descriptor, struct hm_ledger_identity *ret_identity);

/* What a snapshot has beside stacks, modules and gauges; may be added up. */
enum hm_ledger_extra {
	HM_LEDGER_LIVE = 1, /* live samples, one by one */
	HM_LEDGER_AGES = 2, /* live samples by stack and age: the labels of a profile */
};

/*
 * Takes a snapshot of the ledger behind `descriptor`, as of now where the process still runs, and as of the
 * last modification, or the last sample, where it does not: it may have lived on.  `extras`: enum hm_ledger_extra.
 * Errors as hm_snapshot_take.
 */
int hm_ledger_snapshot(int descriptor, bool is_running, unsigned int extras, struct hm_snapshot *ret_snapshot,
		       enum hm_snapshot_fault *ret_fault);

/*
 * Whether something in the ledger is damaged, beyond what a process that runs, or a kill at any instant,
 * leaves unfinished.
 */
bool hm_ledger_is_damaged(const struct hm_snapshot *snapshot);

/*
 * Tells the process with which mean interval to sample from now on; *ret_was is the one in force so far.
 * asleep_bytes: what is live of what it allocated asleep is at most so much, where this wakes it; 0: not
 * known.  Returns 0 or a negative errno; -EBADMSG where the file is too short to have one.
 */
int hm_ledger_set_interval(int descriptor, uint64_t interval_bytes, uint64_t asleep_bytes, uint64_t *ret_was);

/*
 * Tells the process to write its profile itself when it ends, in place of leaving the ledger to somebody.
 * The descriptor must be writable.  Returns 0 or a negative errno.
 */
int hm_ledger_release(int descriptor);

#endif
