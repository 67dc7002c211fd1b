// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that free and reallocate each other's blocks: every block goes through a place where any thread may
 * take it.  A block carries its own description, so that who takes it knows what it is.
 */
#include "tests/subjects/truth.h"

#include <malloc.h>
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 20000, PLACES = 512 };

static struct block *places[PLACES];

static inline void *memaligned(size_t size_bytes)
{
	return memalign(64, size_bytes);
}

#define SITES(X)                                 \
	X(exchange_malloc, malloc(size))         \
	X(exchange_malloc_too, malloc(size))     \
	X(exchange_calloc, calloc(1, size))      \
	X(exchange_realloc, realloc(NULL, size)) \
	X(exchange_memalign, memaligned(size))

#define DEFINE(NAME, CALL)                                               \
	TRUTH(NAME)                                                      \
	static SITE struct block *NAME(size_t size)                      \
	{                                                                \
		struct block *const block = CALL;                        \
                                                                         \
		*block = truth_allocated(&truth_of_##NAME, block, size); \
		return block;                                            \
	}
SITES(DEFINE)

static struct block *(*const sites[])(size_t size) = {
#define ROW(NAME, CALL) NAME,
	SITES(ROW)
};
enum { SITE_COUNT = sizeof(sites) / sizeof(sites[0]) };

TRUTH(exchange_resize)
static SITE struct block *exchange_resize(struct block *block, size_t size)
{
	const struct block old = *block;
	struct block *const moved = realloc(block, size);

	truth_freed(&old);
	*moved = truth_allocated(&truth_of_exchange_resize, moved, size);
	return moved;
}

static uint64_t draw(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

static void *run(void *argument)
{
	uint64_t state = (uintptr_t)argument;

	for (int round = 0; round < ROUNDS; round++) {
		const size_t size = sizeof(struct block) + draw(&state) % 2000;
		struct block **const place = &places[draw(&state) % PLACES];
		struct block *fresh = NULL;
		struct block *taken;

		if (draw(&state) % 8 != 0)
			fresh = sites[draw(&state) % SITE_COUNT](size);
		taken = __atomic_exchange_n(place, fresh, __ATOMIC_ACQ_REL);
		if (taken == NULL)
			continue;
		if (draw(&state) % 4 == 0)
			taken = exchange_resize(taken, size / 2 + sizeof(struct block));

		struct block description = *taken;

		truth_free(&description);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	for (uintptr_t index = 0; index < THREADS; index++) {
		if (pthread_create(&threads[index], NULL, run, (void *)(index + 1)) != 0)
			abort();
	}
	for (int index = 0; index < THREADS; index++)
		(void)pthread_join(threads[index], NULL);
	say("done");
	truth_print();
	return 0;
}
