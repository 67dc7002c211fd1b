// SPDX-License-Identifier: Apache-2.0
/* /debug/pprof/threads: every thread of a process and where it waits, as Go's page of goroutines. */
#ifndef HM_TOOLS_THREADS_PAGE_H
#define HM_TOOLS_THREADS_PAGE_H

#include <stdio.h>
#include <sys/types.h>

/* Prints a paragraph for each thread.  Returns 0, -ESRCH where the process has ended, or a negative errno. */
int hm_threads_page_print(pid_t pid, FILE *stream);

#endif
