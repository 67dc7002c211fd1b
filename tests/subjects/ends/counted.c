// SPDX-License-Identifier: Apache-2.0
/*
 * counted FILE: threads allocate and free until they are killed.  Beside the calls they count in a file that
 * they share with the runner: before a call as begun, after it as done.  At any instant
 *
 *	done <= what has happened <= begun
 *
 * and so must the profile be that is made of what is left.  The layout is that of `struct counts` in native
 * byte order; tests/subjects/checks.py reads it.
 */
#include "tests/subjects/truth.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

enum { THREADS = 2, KEPT = 64 };

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

static void count(struct count *count, size_t size_bytes)
{
	/* Each before the next: a kill leaves no later one without the earlier. */
	__atomic_store_n(&count->objects, count->objects + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&count->bytes, count->bytes + size_bytes, __ATOMIC_SEQ_CST);
}

static SITE void *counted(struct counts *counts, size_t size_bytes)
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

int main(int argc, char **argv)
{
	const int file = argc == 2 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
	struct counts *counts;
	pthread_t thread;

	if (file < 0 || ftruncate(file, THREADS * sizeof(*counts)) != 0)
		return 2;
	counts = mmap(NULL, THREADS * sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (counts == MAP_FAILED)
		return 2;
	for (int index = 1; index < THREADS; index++) {
		if (pthread_create(&thread, NULL, run, &counts[index]) != 0)
			return 2;
	}
	say("begin");
	(void)run(&counts[0]);
	return 0;
}
