// SPDX-License-Identifier: Apache-2.0
/* What the kernel says about a process as a whole: the figures that Prometheus calls process_*. */
#ifndef HM_TOOLS_PROCESS_USAGE_H
#define HM_TOOLS_PROCESS_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hm_process_usage {
	uint64_t resident_bytes;
	uint64_t virtual_bytes;
	uint64_t data_bytes;     /* VmData: private memory that can be written to, less the stack */
	uint64_t profiler_bytes; /* address space of the library's own tables in memory, an upper limit of
				    what they take; 0 where the kernel gives mappings no names */
	double cpu_seconds;      /* user and system */
	double start_seconds;    /* since 1970 */
	uint64_t start_ticks;    /* field 22 of /proc/PID/stat: tells apart two processes of one number */
	uint32_t thread_count;
	bool has_files;      /* the next two are known: a process of our own user */
	uint64_t file_count; /* open descriptors */
	uint64_t file_count_max;
};

/* Returns 0, or -ESRCH where there is no such process or it has ended, or another negative errno. */
int hm_process_read_usage(pid_t pid, struct hm_process_usage *ret_usage);

/* start_ticks alone; 0: there is no such process, or it has ended. */
uint64_t hm_process_start_ticks(pid_t pid);

/*
 * The command line, arguments with a NUL between them and none behind the last: *ret_text is the caller's to
 * free and has *ret_size_bytes.  Empty arguments at the end are left out: programs that put a title in the
 * place of their arguments (PostgreSQL) fill the rest with NULs.
 * Returns 0 or a negative errno.
 */
int hm_process_read_command(pid_t pid, char **ret_text, size_t *ret_size_bytes);

#endif
