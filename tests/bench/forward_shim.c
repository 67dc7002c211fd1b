// SPDX-License-Identifier: Apache-2.0
/*
 * The cheapest library that can stand in front of an allocator: it forwards, and nothing else.  What
 * heapmark costs beyond this is heapmark's own.  Functions that are not here go to the allocator directly.
 *
 * Every pointer first leads to a function that looks all of them up; from then on a call costs one jump.
 * The look-up needs no memory of its own: glibc's dlsym allocates only to report a failure.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct allocator {
	void *(*malloc)(size_t size_bytes);
	void (*free)(void *block);
	void *(*calloc)(size_t count, size_t size_bytes);
	void *(*realloc)(void *block, size_t size_bytes);
	int (*posix_memalign)(void **ret_block, size_t alignment, size_t size_bytes);
	void *(*aligned_alloc)(size_t alignment, size_t size_bytes);
};

static void *first_malloc(size_t size_bytes);
static void first_free(void *block);
static void *first_calloc(size_t count, size_t size_bytes);
static void *first_realloc(void *block, size_t size_bytes);
static int first_posix_memalign(void **ret_block, size_t alignment, size_t size_bytes);
static void *first_aligned_alloc(size_t alignment, size_t size_bytes);

static struct allocator next = {
	.malloc = first_malloc,
	.free = first_free,
	.calloc = first_calloc,
	.realloc = first_realloc,
	.posix_memalign = first_posix_memalign,
	.aligned_alloc = first_aligned_alloc,
};

static void find(void *ret_function, const char *name)
{
	void *const symbol = dlsym(RTLD_NEXT, name);

	if (symbol == NULL)
		abort();
	/* ISO C converts no object pointer to a function pointer; POSIX says that the bits are the same. */
	memcpy(ret_function, &symbol, sizeof(symbol));
}

__attribute__((constructor)) static void find_all(void)
{
	find(&next.malloc, "malloc");
	find(&next.free, "free");
	find(&next.calloc, "calloc");
	find(&next.realloc, "realloc");
	find(&next.posix_memalign, "posix_memalign");
	find(&next.aligned_alloc, "aligned_alloc");
}

static void *first_malloc(size_t size_bytes)
{
	find_all();
	return next.malloc(size_bytes);
}

static void first_free(void *block)
{
	find_all();
	next.free(block);
}

static void *first_calloc(size_t count, size_t size_bytes)
{
	find_all();
	return next.calloc(count, size_bytes);
}

static void *first_realloc(void *block, size_t size_bytes)
{
	find_all();
	return next.realloc(block, size_bytes);
}

static int first_posix_memalign(void **ret_block, size_t alignment, size_t size_bytes)
{
	find_all();
	return next.posix_memalign(ret_block, alignment, size_bytes);
}

static void *first_aligned_alloc(size_t alignment, size_t size_bytes)
{
	find_all();
	return next.aligned_alloc(alignment, size_bytes);
}

void *malloc(size_t size_bytes)
{
	return next.malloc(size_bytes);
}

void free(void *block)
{
	next.free(block);
}

void *calloc(size_t count, size_t size_bytes)
{
	return next.calloc(count, size_bytes);
}

void *realloc(void *block, size_t size_bytes)
{
	return next.realloc(block, size_bytes);
}

int posix_memalign(void **ret_block, size_t alignment, size_t size_bytes)
{
	return next.posix_memalign(ret_block, alignment, size_bytes);
}

void *aligned_alloc(size_t alignment, size_t size_bytes)
{
	return next.aligned_alloc(alignment, size_bytes);
}
