// SPDX-License-Identifier: Apache-2.0
/*
 * Frees and reallocates NULL while a thousand blocks live, again and again over ever other addresses:
 * whatever the library hashes addresses to, some of them share a place with NULL.
 */
#include "tests/subjects/truth.h"

enum { ROUNDS = 500, BLOCKS = 1000, BLOCK_BYTES_MAX = 4000 };

TRUTH(beside_null)
static SITE struct block beside_null(size_t size)
{
	return truth_allocated(&truth_of_beside_null, malloc(size), size);
}

TRUTH(realloc_of_null)
static SITE struct block realloc_of_null(size_t size)
{
	return truth_allocated(&truth_of_realloc_of_null, realloc(NULL, size), size);
}

static void *volatile null;

int main(void)
{
	static struct block blocks[BLOCKS];
	uint64_t state = 1;

	for (int round = 0; round < ROUNDS; round++) {
		for (int index = 0; index < BLOCKS; index++) {
			state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
			truth_free(&blocks[index]);
			blocks[index] = beside_null((state >> 33) % BLOCK_BYTES_MAX);
			if (index % 50 == 0) {
				struct block block = realloc_of_null(100);

				truth_free(&block);
				free(null);
			}
		}
	}
	truth_print();
	return 0;
}
