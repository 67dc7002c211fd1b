// SPDX-License-Identifier: Apache-2.0
/*
 * counted FILE [hungry]: threads allocate and free until they are killed, and count what they do (counts.h);
 * hungry: nothing is freed, and all of it is used.
 */
#include "tests/subjects/ends/counts.h"

#include <pthread.h>

enum { KEPT = 64 };

SECTION_OF_SITE static SITE void *counted(struct counts *counts, size_t size_bytes)
{
	void *block;

	count(&counts->alloc_begun, size_bytes);
	block = malloc(size_bytes);
	count(&counts->alloc_done, size_bytes);
	return block;
}

static void discard(struct counts *counts, void *block, size_t size_bytes)
{
	count(&counts->free_begun, size_bytes);
	free(block);
	count(&counts->free_done, size_bytes);
}

/* A ring of blocks: the oldest is freed when a new one needs its place.  The size follows from the round. */
static void *run(void *argument)
{
	static const size_t sizes[] = { 16, 100, 1, 3000, 0, 70000, 40 };
	struct counts *const counts = argument;
	void *blocks[KEPT] = { NULL };

	for (size_t round = 0;; round++) {
		void **const place = &blocks[round % KEPT];

		if (round >= KEPT)
			discard(counts, *place, sizes[(round - KEPT) % 7]);
		*place = counted(counts, sizes[round % 7]);
	}
	return NULL;
}

static void *run_hungry(void *argument)
{
	enum { BLOCK_BYTES = 4096 };
	struct counts *const counts = argument;

	for (;;) {
		void *const block = counted(counts, BLOCK_BYTES);

		if (block != NULL)
			memset(block, 1, BLOCK_BYTES);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct counts_page *const page = argc > 1 ? counts_map(argv[1], 0) : NULL;
	void *(*const body)(void *) = argc > 2 ? run_hungry : run;
	pthread_t thread;

	if (page == NULL)
		return 2;
	counts_begin(page);
	for (int index = 1; index < COUNTS_THREADS; index++) {
		if (pthread_create(&thread, NULL, body, &page->threads[index]) != 0)
			return 2;
	}
	(void)body(&page->threads[0]);
	return 0;
}
