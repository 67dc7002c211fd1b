// SPDX-License-Identifier: Apache-2.0
/*
 * What every thread carries: one cache line of thread-local storage, all zero in a new thread.
 *
 * initial-exec: the block lies at a fixed distance from the thread pointer, so that reaching it is one load
 * and never a call into the loader (which may allocate).
 */
#ifndef HM_PRELOAD_THREAD_H
#define HM_PRELOAD_THREAD_H

#include "preload/cc.h"
#include "preload/frames.h"
#include "preload/sampler.h"

#include <assert.h>
#include <stdint.h>

struct hm_thread {
	struct hm_sampler sampler;
	/*
	 * The recursion guard: the frame of the function that is recording, 0 while none is.  A call from
	 * a deeper frame is nested (our own allocations, a signal handler's) and is not recorded, unless that
	 * frame is not on the stack any more: a longjmp has left the guard behind.
	 */
	uintptr_t busy_frame;
	struct hm_stack_bounds stack;
	uint64_t process_token; /* of the process that seeded the sampler: a fork child's is another */
};
static_assert(sizeof(struct hm_thread) == 64,
	      "one cache line, of the few hundred bytes that ld.so has to spare");

/*
 * For busy_frame: nothing is recorded, whatever the frame.  Neither bit is one of an address; the second goes
 * beside what was there before fork.
 */
static const uintptr_t HM_BUSY_THROUGHOUT = (uintptr_t)1 << 62;
static const uintptr_t HM_BUSY_FORKING = (uintptr_t)1 << 63;

extern HM_HIDDEN _Thread_local struct hm_thread hm_thread __attribute__((tls_model("initial-exec")));

#endif
