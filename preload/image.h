// SPDX-License-Identifier: Apache-2.0
/*
 * What is known about the program image, gathered once after each exec and inherited by fork children:
 * settings, names, and a secret number that tells processes apart.
 */
#ifndef HM_PRELOAD_IMAGE_H
#define HM_PRELOAD_IMAGE_H

#include "preload/config.h"
#include "proto/ledger.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HM_COMMAND_MAX = 1024 };

struct hm_image {
	struct hm_config config;
	char comm[HM_COMM_MAX];       /* base name of the executable, safe in a file name */
	char executable[PATH_MAX];    /* absolute; empty: unknown */
	char command[HM_COMMAND_MAX]; /* arguments separated by blanks; cut where longer */
	size_t command_length;
	uint64_t seed;
};

/*
 * Gathers it, from the environment, the auxiliary vector and /proc, which may be missing.  Not thread-safe.
 * Opens and closes a descriptor.  Allocates nothing; keeps errno.
 */
void hm_image_read(struct hm_image *ret_image);

/* Field 22 of /proc/self/stat: when this process began, in clock ticks since boot; 0: /proc is not there. */
uint64_t hm_image_process_start_ticks(void);

/* Whether the library is in the parent process.  For HEAPMARK_CHILDREN=0. */
bool hm_image_parent_has_library(void);

/*
 * Looks for ledgers that earlier images of this very process left in the directory when they executed
 * this one, by pid and process_start_ticks; removes those without a sample.  Returns whether there was any.
 * A directory of more than about 1000 files is not searched: that would cost every process start.
 * Allocates (a directory is read): the thread's guard is up.
 */
bool hm_image_had_ledger(const struct hm_image *image, uint32_t pid, uint64_t process_start_ticks);

#endif
