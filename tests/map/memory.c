// SPDX-License-Identifier: Apache-2.0
#include "tests/map/memory.h"

#include "tests/map/expect.h"

#include <string.h>

struct memory memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

static bool refused(size_t bytes)
{
	memory.call_count++;
	if (memory.call_count == memory.refuse_call ||
	    (memory.refuse_one_in != 0 && random_below(&memory.random_state, memory.refuse_one_in) == 0))
		return true;
	memory.asked_bytes += bytes;
	return false;
}

void *__wrap_malloc(size_t size)
{
	if (refused(size))
		return NULL;
	memory.live_blocks++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	const size_t bytes = count * size;

	if (refused(bytes))
		return NULL;
	void *block = __real_calloc(count, size);
	memory.live_blocks++;
	memory.overflow_bucket_callocs += bytes == LARGE_BYTES - 1;
	if (bytes >= LARGE_BYTES && memory.large_count < LOGGED_MAX) {
		memory.large_bytes[memory.large_count] = bytes;
		memory.large_blocks[memory.large_count++] = block;
	}
	return block;
}

void *__wrap_realloc(void *block, size_t size)
{
	if (refused(size))
		return NULL;
	memory.live_blocks += block == NULL;
	if (memory.list_count == 0 || size > memory.list_bytes[memory.list_count - 1]) {
		EXPECT(memory.list_count < LOGGED_MAX);
		memory.list_bytes[memory.list_count++] = size;
	}
	return __real_realloc(block, size);
}

void __wrap_free(void *block)
{
	memory.live_blocks -= block != NULL;
	for (size_t i = 0; block != NULL && i < memory.large_count; i++) {
		if (memory.large_blocks[i] == block)
			memory.large_blocks[i] = NULL;
	}
	__real_free(block);
}

void memory_reset(void)
{
	memset(&memory, 0, sizeof(memory));
}

size_t memory_large_bytes_live(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < memory.large_count; i++)
		bytes += memory.large_blocks[i] != NULL ? memory.large_bytes[i] : 0;
	return bytes;
}
