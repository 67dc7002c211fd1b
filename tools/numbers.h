// SPDX-License-Identifier: Apache-2.0
/* Of two numbers: the smaller, the larger, and their sum, which stays at the largest there is. */
#ifndef HM_TOOLS_NUMBERS_H
#define HM_TOOLS_NUMBERS_H

#include <stdint.h>

static inline uint64_t hm_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t hm_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t hm_add_saturated_u64(uint64_t a, uint64_t b)
{
	return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

#endif
