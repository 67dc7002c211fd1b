// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_require(bool holds, const char *sentence)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", sentence);
	abort();
}

int fuzz_append(void *context, const void *data, size_t size_bytes)
{
	struct fuzz_buffer *const buffer = context;

	buffer->bytes = realloc(buffer->bytes, buffer->size_bytes + size_bytes);
	memcpy(buffer->bytes + buffer->size_bytes, data, size_bytes);
	buffer->size_bytes += size_bytes;
	return 0;
}

uint64_t fuzz_take(struct fuzz_input *input, size_t size_bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < size_bytes && input->rest_bytes > 0; i++) {
		number |= (uint64_t)*input->at++ << (8 * i);
		input->rest_bytes--;
	}
	return number;
}
