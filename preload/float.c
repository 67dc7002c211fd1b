// SPDX-License-Identifier: Apache-2.0
#include "preload/float.h"

static const double LN_2_HIGH = 0x1.62e42feep-1;      /* ln 2 to 32 bits: k times it is exact */
static const double LN_2_LOW = 0x1.a39ef35793c76p-33; /* the rest */

/*
 * x = m 2^e with m in [sqrt(1/2), sqrt(2)), t = (m-1)/(m+1), |t| < 0.172:
 *
 *	ln x = e ln 2 + 2 (t + t^3/3 + t^5/5 + ... + t^21/21),   next term < 2^-61 of the first
 */
double hm_float_ln(double x)
{
	enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023, LAST_TERM = 21 };
	uint64_t bits = hm_float_bits(x);
	int exponent = 0;

	if (bits >> MANTISSA_BITS == 0) { /* subnormal: make it normal first */
		bits = hm_float_bits(x * 0x1p54);
		exponent = -54;
	}
	exponent += (int)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;

	double m = hm_float_from_bits((bits & ((UINT64_C(1) << MANTISSA_BITS) - 1)) |
				      (uint64_t)EXPONENT_BIAS << MANTISSA_BITS);

	if (m >= 1.4142135623730951) {
		m *= 0.5;
		exponent++;
	}

	const double t = (m - 1.0) / (m + 1.0);
	const double t2 = t * t;
	double series = 0.0;

	for (int term = LAST_TERM; term >= 3; term -= 2)
		series = (series + 1.0 / term) * t2;
	return exponent * LN_2_HIGH + (2.0 * t + (2.0 * t * series + exponent * LN_2_LOW));
}

/* e^r - 1 for |r| <= ln(2)/2 by its series: r + r^2/2! + ... + r^15/15!, next term < 2^-66 of the first. */
static double expm1_small(double r)
{
	enum { LAST_TERM = 15 };
	double series = 1.0;

	for (int term = LAST_TERM; term >= 2; term--)
		series = 1.0 + series * r / term;
	return series * r;
}

/* -x = k ln 2 + r:  1 - e^-x = 1 - 2^k e^r = (1 - 2^k) - 2^k (e^r - 1) */
double hm_float_one_minus_exp(double x)
{
	enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023 };

	if (x >= 44.0) /* e^-44 < 2^-63 */
		return 1.0;

	const int k = -(int)(x / (LN_2_HIGH + LN_2_LOW) + 0.5);
	const double r = -((x + k * LN_2_HIGH) + k * LN_2_LOW);
	const double power = hm_float_from_bits((uint64_t)(k + EXPONENT_BIAS) << MANTISSA_BITS); /* 2^k */

	return (1.0 - power) - power * expm1_small(r);
}
