// SPDX-License-Identifier: Apache-2.0
/*
 * A program with an allocator of its own, which stands before the library in the search order.  What the
 * program itself allocates is not seen; blocks cross between the two only where the C library does it too.
 */
#include "tests/subjects/truth.h"

#include <errno.h>

enum { ARENA_BYTES = 1 << 20, ALIGNMENT = 16 };

static _Alignas(ALIGNMENT) char arena[ARENA_BYTES];
static size_t used_bytes;
static unsigned int malloc_count;
static unsigned int foreign_count; /* blocks that came to our free and are not ours */

static bool is_ours(const void *block)
{
	return (uintptr_t)block - (uintptr_t)arena < ARENA_BYTES;
}

void *malloc(size_t size)
{
	const size_t start = used_bytes + ALIGNMENT;

	if (size > ARENA_BYTES - start) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(arena + used_bytes, &size, sizeof(size));
	used_bytes = start + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	malloc_count++;
	return arena + start;
}

void free(void *block)
{
	if (block != NULL && !is_ours(block))
		foreign_count++;
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size); /* zero, for nothing is given out twice */
}

void *realloc(void *block, size_t size)
{
	size_t old_size = 0;
	void *const moved = malloc(size);

	if (block != NULL)
		memcpy(&old_size, (const char *)block - ALIGNMENT, sizeof(old_size));
	if (moved != NULL && block != NULL)
		memcpy(moved, block, old_size < size ? old_size : size);
	return moved;
}

int main(void)
{
	for (int index = 0; index < 100; index++) {
		char *const copy = strdup("the C library calls malloc for this");

		if (!is_ours(copy))
			say("strdup has found another malloc");
		free(copy);
	}
	malloc_count = 0;
	free(malloc(1));
	free(realloc(calloc(3, 5), 100));
	/* memalign is not defined here: the C library's, or the one that was preloaded. */
	say("%u blocks, %u of others", malloc_count, foreign_count);
	return 0;
}
