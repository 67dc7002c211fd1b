// SPDX-License-Identifier: Apache-2.0
/*
 * The threads of a process: names, states, where they wait, and their stacks.
 *
 * Names and states come from /proc/PID/task, which anybody may read.  Where a thread waits and its stack need
 * the right to trace the process; thread_stop.h says what is done to it for that.  At most HM_THREADS_MAX
 * threads are listed and at most HM_THREADS_WALKED_MAX of them walked, in at most HM_THREADS_SECONDS; what is
 * beyond is counted.
 */
#ifndef HM_TOOLS_THREADS_H
#define HM_TOOLS_THREADS_H

#include "tools/mappings.h"
#include "tools/thread_block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum {
	HM_THREADS_MAX = 16384,
	HM_THREADS_WALKED_MAX = 2048,
	HM_THREADS_SECONDS = 5,
	HM_THREAD_FRAMES_MAX = 64,
	HM_THREAD_NAME_BYTES = 32, /* the kernel keeps 15 */
	HM_THREAD_PLACE_BYTES = 64,
};

enum hm_thread_stack {
	HM_THREAD_STACK_NONE,    /* not walked */
	HM_THREAD_STACK_WHOLE,   /* to the outermost frame */
	HM_THREAD_STACK_PART,    /* as far as it could be followed */
	HM_THREAD_STACK_SLEEPER, /* the same: without its registers, since a stop would disturb it */
};

struct hm_thread {
	pid_t id;
	char name[HM_THREAD_NAME_BYTES];
	char state;                        /* as in /proc/PID/stat: 'R', 'S', 'D', ... */
	char place[HM_THREAD_PLACE_BYTES]; /* the kernel's function in which it waits; "": not known, or none
					    */
	const char *call;                  /* the system call; static text; NULL: not known, or none */
	double idle_seconds;               /* since it last ran; negative: not known */
	uint64_t stack_pointer;            /* 0: not known; so is the next */
	uint64_t stack_end;                /* a little above where its stack begins */
	struct hm_thread_block block;
	enum hm_thread_stack stack;
	uint32_t frame_count;
	uint64_t frames[HM_THREAD_FRAMES_MAX]; /* innermost first; of calls the return address - 1 */
};

struct hm_threads {
	pid_t pid;                 /* of the process */
	struct hm_thread *entries; /* owned; the first thread first, then by number */
	size_t count;
	size_t total_count;  /* there may be more than are listed */
	size_t walked_count; /* that have frames */
	int refusal;         /* why a stack could not be walked, the first time: negative errno; 0: none */
};

/*
 * Reads them.  `mappings` (borrowed for the call) are those of the process; NULL: they are refused to us, and
 * stacks are not walked.
 * Returns 0, or -ESRCH where the process has ended, or another negative errno.
 */
int hm_threads_read(pid_t pid, const struct hm_mappings *mappings, struct hm_threads *ret_threads);

/* Accepts a zeroed list. */
void hm_threads_done(struct hm_threads *threads);

/* "sleeping", "running".  Static text. */
const char *hm_thread_state_text(char state);

#endif
