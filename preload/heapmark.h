// SPDX-License-Identifier: Apache-2.0
/*
 * heapmark.h: what a program may tell the profiler.
 *
 * All of it is optional.  The functions are weak: a program that is linked without libheapmark.so and runs
 * without it finds them NULL, and asks before it calls:
 *
 *	#include <heapmark.h>
 *
 *	if (heapmark_gauge)
 *		heapmark_gauge("cache/entries", cache->count);
 *
 * In a program that is not position-independent (-no-pie) the linker settles a weak function that it does not
 * find as NULL for good; such a program is linked with libheapmark.so, or stays silent.
 *
 * Every function may be called by any thread at any time, but not by a signal handler.
 */
#ifndef HEAPMARK_H
#define HEAPMARK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Publishes a named number: the last value is kept, readers see it at once.  `name` is copied; at most
 * 47 bytes, by convention path-like: "hashmap/bucket_count".  At most 64 names a process.
 */
extern void heapmark_gauge(const char *name, double value) __attribute__((weak));

/*
 * Writes a profile of this process as it is now.  `path` is never overwritten.
 * Returns 0 or a negative errno.
 */
extern int heapmark_dump(const char *path) __attribute__((weak));

/*
 * For pools and custom allocators: a block that the program itself hands out is sampled, walked and counted
 * as one of malloc's.  Blocks are known by their address; a block may begin where a malloc'd one begins.
 * A pool that reports its blocks counts twice what it took from malloc, once under its own stacks.
 */
extern void heapmark_report_alloc(const void *block, size_t size_bytes) __attribute__((weak));
extern void heapmark_report_free(const void *block) __attribute__((weak));
extern void heapmark_report_realloc(const void *old_block, const void *new_block, size_t size_bytes)
	__attribute__((weak));

#ifdef __cplusplus
}
#endif

#endif
