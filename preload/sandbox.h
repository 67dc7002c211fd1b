// SPDX-License-Identifier: Apache-2.0
/*
 * The program's own seccomp filters, and what they leave us.
 *
 * A program that installs a filter lists what it needs itself.  What the library needs is not in the list,
 * and a call that is not in it kills the process.  So each filter is read when it is installed
 * (shim_system.c), asked about every system call that the library makes (bpf.h), and from then on the
 * library does without what it would be killed for:
 *
 *	no HM_MAY_...        then
 *	HOLD_OFF_SIGNALS     signals.h holds none off; nothing is done that would be unsafe with them
 *	ASK_READABLE         a walk stays on the pages of the stack that were asked about before
 *	MAP                  private tables do not grow
 *	COMPILE              a walk ends where it meets an address without a rule
 *	WAIT, YIELD          waiting is done by spinning, no longer than before
 *	KNOW_PID             a vfork child that exits is taken for its parent
 *	SAY                  nothing is written to stderr
 *	LOOK_BEFORE_SAYING   it is written unseen
 *	GROW, TRUNCATE       the ledger stays as long as it is: what does not fit is counted
 *	NAME_MODULES         modules have the names that the loader knows them by
 *	REMOVE               an empty ledger stays
 *	START                a fork child without a ledger is not profiled
 *	WRITE_PROFILE        the ledger stays in its place, for `heapmark dump`
 *
 * Before the kernel is asked, lifecycle.h does ahead of time what will not be possible later.
 *
 * What is not seen: filters from before the exec (of a container, of a systemd unit).  They are broad, for
 * the loader itself needs files and mappings behind them.  And filters that are installed without the C
 * library (Go programs, system call instructions of one's own).
 *
 * A filter binds the thread that installs it, or all (SECCOMP_FILTER_FLAG_TSYNC), and the children of those.
 * Here all threads are taken to be bound, by every filter: a thread that is not loses a little, and nobody
 * has to know which thread is which.  A filter is never taken away, and fork children inherit the filters
 * as they inherit this memory.  A vfork child shares it, and does not count: its filter is not its
 * parent's.
 *
 * A thread that is in the middle of our work while another one installs a filter for all threads may be
 * killed for it, as it may be in the middle of a call of its own.
 */
#ifndef HM_PRELOAD_SANDBOX_H
#define HM_PRELOAD_SANDBOX_H

#include "preload/cc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum hm_ability {
	HM_MAY_HOLD_OFF_SIGNALS,
	HM_MAY_ASK_READABLE,
	HM_MAY_MAP,
	HM_MAY_COMPILE,
	HM_MAY_WAIT,
	HM_MAY_YIELD,
	HM_MAY_KNOW_PID,
	HM_MAY_SAY,
	HM_MAY_LOOK_BEFORE_SAYING,
	HM_MAY_GROW,
	HM_MAY_TRUNCATE,
	HM_MAY_NAME_MODULES,
	HM_MAY_REMOVE,
	HM_MAY_START,
	HM_MAY_WRITE_PROFILE,
	HM_ABILITIES
};

/*
 * What may not be done any more, a bit for each ability; in one word, so that it changes at once.
 *
 *	63            32 31       16 15        0
 *	[ attempts      ][ pending  ][ for good ]      attempts: calls of the kernel that are under way
 */
extern HM_HIDDEN _Atomic uint64_t hm_sandbox;

enum { HM_SANDBOX_PENDING_SHIFT = 16, HM_SANDBOX_ATTEMPTS_SHIFT = 32 };

/* Any thread, any signal handler; a load and a test. */
static inline bool hm_may(enum hm_ability ability)
{
	/* relaxed: a thread sees what it has stored itself; and for others the kernel's own locks lie between
	 * a filter for all threads and the first call that it stops */
	const uint64_t forbidden = atomic_load_explicit(&hm_sandbox, memory_order_relaxed);

	return ((forbidden | forbidden >> HM_SANDBOX_PENDING_SHIFT) >> ability & 1) == 0;
}

/*
 * What the filter at `program` (the struct sock_fprog of seccomp(2), at any address) would forbid, a bit for
 * each ability.  0 where there is none at that address: the kernel will refuse it.
 */
uint32_t hm_sandbox_foresee(const void *program);

/* The same for SECCOMP_MODE_STRICT: read, write, exit and sigreturn. */
uint32_t hm_sandbox_foresee_strict(void);

/*
 * Around the call of the kernel: from begin on, `forbidden` holds; end says whether it holds for good.  Keeps
 * errno.
 */
void hm_sandbox_begin(uint32_t forbidden);
void hm_sandbox_end(uint32_t forbidden, bool was_installed);

/* Lets other threads run, where that may be asked for.  Keeps errno. */
void hm_sandbox_yield(void);

#endif
