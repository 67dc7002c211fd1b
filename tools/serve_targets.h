// SPDX-License-Identifier: Apache-2.0
/*
 * What `heapmark serve` serves: one process, one ledger, or the ledgers of a directory as they come and go.
 *
 * A process that was named by its number keeps its ledger open, so that the last figures are there when it
 * has ended and its ledger is gone; when it executes another program, the new ledger is taken.  A number
 * that the kernel has given to another process since is not followed.
 *
 * Any thread; what is opened is the caller's own.
 */
#ifndef HM_TOOLS_SERVE_TARGETS_H
#define HM_TOOLS_SERVE_TARGETS_H

#include "proto/ledger.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum hm_targets_kind { HM_TARGETS_PROCESS, HM_TARGETS_LEDGER, HM_TARGETS_DIRECTORY };

struct hm_targets {
	enum hm_targets_kind kind;
	char argument[PATH_MAX]; /* as it was given */
	pthread_mutex_t lock;    /* over what follows */
	int descriptor;          /* owned: the ledger; -1 for a directory */
	pid_t pid;               /* HM_TARGETS_PROCESS */
	uint64_t start_ticks;    /* of that process */
	char path[PATH_MAX];     /* of the ledger as its process sees it */
};

struct hm_target {
	int descriptor;   /* owned: the ledger; -1: cannot be opened, see `error` */
	int error;        /* negative errno: -EACCES, or -EBADMSG where it is no ledger of this version */
	pid_t pid;        /* here; of a process that is not seen (any more) as its ledger has it */
	bool is_running;  /* and writes to this ledger */
	bool is_hidden;   /* a process of this number cannot be looked at: whether the ledger's runs is not
			     known */
	bool is_replaced; /* the process lives, and executes another program now */
	char comm[HM_COMM_MAX];
	char path[PATH_MAX];
	uint64_t run_start_ns; /* CLOCK_REALTIME, of the ledger */
};

/* Which of them a request wants. */
struct hm_target_choice {
	pid_t pid;          /* 0: any */
	const char *ledger; /* file name in the directory; NULL: any */
};

enum { HM_TARGET_REASON_BYTES = 1024 };

/*
 * Begins to serve `argument`, which hm_input_open understands.  Returns 0 or what hm_input_open says, to be
 * told by hm_input_explain; -EMEDIUMTYPE where it is a profile.
 */
int hm_targets_init(struct hm_targets *ret_targets, const char *argument);
void hm_targets_done(struct hm_targets *targets);

/*
 * Opens the one that is wanted.  Where nothing is asked for, it is the only one that runs, or the only one
 * there is.  Returns 0; or, with a line for the user in ret_reason,
 *	-ENOENT   there is none
 *	-ESTALE   its ledger was deleted
 *	-EACCES   it is somebody else's
 *	-EMLINK   there are several
 *	-EBADMSG  it is no ledger
 * or another negative errno.
 */
int hm_targets_open(struct hm_targets *targets, const struct hm_target_choice *choice,
		    struct hm_target *ret_target, char ret_reason[HM_TARGET_REASON_BYTES]);

/* Renews what a target that was opened some time ago says of its process. */
void hm_target_look_again(struct hm_target *target);

/*
 * What has become of a process that is not seen to run, to follow its name: "has ended: these are the last
 * figures of its ledger".  Static text.
 */
const char *hm_target_fate(const struct hm_target *target);

void hm_target_close(struct hm_target *target);

/*
 * Calls `visit` with each, one open at a time, by name; one that cannot be opened has descriptor -1.
 * Returns 0, or what hm_targets_open says, with a line for the user in ret_reason.
 */
int hm_targets_visit(struct hm_targets *targets, void (*visit)(void *context, const struct hm_target *target),
		     void *context, char ret_reason[HM_TARGET_REASON_BYTES]);

#endif
