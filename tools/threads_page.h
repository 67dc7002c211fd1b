// SPDX-License-Identifier: Apache-2.0
/* /debug/pprof/threads: every thread of a process, where it waits and its stack, as Go's page of goroutines.
 */
#ifndef HM_TOOLS_THREADS_PAGE_H
#define HM_TOOLS_THREADS_PAGE_H

#include "tools/symbols.h"

#include <stdio.h>
#include <sys/types.h>

/*
 * Prints a paragraph for each thread (thread_report.h).  `symbols` is begun for the process.  Returns 0,
 * -ESRCH where the process has ended, or a negative errno.
 */
int hm_threads_page_print(pid_t pid, struct hm_symbols *symbols, FILE *stream);

#endif
