// SPDX-License-Identifier: Apache-2.0
/*
 * What belongs to this very process and to no child of it.
 *
 * The structure lies in memory that the kernel wipes in a fork child (MADV_WIPEONFORK), however the child
 * came to be: fork, _Fork, a raw clone.  A child therefore finds all of it zero, state HM_PROCESS_NEW, and
 * starts a ledger of its own at its first sample.  A vfork child shares the memory, and with it the
 * ledger.
 */
#ifndef HM_PRELOAD_PROCESS_H
#define HM_PRELOAD_PROCESS_H

#include "preload/cc.h"
#include "preload/ledger_file.h"
#include "preload/sandbox.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/*
 *	NEW --(one thread)--> STARTING --> RECORDING --(normal exit)--> FINISHED
 *	                          \
 *	                           +-----> OFF
 */
enum hm_process_state {
	HM_PROCESS_NEW = 0,
	HM_PROCESS_STARTING,
	HM_PROCESS_RECORDING,
	HM_PROCESS_FINISHED,
	HM_PROCESS_OFF, /* not to be profiled: AT_SECURE, HEAPMARK_CHILDREN=0, no memory */
};

struct hm_process {
	_Atomic uint32_t state; /* enum hm_process_state */
	uint32_t pid;
	_Atomic uint64_t token;                       /* another one in each process; 0: not prepared yet */
	_Atomic uint32_t thread_count;                /* that have been seen: numbers their seeds */
	uint64_t start_ticks;                         /* as in the ledger */
	struct hm_ledger_header *_Atomic told_ledger; /* which says where our memory lies: memory.h */
	_Atomic uint32_t map_owner;                   /* map_lock.h: the thread that holds it; 0: none */
	_Atomic uint32_t map_waiters;
	_Atomic uint32_t map_table_is_ours;   /* map_recorder.c: 0 after a fork: it is the parent's still */
	struct hm_ledger_intervals intervals; /* until there is a ledger, which has them from then on */
};

/* Never NULL. */
extern HM_HIDDEN struct hm_process *hm_process;

/*
 * The ledger of the process; of its parent, in a fork child that has not started one.  Not wiped: where a
 * signal handler forks in the middle of a recording, the child finishes it with what it began with.
 */
extern HM_HIDDEN struct hm_ledger_file hm_ledger;

/*
 * The number of the calling process; where a seccomp filter forbids to ask, that of the one that started the
 * ledger, 0 in a fork child of it.
 */
static inline uint32_t hm_process_own_pid(void)
{
	return hm_may(HM_MAY_KNOW_PID) ? (uint32_t)getpid() : hm_process->pid;
}

/* CLOCK_MONOTONIC_COARSE in 1/16 s. */
uint64_t hm_process_ticks(void);

#endif
