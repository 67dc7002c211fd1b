// SPDX-License-Identifier: Apache-2.0
/*
 * Work on files that nobody vouches for, done in a child process with limits.
 *
 * The child may crash, loop or take all the memory it can get; what it had said until then is kept, and the
 * caller goes on.  What it allocated is gone with it.
 */
#ifndef HM_TOOLS_ISOLATED_H
#define HM_TOOLS_ISOLATED_H

#include <stddef.h>
#include <stdint.h>

struct hm_isolated_limits {
	uint32_t cpu_seconds;     /* of the child */
	uint32_t silence_seconds; /* without a byte from it */
	uint64_t memory_bytes;    /* private memory that it may write to, beyond what it is born with */
};

struct hm_isolated_work {
	/* In the child: writes what it finds to `descriptor`.  When it returns, the child is done. */
	void (*run)(void *context, int descriptor);
	/* In the caller: takes what the child wrote, in pieces of any size.  Not 0: has enough, the child is
	 * ended. */
	int (*take)(void *context, const void *data, size_t size_bytes);
	void *context; /* borrowed by both; what `run` changes in it stays in the child */
};

enum hm_isolated_end {
	HM_ISOLATED_DONE,
	HM_ISOLATED_CRASHED,
	HM_ISOLATED_TOO_LONG, /* processor time, or silence */
	HM_ISOLATED_STOPPED,  /* `take` had enough */
	HM_ISOLATED_NO_CHILD, /* there could be none: too many processes, no memory */
};

/* Runs the work; returns when the child is gone. */
enum hm_isolated_end hm_isolated_run(const struct hm_isolated_work *work,
				     const struct hm_isolated_limits *limits);

#endif
