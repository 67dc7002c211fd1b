// SPDX-License-Identifier: Apache-2.0
/* A library that is given functions by the program, and has its own idea of where they are. */
#include "tests/subjects/link/linked.h"

#include <stdlib.h>

/* Filled in by relocations when the library is loaded. */
static const struct allocator table = { malloc, free, calloc, realloc };

const struct allocator *library_table(void)
{
	return &table;
}

void library_release(void (*release)(void *), void *block)
{
	release(block);
}

SITE void *library_site(size_t size_bytes)
{
	void *const block = malloc(size_bytes);

	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}
