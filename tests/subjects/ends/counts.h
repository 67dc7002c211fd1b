// SPDX-License-Identifier: Apache-2.0
/*
 * What a process that is to be killed tells about itself, in a file that it shares with whoever kills it.
 * Beside its calls it counts: before a call as begun, after it as done.  At any instant
 *
 *	done <= what has happened <= begun
 *
 * and so must the profile be that is made of what is left.
 */
#ifndef HM_TESTS_SUBJECTS_ENDS_COUNTS_H
#define HM_TESTS_SUBJECTS_ENDS_COUNTS_H

#include "tests/subjects/reading.h"
#include "tests/subjects/truth.h"

#include <fcntl.h>
#include <sys/mman.h>

enum { COUNTS_THREADS = 2 };

struct count {
	uint64_t objects;
	uint64_t bytes;
};

/* Of one thread. */
struct counts {
	struct count alloc_begun;
	struct count alloc_done;
	struct count free_begun;
	struct count free_done;
};

struct counts_page {
	uint64_t site_start; /* where the calls are made; 0: nothing is done yet */
	uint64_t site_end;
	uint64_t step; /* stepped.c: what kind of call follows */
	struct counts threads[COUNTS_THREADS];
};

static inline void count(struct count *count, size_t size_bytes)
{
	/* Each before the next: a kill leaves no later one without the earlier. */
	__atomic_store_n(&count->objects, count->objects + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&count->bytes, count->bytes + size_bytes, __ATOMIC_SEQ_CST);
}

/* Maps the page of a file, which is made where there is none; NULL: failed. */
static inline struct counts_page *counts_map(const char *path, int flags)
{
	const int file = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
	struct counts_page *page = NULL;

	if (file >= 0 && ftruncate(file, sizeof(*page)) == 0)
		page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	(void)close(file);
	return page == MAP_FAILED ? NULL : page;
}

static inline void counts_begin(struct counts_page *page)
{
	page->site_end = (uint64_t)(uintptr_t)__stop_counted_site;
	__atomic_store_n(&page->site_start, (uint64_t)(uintptr_t)__start_counted_site, __ATOMIC_SEQ_CST);
}

/* Lowest and highest of the four figures, in the order of the profile's types. */
struct bounds {
	uint64_t lowest[4];
	uint64_t highest[4];
};

static inline void bounds_add(struct bounds *bounds, size_t index, const struct count *alloc_done,
			      const struct count *alloc_begun)
{
	bounds->lowest[index] += alloc_done->objects;
	bounds->lowest[index + 1] += alloc_done->bytes;
	bounds->highest[index] += alloc_begun->objects;
	bounds->highest[index + 1] += alloc_begun->bytes;
}

static inline void bounds_subtract(uint64_t *figures, const struct count *freed)
{
	figures[0] -= freed->objects;
	figures[1] -= freed->bytes;
}

static inline struct bounds counts_bounds(const struct counts_page *page)
{
	struct bounds bounds = { 0 };

	for (size_t index = 0; index < COUNTS_THREADS; index++) {
		const struct counts *const counts = &page->threads[index];

		bounds_add(&bounds, 0, &counts->alloc_done, &counts->alloc_begun);
		bounds_add(&bounds, 2, &counts->alloc_done, &counts->alloc_begun);
		bounds_subtract(&bounds.lowest[2], &counts->free_begun);
		bounds_subtract(&bounds.highest[2], &counts->free_done);
	}
	return bounds;
}

/* Says what does not fit and returns false.  A block that is being freed may count as -1 of its kind. */
static inline bool counts_fit(const char *name, const struct reading *reading, const struct bounds *bounds)
{
	static const char *const types[] = { "alloc_objects", "alloc_space", "inuse_objects", "inuse_space" };
	const uint64_t found[] = { reading->alloc_objects, reading->alloc_bytes, reading->inuse_objects,
				   reading->inuse_bytes };
	bool fit = !reading->is_damaged && reading->lost == 0;

	if (!fit)
		say("%s: damaged: %d, lost: %" PRIu64, name, reading->is_damaged, reading->lost);
	for (size_t index = 0; index < 4; index++) {
		/* Signed: the lowest is below zero where a block is freed whose allocation counts as begun
		 * only. */
		if ((int64_t)found[index] >= (int64_t)bounds->lowest[index] &&
		    (int64_t)found[index] <= (int64_t)bounds->highest[index])
			continue;
		say("%s: %s: expected %" PRId64 " to %" PRId64 ", found %" PRIu64, name, types[index],
		    (int64_t)bounds->lowest[index], (int64_t)bounds->highest[index], found[index]);
		fit = false;
	}
	return fit;
}

/* "WORD NAME LOWEST HIGHEST LOWEST ...", in the order of the profile's types. */
static inline void counts_say(const char *word_and_name, const struct bounds *bounds)
{
	say("%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
	    word_and_name, (int64_t)bounds->lowest[0], (int64_t)bounds->highest[0],
	    (int64_t)bounds->lowest[1], (int64_t)bounds->highest[1], (int64_t)bounds->lowest[2],
	    (int64_t)bounds->highest[2], (int64_t)bounds->lowest[3], (int64_t)bounds->highest[3]);
}

static inline void counts_say_left(const char *name, const struct bounds *bounds)
{
	char word_and_name[128];

	(void)snprintf(word_and_name, sizeof(word_and_name), "left %s", name);
	counts_say(word_and_name, bounds);
}

#endif
