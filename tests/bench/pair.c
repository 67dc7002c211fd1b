// SPDX-License-Identifier: Apache-2.0
/*
 * pair KIND ROUNDS: does one thing with the allocator again and again, and prints what a round costs in
 * processor time.  script/bench reads the time; tests/cost counts the instructions.
 */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <string.h>

enum {
	SMALL_BYTES = 64,
	LARGER_BYTES = 96,
	WINDOW_BLOCKS = 4096,
	WINDOW_BYTES_MIN = 16,
	WINDOW_BYTES_MAX = 4096,
	/* With main, its caller and what calls that, the allocation is seen from twenty frames. */
	RECURSIONS = 15,
};

static void malloc_rounds(long rounds)
{
	for (long i = 0; i < rounds; i++)
		free(seen(malloc(SMALL_BYTES)));
}

static void calloc_rounds(long rounds)
{
	for (long i = 0; i < rounds; i++)
		free(seen(calloc(1, SMALL_BYTES)));
}

/* A round is one call: the block grows and shrinks in turn. */
static void realloc_rounds(long rounds)
{
	void *block = seen(malloc(SMALL_BYTES));

	for (long i = 0; i < rounds; i++) {
		block = seen(realloc(block, i % 2 == 0 ? LARGER_BYTES : SMALL_BYTES));
		if (block == NULL)
			abort();
	}
	free(block);
}

/* A round replaces one block of a window of live ones, of any size, at any place. */
static void window_rounds(long rounds)
{
	static void *window[WINDOW_BLOCKS];
	uint64_t state = 88172645463325252UL;

	for (long i = 0; i < rounds; i++) {
		const uint64_t random = next_random(&state);
		void **const slot = &window[random % WINDOW_BLOCKS];
		const size_t size_bytes =
			WINDOW_BYTES_MIN + (random >> 32) % (WINDOW_BYTES_MAX - WINDOW_BYTES_MIN + 1);

		free(*slot);
		*slot = seen(malloc(size_bytes));
	}
	for (int i = 0; i < WINDOW_BLOCKS; i++)
		free(window[i]);
}

/* The work comes after the call returns, so that no call is a tail call and every frame stays. */
__attribute__((noinline)) static void deep_rounds_at(int depth, long rounds)
{
	if (depth == 0)
		malloc_rounds(rounds);
	else
		deep_rounds_at(depth - 1, rounds);
	__asm__ volatile("" : : "r"(depth) : "memory");
}

static void deep_rounds(long rounds)
{
	deep_rounds_at(RECURSIONS, rounds);
}

static const struct {
	const char *name;
	void (*run)(long rounds);
} kinds[] = {
	{ "malloc", malloc_rounds }, { "calloc", calloc_rounds }, { "realloc", realloc_rounds },
	{ "window", window_rounds }, { "deep", deep_rounds },
};

int main(int argument_count, char **arguments)
{
	const long rounds = argument_count == 3 ? strtol(arguments[2], NULL, 10) : 0;

	if (rounds <= 0) {
		fprintf(stderr, "usage: pair KIND ROUNDS\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(arguments[1], kinds[i].name) != 0)
			continue;
		const double start_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

		kinds[i].run(rounds);
		printf("ns_per_round=%.2f\n",
		       (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start_ns) / (double)rounds);
		return 0;
	}
	fprintf(stderr, "pair: no kind named %s\n", arguments[1]);
	return 2;
}
