// SPDX-License-Identifier: Apache-2.0
/* many_live COUNT: so many blocks live at once; then every other one is freed. */
#include "tests/subjects/truth.h"

#include <sys/mman.h>

TRUTH(one_of_many)
static SITE struct block one_of_many(size_t size)
{
	return truth_allocated(&truth_of_one_of_many, malloc(size), size);
}

int main(int argc, char **argv)
{
	const size_t count = argc == 2 ? strtoull(argv[1], NULL, 10) : 1;
	struct block *const blocks = mmap(NULL, count * sizeof(*blocks), PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (blocks == MAP_FAILED)
		abort();
	for (size_t index = 0; index < count; index++)
		blocks[index] = one_of_many(index % 50);
	for (size_t index = 0; index < count; index += 2)
		truth_free(&blocks[index]);
	truth_print();
	return 0;
}
