// SPDX-License-Identifier: Apache-2.0
/*
 * What the tests of the maps have in common: an expectation that ends the process, and numbers by chance that
 * are the same on every run.
 */
#ifndef TESTS_MAP_EXPECT_H
#define TESTS_MAP_EXPECT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) expect(condition, #condition, __FILE__, __LINE__)

static inline void expect(bool holds, const char *condition, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	exit(EXIT_FAILURE);
}

/* A plain 64-bit linear congruential generator, of which the upper half is used. */
static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
	*state = *state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)((*state >> 32) * limit >> 32);
}

#endif
