// SPDX-License-Identifier: Apache-2.0
/*
 * A program without any oddity, for the odd surroundings: some blocks kept, many freed, 64 MiB in total, so
 * that it is sampled at the default rate too (all but once in e^128 runs); two lines, exit status 3.
 */
#include "tests/subjects/truth.h"

TRUTH(plain_kept)
static SITE struct block plain_kept(size_t size)
{
	return truth_allocated(&truth_of_plain_kept, malloc(size), size);
}

TRUTH(plain_freed)
static SITE struct block plain_freed(size_t size)
{
	return truth_allocated(&truth_of_plain_freed, malloc(size), size);
}

int main(void)
{
	size_t kept = 0;

	say("begin");
	for (size_t index = 0; index < 1024; index++) {
		struct block block = plain_freed(65536);

		truth_free(&block);
		if (plain_kept(index).address != NULL)
			kept++;
	}
	say("end: %zu kept", kept);
	truth_print();
	return 3;
}
