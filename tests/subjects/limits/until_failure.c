// SPDX-License-Identifier: Apache-2.0
/*
 * until_failure SIZE: allocates blocks of that size until there are no more, then frees them all and ends as
 * usual.
 */
#include "tests/subjects/truth.h"

#include <errno.h>

struct link {
	struct link *next;
	struct block block;
};

TRUTH(until_failure)
static SITE struct block until_failure(size_t size)
{
	return truth_allocated(&truth_of_until_failure, malloc(size), size);
}

int main(int argc, char **argv)
{
	const size_t size_bytes = argc == 2 ? strtoull(argv[1], NULL, 10) : 65536;
	struct link *first = NULL;

	for (;;) {
		const struct block block = until_failure(size_bytes);

		if (block.address == NULL)
			break;

		struct link *const link = block.address;

		link->next = first;
		link->block = block;
		first = link;
	}
	say("errno %s", strerrorname_np(errno));
	while (first != NULL) {
		struct block block = first->block;

		first = first->next;
		truth_free(&block);
	}
	truth_print();
	return 6;
}
