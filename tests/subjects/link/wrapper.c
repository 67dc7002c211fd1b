// SPDX-License-Identifier: Apache-2.0
/* A program that defines malloc and free, counts, and passes on to whoever comes next in the search order. */
#include "tests/subjects/truth.h"

#include <dlfcn.h>

static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static unsigned int malloc_count;
static unsigned int free_count;

static void find(const char *name, void *ret_function)
{
	void *const function = dlsym(RTLD_NEXT, name);

	memcpy(ret_function, &function, sizeof(function));
}

void *malloc(size_t size)
{
	if (next_malloc == NULL)
		find("malloc", &next_malloc);
	malloc_count++;
	return next_malloc(size);
}

void free(void *block)
{
	if (next_free == NULL)
		find("free", &next_free);
	free_count++;
	next_free(block);
}

TRUTH(wrapped)
static SITE struct block wrapped(size_t size)
{
	return truth_allocated(&truth_of_wrapped, malloc(size), size);
}

TRUTH(not_wrapped)
static SITE struct block not_wrapped(size_t size)
{
	return truth_allocated(&truth_of_not_wrapped, calloc(1, size), size);
}

int main(void)
{
	malloc_count = free_count = 0;
	for (size_t size = 1; size <= 200; size++) {
		struct block by_us = wrapped(size);
		struct block by_others = not_wrapped(size);

		if (size % 2 == 0) {
			truth_free(&by_us);
			truth_free(&by_others);
		}
	}
	say("%u blocks came, %u went", malloc_count, free_count);
	truth_print();
	return 0;
}
