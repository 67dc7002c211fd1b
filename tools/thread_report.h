// SPDX-License-Identifier: Apache-2.0
/* Threads as text: a page of all stacks, and groups of threads that wait at the same place. */
#ifndef HM_TOOLS_THREAD_REPORT_H
#define HM_TOOLS_THREAD_REPORT_H

#include "tools/thread_names.h"
#include "tools/threads.h"

#include <stdio.h>

/*
 * As Go's page of goroutines (/debug/pprof/goroutine?debug=2): for each thread a head, then two lines for
 * each function, innermost first, then an empty line:
 *
 *	thread 4711 "worker-1" [sleeping in futex, 3 minutes]:
 *	wait_for_work()
 *		/usr/src/pool.c:123
 *	start_thread()
 *		/lib/x86_64-linux-gnu/libc.so.6+0x89044
 *
 * How long it has not run is told from a minute on, as there.  What is missing is said in lines that begin
 * with "# ".  Control characters in names become '?'.
 */
void hm_threads_print(FILE *stream, const struct hm_threads *threads, const struct hm_thread_names *names);

/*
 * What is missing, as one sentence without a full stop: "2 of 3 stacks could not be read: Operation not
 * permitted".  The caller frees; NULL where nothing is.
 */
char *hm_threads_missing_text(const struct hm_threads *threads);

/* Threads in one state, in one call, whose stacks begin alike. */
struct hm_thread_group {
	char *where; /* owned; "pthread_cond_wait < wait_for_work < worker_main"; "" where no stack is known
		      */
	const char *state;    /* static text: "sleeping" */
	const char *waits_in; /* the system call, or the kernel's function; borrowed; NULL: not known */
	const char *name;     /* borrowed from the threads: of the first; others may have others */
	size_t count;
	bool has_other_names;
};

struct hm_thread_groups {
	struct hm_thread_group *entries; /* owned; the largest first */
	size_t count;
};

void hm_thread_groups_build(const struct hm_threads *threads, const struct hm_thread_names *names,
			    struct hm_thread_groups *ret_groups);
void hm_thread_groups_done(struct hm_thread_groups *groups);

#endif
