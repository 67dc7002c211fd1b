// SPDX-License-Identifier: Apache-2.0
/*
 * An allocator that counts, and refuses on request.  The linker's --wrap puts it between what is tested and
 * libc.
 */
#ifndef TESTS_MAP_MEMORY_H
#define TESTS_MAP_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum {
	LOGGED_MAX = 64,
	LARGE_BYTES = 145, /* more than an overflow bucket */
};

struct memory {
	uint64_t call_count;    /* of malloc, calloc and realloc, since the last reset */
	uint64_t refuse_call;   /* the one to refuse; 0: none */
	uint32_t refuse_one_in; /* by chance; 0: none, 1: all */
	uint64_t random_state;  /* of that chance */

	int64_t live_blocks;
	uint64_t asked_bytes; /* over all calls that were not refused */
	uint64_t overflow_bucket_callocs;

	uint64_t large_count; /* large_bytes[] and large_blocks[] in use: one for each large calloc */
	size_t large_bytes[LOGGED_MAX];
	void *large_blocks[LOGGED_MAX]; /* NULL once it is freed */
	uint64_t list_count;            /* list_bytes[] in use: each a realloc to more than any before */
	size_t list_bytes[LOGGED_MAX];
};

extern struct memory memory;

/* As if nothing had been asked for yet; blocks that are live are forgotten.  Refuses nothing. */
void memory_reset(void);

/* Of the large blocks logged, those that are not freed. */
size_t memory_large_bytes_live(void);

#endif
