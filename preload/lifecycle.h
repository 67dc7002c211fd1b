// SPDX-License-Identifier: Apache-2.0
/*
 * Birth and death: when recording starts, what fork does to it, what is written at exit.
 *
 * Recording starts with the first allocation after the C library is up and outside the loader: earlier than
 * any constructor of the library could, since constructors of other libraries run first and allocate.
 */
#ifndef HM_PRELOAD_LIFECYCLE_H
#define HM_PRELOAD_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Makes the process ready to sample, where it is not and where that can be done now.  A new image starts its
 * ledger with it, while it can still reach the directory; a fork child is only given a token, and a ledger at
 * its first sample: most children just execute something. `caller` is where the program called us from.  The
 * thread's guard is up.
 */
bool hm_lifecycle_prepare(const void *caller);

/* The sampling interval in force, as the ledger says, or that of the parent.  After hm_lifecycle_prepare. */
uint64_t hm_lifecycle_interval_bytes(void);

/* Starts the ledger of a prepared process.  Returns whether the process is recording.  The guard is up. */
bool hm_lifecycle_start(void);

/*
 * The process is about to end without any handlers: removes a ledger without a sample, which would stay for
 * nothing (Debian's sh ends like this each time).  Any thread, any signal handler.
 */
void hm_lifecycle_leave(void);

/*
 * A seccomp filter is about to be installed after which `forbidden` (bits of enum hm_ability) cannot be done
 * any more.  Does it now: makes the image ready, starts the ledger of a fork child that is to be recorded,
 * since it could not later, makes the file longer, looks at the stack.  `caller` is where the program called
 * us from. Returns false in a vfork child, whose filter is not that of the process.
 */
bool hm_lifecycle_before_filter(uint32_t forbidden, const void *caller);

/*
 * Unmaps what is not used of the ledger, for a process that may lock only so much memory.  Returns whether
 * that was anything; the ledger does not grow any more then.
 */
bool hm_lifecycle_cut(void);

/*
 * In a fork child, before it goes on: its next allocation takes the slow path, and where a signal handler has
 * forked in the middle of a recording, which both processes then finish, the child's part does not reach its
 * parent's ledger.  Async-signal-safe; keeps errno.
 */
void hm_lifecycle_in_fork_child(void);

/* Writes a profile of the process as it is to `path`, which must not exist.  0 or a negative errno;
 * -EPERM where a seccomp filter forbids what that takes. */
int hm_lifecycle_dump(const char *path);

#endif
