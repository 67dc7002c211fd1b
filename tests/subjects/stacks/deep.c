// SPDX-License-Identifier: Apache-2.0
/* deep DEPTH: allocations on the way down a recursion. */
#include "tests/subjects/truth.h"

TRUTH(far_down)
static SITE struct block far_down(size_t size)
{
	return truth_allocated(&truth_of_far_down, malloc(size), size);
}

static SITE long descend(long depth)
{
	if (depth % 1000 == 0)
		(void)far_down((size_t)depth);
	if (depth == 0)
		return 0;

	const long levels = descend(depth - 1) + 1;

	__asm__ volatile("" : : "r"(levels) : "memory"); /* not a loop: each level has its frame */
	return levels;
}

int main(int argc, char **argv)
{
	say("%ld levels", descend(argc == 2 ? strtol(argv[1], NULL, 10) : 0));
	truth_print();
	return 0;
}
