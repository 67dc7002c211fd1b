// SPDX-License-Identifier: Apache-2.0
/*
 * What the programs that script/bench times have in common.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* Tells the compiler that somebody may look at the block, so that no allocation is optimised away. */
static inline void *seen(void *block)
{
	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

/* Marsaglia's xorshift: cheap beside a malloc, and the same sequence every time.  `state` is not 0. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline double clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) != 0)
		abort();
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}
