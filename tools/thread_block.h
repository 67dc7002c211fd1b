// SPDX-License-Identifier: Apache-2.0
/*
 * The block of memory that the C library has set aside, or was given, for the stack of a thread.
 *
 * glibc notes it in the description of the thread (struct pthread, nptl/descr.h), at the upper end of that
 * block.  Where the description lies the kernel knows of every thread, without stopping it: in it is the head
 * of the list of robust mutexes, which glibc registers for each (get_robust_list(2)).
 */
#ifndef HM_TOOLS_THREAD_BLOCK_H
#define HM_TOOLS_THREAD_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hm_thread_block {
	uint64_t start_address; /* with a guard, where there is one */
	uint64_t end_address;   /* 0: not known, as of the first thread, whose stack is the kernel's */
};

/* Of a thread of the process that may be looked at. */
struct hm_thread_block hm_thread_block_read(pid_t pid, pid_t thread);

/* The same of a copy of the description, which begins at `address`; exported for tests. */
struct hm_thread_block hm_thread_block_find(uint64_t address, const uint64_t *words, size_t word_count);

#endif
