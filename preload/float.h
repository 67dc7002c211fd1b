// SPDX-License-Identifier: Apache-2.0
/*
 * Floating point inside malloc: the two functions that sampling needs, without libm, and a fence around
 * their use.  The program may have unmasked floating-point traps, changed the rounding, or may later look at
 * the sticky flags: between hm_float_enter and hm_float_leave the unit is in its default state, and after
 * it nothing has happened.
 *
 * Any thread, any signal handler.
 */
#ifndef HM_PRELOAD_FLOAT_H
#define HM_PRELOAD_FLOAT_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <xmmintrin.h>

static inline uint32_t hm_float_enter(void)
{
	enum { ALL_MASKED_ROUND_TO_NEAREST = 0x1f80 }; /* MXCSR at reset */
	const uint32_t saved = _mm_getcsr();

	_mm_setcsr(ALL_MASKED_ROUND_TO_NEAREST);
	return saved;
}

static inline void hm_float_leave(uint32_t saved)
{
	_mm_setcsr(saved);
}

/*
 * Returns `value`.  To the compiler arithmetic has no side effects, and it may move what lies between enter
 * and leave to after or before them.  What goes in or comes out by this stays between: an argument that is
 * read, or a result that is given on, in a register alone.  (Atomic accesses and calls stay where they are.)
 */
static inline uint64_t hm_float_settled(uint64_t value)
{
	__asm__ volatile("" : "+r"(value));
	return value;
}

/* ln x for finite x > 0, to within 2 units in the last place. */
double hm_float_ln(double x);

/* 1 - e^-x for x >= 0, to within 2 units in the last place; small x lose nothing. */
double hm_float_one_minus_exp(double x);

static inline uint64_t hm_float_bits(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline double hm_float_from_bits(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Adds to a double that lies in shared memory as its bits.  relaxed: a statistic. */
static inline void hm_float_add(_Atomic uint64_t *sum, double value)
{
	uint64_t bits = atomic_load_explicit(sum, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(sum, &bits,
						      hm_float_bits(hm_float_from_bits(bits) + value),
						      memory_order_relaxed, memory_order_relaxed)) {
	}
}

#endif
