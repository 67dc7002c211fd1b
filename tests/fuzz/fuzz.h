// SPDX-License-Identifier: Apache-2.0
/*
 * What every harness here has: libFuzzer's entry point, demands that end a run, and how much memory the code
 * under test took.
 *
 * A harness is a program of one file, fuzz_NAME.c, whose head says what its input means; its corpus is
 * corpus/NAME/.  The name of a file in it says what it holds, or what it once broke.
 */
#ifndef HM_TESTS_FUZZ_H
#define HM_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* Where it does not hold, the process ends with the sentence, and libFuzzer keeps the input. */
void fuzz_require(bool holds, const char *sentence);

/*
 * Bytes taken from all arenas (proto/arena.h) together: the most at one time since fuzz_memory_reset.
 *
 * The harnesses link arena.c of this folder in place of proto's: each piece is one of malloc's, so that the
 * address sanitizer sees where it ends, and every piece counts, also one that is never touched.
 */
size_t fuzz_memory_peak_bytes(void);
void fuzz_memory_reset(void);

/* Bytes put one behind the other: the context of a sink (proto/gzip.h) that writes with fuzz_append. */
struct fuzz_buffer {
	uint8_t *bytes; /* owned: to be freed */
	size_t size_bytes;
};
int fuzz_append(void *context, const void *data, size_t size_bytes);

/* Bytes of an input, taken from the front. */
struct fuzz_input {
	const uint8_t *at; /* borrowed */
	size_t rest_bytes;
};

/* A little-endian number of 1 to 8 bytes; what lies behind the end is zero. */
uint64_t fuzz_take(struct fuzz_input *input, size_t size_bytes);

#endif
