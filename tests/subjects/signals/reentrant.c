// SPDX-License-Identifier: Apache-2.0
/*
 * An allocator that signal handlers may call at any instant: one atomic addition a block, nothing is ever
 * used again.  glibc's would deadlock with itself, and hide what the library does.
 *
 * malloc calls memalign by its exported name, as it happens in allocators: then the library sees a call
 * inside the call, and must not count it.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_BYTES = 1 << 30 }; /* untouched pages cost nothing */

static _Alignas(4096) char pool[POOL_BYTES];
static size_t pool_used;

static size_t size_of(const void *block)
{
	size_t size;

	memcpy(&size, (const char *)block - 16, sizeof(size));
	return size;
}

void *memalign(size_t alignment, size_t size);
void *valloc(size_t size);
void *pvalloc(size_t size);

void *memalign(size_t alignment, size_t size)
{
	const size_t wanted = size + alignment + 32;
	const size_t start =
		size > POOL_BYTES ? POOL_BYTES : __atomic_fetch_add(&pool_used, wanted, __ATOMIC_RELAXED);

	if (start + wanted > POOL_BYTES) {
		errno = ENOMEM;
		return NULL;
	}

	const uintptr_t first = (uintptr_t)pool + start + 16;
	char *const block = pool + ((first + alignment - 1) / alignment * alignment - (uintptr_t)pool);

	memcpy(block - 16, &size, sizeof(size));
	return block;
}

void *malloc(size_t size)
{
	void *const block = memalign(16, size);

	/* No tail call: its return address would be the program's, and nobody could tell it from one. */
	__asm__ volatile("" : : "r"(block));
	return block;
}

void free(void *block)
{
	(void)block;
}

void *calloc(size_t count, size_t size)
{
	return memalign(16, count * size); /* pages of the pool are zero and used once */
}

void *realloc(void *block, size_t size)
{
	void *const moved = memalign(16, size);

	if (block != NULL && moved != NULL)
		memcpy(moved, block, size_of(block) < size ? size_of(block) : size);
	return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
	*ret_block = memalign(alignment, size);
	return *ret_block == NULL ? ENOMEM : 0;
}

void *valloc(size_t size)
{
	return memalign(4096, size);
}

void *pvalloc(size_t size)
{
	return memalign(4096, (size + 4095) / 4096 * 4096);
}
