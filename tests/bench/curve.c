// SPDX-License-Identifier: Apache-2.0
/*
 * curve KIND COUNT ROUNDS [FOLDER]: malloc(64) and free, ROUNDS times, where one thing comes in the number
 * COUNT, and prints what a round costs in processor time.  All rounds go through the same states once before
 * the clock starts, so that the first time, which compiles rules and stores stacks, is not in it.
 *
 *	depth     the allocation is seen from COUNT frames
 *	live      COUNT blocks are live, and a round replaces one of them at random
 *	stacks    the rounds come from COUNT stacks of one depth, in turn
 *	modules   the rounds come from COUNT loaded modules in turn: FOLDER has module-0.so and so on
 *	held      a block from each of COUNT stacks is kept; then each line of standard input asks for so many
 *	          rounds more, and the process ends when there is none.  ROUNDS plays no part.
 */
#include "tests/bench/bench.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
	BLOCK_BYTES = 64,
	/* Frames besides those of the recursion: pair_rounds_at, main and the two of libc's start and _start.
	 */
	FRAMES_BESIDE = 5,
	PATH_BITS = 20, /* turns of a path: up to a million stacks */
	MODULES_MAX = 4096,
	ROUNDS_WARM = 1000, /* before the clock starts, beyond one for each of COUNT */
};

typedef void (*pair_function)(void);

/* Set by main: what the kinds are told. */
static long count;
static const char *folder;

static void pair(void)
{
	free(seen(malloc(BLOCK_BYTES)));
}

/* The work comes after the call returns, so that no call is a tail call and every frame stays. */
__attribute__((noinline)) static void pair_rounds_at(long depth, long rounds)
{
	if (depth > 0) {
		pair_rounds_at(depth - 1, rounds);
	} else {
		for (long i = 0; i < rounds; i++)
			pair();
	}
	__asm__ volatile("" : : "r"(depth) : "memory");
}

static void depth_rounds(long rounds)
{
	pair_rounds_at(count > FRAMES_BESIDE ? count - FRAMES_BESIDE : 0, rounds);
}

static void live_rounds(long rounds)
{
	static void **blocks;
	static uint64_t state = 88172645463325252UL;

	if (blocks == NULL) {
		blocks = calloc((size_t)count, sizeof(*blocks));
		if (blocks == NULL)
			abort();
		for (long i = 0; i < count; i++)
			blocks[i] = seen(malloc(BLOCK_BYTES));
	}
	for (long i = 0; i < rounds; i++) {
		void **const slot = &blocks[next_random(&state) % (uint64_t)count];

		free(*slot);
		*slot = seen(malloc(BLOCK_BYTES));
	}
}

static void turn_left(unsigned long path, int turns, bool is_kept);
static void turn_right(unsigned long path, int turns, bool is_kept);

/* The bits of `path` are the way through the two functions. */
static inline void turn(unsigned long path, int turns, bool is_kept)
{
	if (turns > 0 && path % 2 == 0)
		turn_left(path / 2, turns - 1, is_kept);
	else if (turns > 0)
		turn_right(path / 2, turns - 1, is_kept);
	else if (is_kept)
		(void)seen(malloc(BLOCK_BYTES));
	else
		pair();
}

__attribute__((noinline)) static void turn_left(unsigned long path, int turns, bool is_kept)
{
	turn(path, turns, is_kept);
	__asm__ volatile("" : : : "memory");
}

__attribute__((noinline)) static void turn_right(unsigned long path, int turns, bool is_kept)
{
	turn(path, turns, is_kept);
	__asm__ volatile("" : : : "memory");
}

static void stacks_rounds(long rounds)
{
	for (long i = 0; i < rounds; i++)
		turn((unsigned long)(i % count), PATH_BITS, false);
}

static pair_function load_pair(long index)
{
	char path[4096];
	void *handle = NULL;
	pair_function function = NULL;

	(void)snprintf(path, sizeof(path), "%s/module-%ld.so", folder, index);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *const symbol = handle != NULL ? dlsym(handle, "module_pair") : NULL;

	if (symbol == NULL) {
		fprintf(stderr, "curve: %s\n", dlerror());
		exit(1);
	}
	/* ISO C converts no object pointer to a function pointer; POSIX says that the bits are the same. */
	memcpy(&function, &symbol, sizeof(function));
	return function;
}

static void modules_rounds(long rounds)
{
	static pair_function functions[MODULES_MAX];

	if (count > MODULES_MAX)
		exit(2);
	for (long i = 0; i < rounds; i++) {
		pair_function *const function = &functions[i % count];

		if (*function == NULL)
			*function = load_pair(i % count);
		(*function)();
	}
}

static const struct {
	const char *name;
	void (*run)(long rounds);
} kinds[] = {
	{ "depth", depth_rounds },
	{ "live", live_rounds },
	{ "stacks", stacks_rounds },
	{ "modules", modules_rounds },
};

static void print_cost(void (*run)(long rounds), long rounds)
{
	const double start_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	run(rounds);
	printf("ns_per_round=%.2f\n", (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start_ns) / (double)rounds);
	(void)fflush(stdout);
}

static void held_rounds(long rounds)
{
	for (long i = 0; i < rounds; i++)
		pair();
}

static void hold(void)
{
	char line[64];

	for (long i = 0; i < count; i++)
		turn((unsigned long)i, PATH_BITS, true);
	printf("ready\n");
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		print_cost(held_rounds, strtol(line, NULL, 10));
}

int main(int argument_count, char **arguments)
{
	const long rounds = argument_count >= 4 ? strtol(arguments[3], NULL, 10) : 0;

	if (argument_count < 4) {
		fprintf(stderr, "usage: curve KIND COUNT ROUNDS [FOLDER]\n");
		return 2;
	}
	count = strtol(arguments[2], NULL, 10);
	folder = argument_count > 4 ? arguments[4] : ".";
	if (strcmp(arguments[1], "held") == 0) {
		hold();
		return 0;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(arguments[1], kinds[i].name) != 0 || count < 1 || rounds < 1)
			continue;
		kinds[i].run(count + ROUNDS_WARM);
		print_cost(kinds[i].run, rounds);
		return 0;
	}
	fprintf(stderr, "curve: no kind named %s, or no rounds\n", arguments[1]);
	return 2;
}
