// SPDX-License-Identifier: Apache-2.0
/*
 * What the user set: the HEAPMARK_* variables, read once an image.
 *
 * HEAPMARK="rate=64K,dir=/tmp/p" holds all of them; single variables win.  A value that cannot be understood
 * is reported on stderr and the default used.
 */
#ifndef HM_PRELOAD_CONFIG_H
#define HM_PRELOAD_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct hm_config {
	uint64_t interval_bytes; /* HEAPMARK_RATE: 1 every allocation, 0 dormant */
	uint64_t limit_bytes;    /* HEAPMARK_MAX */
	uint64_t seed;           /* HEAPMARK_SEED: for tests, the same samples every time; 0: chance */
	uint64_t run_id; /* HEAPMARK_RUN: set by `heapmark run`, which makes the profiles itself; 0: none */
	uint32_t frames_max;      /* HEAPMARK_FRAMES */
	bool children;            /* HEAPMARK_CHILDREN */
	bool verbose;             /* HEAPMARK_VERBOSE */
	bool mappings;            /* HEAPMARK_MMAP */
	char directory[PATH_MAX]; /* HEAPMARK_DIR, absolute */
};

/* Reads the environment.  Not thread-safe, as getenv is not; no allocation. */
void hm_config_read(struct hm_config *ret_config);

#endif
