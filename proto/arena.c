// SPDX-License-Identifier: Apache-2.0
#include "proto/arena.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* Headers older than Linux 5.17 lack them; a kernel that does too refuses the call, and nothing depends on
 * it. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#define PR_SET_VMA_ANON_NAME 0
#endif

enum {
	ALIGNMENT = 16,
	CHUNK_BYTES_FIRST = 256 << 10, /* what is not touched is address space only */
	CHUNK_BYTES_MAX = 4 << 20,
	PAGE_BYTES = 4096,
};

struct hm_arena_chunk {
	struct hm_arena_chunk *older;
	size_t size_bytes; /* this header included */
	_Alignas(ALIGNMENT) uint8_t bytes[];
};

void hm_arena_init(struct hm_arena *arena, size_t limit_bytes)
{
	*arena = (struct hm_arena){ .limit_bytes = limit_bytes };
}

static struct hm_arena_chunk *map_chunk(struct hm_arena *arena, size_t size_bytes)
{
	if (size_bytes > arena->limit_bytes - arena->mapped_bytes)
		return NULL;
	void *const memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, size_bytes, "heapmark");
	arena->mapped_bytes += size_bytes;

	struct hm_arena_chunk *const chunk = memory;
	chunk->size_bytes = size_bytes;
	return chunk;
}

/* A piece too large to share: a chunk of its own, put behind the newest so that the rest of that one is still
 * used. */
static void *allocate_alone(struct hm_arena *arena, size_t size_bytes)
{
	const size_t whole =
		(sizeof(struct hm_arena_chunk) + size_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	struct hm_arena_chunk *const chunk = map_chunk(arena, whole);

	if (chunk == NULL)
		return NULL;
	if (arena->chunks == NULL) {
		arena->chunks = chunk;
		arena->used_bytes = whole;
	} else {
		chunk->older = arena->chunks->older;
		arena->chunks->older = chunk;
	}
	return chunk->bytes;
}

static bool begin_chunk(struct hm_arena *arena)
{
	/* A quarter of what there is: few mappings, and little of the last one unused. */
	size_t size_bytes = arena->mapped_bytes / 4 / PAGE_BYTES * PAGE_BYTES;

	if (size_bytes < CHUNK_BYTES_FIRST)
		size_bytes = CHUNK_BYTES_FIRST;
	if (size_bytes > CHUNK_BYTES_MAX)
		size_bytes = CHUNK_BYTES_MAX;
	struct hm_arena_chunk *const chunk = map_chunk(arena, size_bytes);
	if (chunk == NULL)
		return false;
	chunk->older = arena->chunks;
	arena->chunks = chunk;
	arena->used_bytes = sizeof(*chunk);
	return true;
}

void *hm_arena_allocate(struct hm_arena *arena, size_t size_bytes)
{
	if (size_bytes > SIZE_MAX / 2)
		return NULL;
	const size_t rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

	if (rounded > CHUNK_BYTES_FIRST / 4)
		return allocate_alone(arena, rounded);
	if (arena->chunks == NULL || rounded > arena->chunks->size_bytes - arena->used_bytes) {
		if (!begin_chunk(arena))
			return NULL;
	}
	uint8_t *const memory = (uint8_t *)arena->chunks + arena->used_bytes;
	arena->used_bytes += rounded;
	return memory;
}

void *hm_arena_allocate_array(struct hm_arena *arena, size_t count, size_t element_bytes)
{
	size_t size_bytes;

	if (__builtin_mul_overflow(count, element_bytes, &size_bytes))
		return NULL;
	return hm_arena_allocate(arena, size_bytes);
}

char *hm_arena_copy_text(struct hm_arena *arena, const char *text, size_t length_bytes)
{
	if (length_bytes == SIZE_MAX)
		return NULL;
	char *const copy = hm_arena_allocate(arena, length_bytes + 1);

	if (copy != NULL)
		memcpy(copy, text, length_bytes);
	return copy;
}

void hm_arena_done(struct hm_arena *arena)
{
	struct hm_arena_chunk *chunk = arena->chunks;

	while (chunk != NULL) {
		struct hm_arena_chunk *const older = chunk->older;

		munmap(chunk, chunk->size_bytes);
		chunk = older;
	}
	*arena = (struct hm_arena){ .limit_bytes = arena->limit_bytes };
}
