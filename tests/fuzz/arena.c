// SPDX-License-Identifier: Apache-2.0
/* proto/arena.h over malloc: see fuzz.h. */
#include "proto/arena.h"

#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

struct hm_arena_chunk {
	struct hm_arena_chunk *older;
	_Alignas(16) uint8_t bytes[];
};

static size_t now_bytes;
static size_t peak_bytes;

size_t fuzz_memory_peak_bytes(void)
{
	return peak_bytes;
}

void fuzz_memory_reset(void)
{
	fuzz_require(now_bytes == 0, "every arena was given back");
	peak_bytes = 0;
}

void hm_arena_init(struct hm_arena *arena, size_t limit_bytes)
{
	*arena = (struct hm_arena){ .limit_bytes = limit_bytes };
}

void *hm_arena_allocate(struct hm_arena *arena, size_t size_bytes)
{
	if (size_bytes > SIZE_MAX / 2 || size_bytes > arena->limit_bytes - arena->mapped_bytes)
		return NULL;
	struct hm_arena_chunk *const chunk = calloc(1, sizeof(*chunk) + size_bytes);
	if (chunk == NULL)
		return NULL;
	chunk->older = arena->chunks;
	arena->chunks = chunk;
	arena->mapped_bytes += size_bytes;
	now_bytes += size_bytes;
	if (now_bytes > peak_bytes)
		peak_bytes = now_bytes;
	return chunk->bytes;
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
	char *const copy = length_bytes == SIZE_MAX ? NULL : hm_arena_allocate(arena, length_bytes + 1);

	if (copy != NULL)
		memcpy(copy, text, length_bytes);
	return copy;
}

void hm_arena_done(struct hm_arena *arena)
{
	struct hm_arena_chunk *chunk = arena->chunks;

	while (chunk != NULL) {
		struct hm_arena_chunk *const older = chunk->older;

		free(chunk);
		chunk = older;
	}
	now_bytes -= arena->mapped_bytes;
	*arena = (struct hm_arena){ .limit_bytes = arena->limit_bytes };
}
