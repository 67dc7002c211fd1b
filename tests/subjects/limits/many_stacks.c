// SPDX-License-Identifier: Apache-2.0
/* many_stacks BITS: one block from each of 2^BITS different stacks; one in 64 is kept. */
#include "tests/subjects/truth.h"

TRUTH(at_many_stacks)
static SITE struct block at_many_stacks(size_t size)
{
	return truth_allocated(&truth_of_at_many_stacks, malloc(size), size);
}

static SITE struct block turn_left(unsigned long path, int turns, size_t size);
static SITE struct block turn_right(unsigned long path, int turns, size_t size);

/* The bits of `path` are the way through the functions. */
static inline struct block turn(unsigned long path, int turns, size_t size)
{
	if (turns == 0)
		return at_many_stacks(size);
	return path % 2 == 0 ? turn_left(path / 2, turns - 1, size) : turn_right(path / 2, turns - 1, size);
}

static SITE struct block turn_left(unsigned long path, int turns, size_t size)
{
	struct block block = turn(path, turns, size);

	__asm__ volatile("" : : : "memory"); /* not a jump: each turn has its frame */
	return block;
}

static SITE struct block turn_right(unsigned long path, int turns, size_t size)
{
	struct block block = turn(path, turns, size);

	__asm__ volatile("" : : : "memory");
	return block;
}

int main(int argc, char **argv)
{
	const int bits = argc == 2 ? (int)strtol(argv[1], NULL, 10) : 0;

	for (unsigned long path = 0; path < 1UL << bits; path++) {
		struct block block = turn(path, bits, path % 100);

		if (path % 64 != 0)
			truth_free(&block);
	}
	truth_print();
	return 0;
}
