// SPDX-License-Identifier: Apache-2.0
/*
 * Processes as /proc shows them: which ledger a process writes, and which process writes a ledger.
 *
 * A process in another pid namespace has one number there, which its ledger holds, and another one here;
 * in another mount namespace it has other paths.  Both are followed.
 */
#ifndef HM_TOOLS_PROCESS_H
#define HM_TOOLS_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hm_process_ledger {
	int descriptor;      /* owned; read-only */
	char path[PATH_MAX]; /* as the process sees it; nothing may be there any more */
};

/*
 * Opens the ledger that a process writes, even one whose file is deleted or out of reach by its path.
 *
 * Returns 0, or
 *	-ESRCH    no such process, or it has ended
 *	-EACCES   refused to us: process_access.h says why
 *	-ENOENT   runs without the library
 *	-ENODATA  has the library but no ledger: nothing was sampled in it, or no file could be made for it
 * or another negative errno.
 */
int hm_process_open_ledger(pid_t pid, struct hm_process_ledger *ret_ledger);

/*
 * A process whose first thread has ended shows its memory and its files through its other threads only.
 * Returns one that runs, or `pid` itself where there is none.
 */
pid_t hm_process_running_thread(pid_t pid);

/* The number of its parent; 0: unknown, or it has ended. */
pid_t hm_process_parent(pid_t pid);

struct hm_process_memory {
	uint64_t resident_bytes; /* VmRSS */
	uint64_t peak_bytes;     /* VmHWM */
};

/* Returns 0, or -ESRCH where it has ended, or another negative errno. */
int hm_process_read_memory(pid_t pid, struct hm_process_memory *ret_memory);

/* Processes of pid namespaces below ours, by which a number in a ledger is understood. */
struct hm_process_inner {
	pid_t pid;       /* here */
	pid_t inner_pid; /* in its own namespace */
};

struct hm_process_list {
	struct hm_process_inner *entries; /* owned; released by hm_process_list_done */
	size_t count;
};

/* Lists them as they are now.  What cannot be read is left out. */
void hm_process_list_init(struct hm_process_list *ret_list);
void hm_process_list_done(struct hm_process_list *list);

/*
 * Finds the process that has the ledger mapped: the one whose number the ledger holds, `ledger_pid`, here or
 * in a namespace of `list` (borrowed).  The file is known by the last part of its path and its inode: the
 * device number in /proc/PID/maps is not that of stat() on every file system.
 * Returns its number here, or 0 where there is none any more.
 */
pid_t hm_process_of_ledger(const struct hm_process_list *list, pid_t ledger_pid, const char *ledger_name,
			   uint64_t inode);

#endif
