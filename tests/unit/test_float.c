// SPDX-License-Identifier: Apache-2.0
/* Our two functions against libm's, in units in the last place; and that the program notices nothing. */
#include "preload/float.h"

#include "tests/unit/check.h"

#include <fenv.h>
#include <math.h>

static const double ULPS_MAX = 2.0; /* as preload/float.h promises */

static double ulps_between(double a, double b)
{
	const double spacing = nextafter(fabs(b), INFINITY) - fabs(b);

	return fabs(a - b) / spacing;
}

static void test_ln(void)
{
	double worst = 0.0;

	/* All magnitudes that a 53-bit uniform draw has, and numbers near 1, where ln is near 0. */
	for (int exponent = -53; exponent <= 0; exponent++) {
		for (int step = 0; step < 1000; step++) {
			const double x = ldexp(1.0 + step / 1000.0, exponent - 1);

			worst = fmax(worst, ulps_between(hm_float_ln(x), log(x)));
		}
	}
	CHECK(worst <= ULPS_MAX);
	CHECK(hm_float_ln(1.0) == 0.0);
	CHECK(ulps_between(hm_float_ln(0x1p-53), log(0x1p-53)) <= ULPS_MAX);
	CHECK(ulps_between(hm_float_ln(1.0 - 0x1p-53), log(1.0 - 0x1p-53)) <= ULPS_MAX);
	CHECK(ulps_between(hm_float_ln(0x1p-1060), log(0x1p-1060)) <= ULPS_MAX);
}

static void test_one_minus_exp(void)
{
	double worst = 0.0;

	for (int exponent = -60; exponent <= 5; exponent++) {
		for (int step = 0; step < 1000; step++) {
			const double x = ldexp(1.0 + step / 1000.0, exponent);

			worst = fmax(worst, ulps_between(hm_float_one_minus_exp(x), -expm1(-x)));
		}
	}
	CHECK(worst <= ULPS_MAX);
	CHECK(hm_float_one_minus_exp(0.0) == 0.0);
	CHECK(hm_float_one_minus_exp(1e300) == 1.0);
}

static void test_environment_is_kept(void)
{
	volatile double zero = 0.0;

	feclearexcept(FE_ALL_EXCEPT);
	fesetround(FE_UPWARD);
	(void)feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);

	const uint32_t before = _mm_getcsr();
	const uint32_t saved = hm_float_enter();
	/* Would raise, and trap, outside. */
	volatile double ignored = 1.0 / zero;

	(void)ignored;
	hm_float_leave(saved);
	CHECK_EQ(_mm_getcsr(), before);      /* rounding, masks and sticky flags */
	CHECK_EQ(_mm_getcsr() >> 13 & 3, 2); /* upward */
	(void)fedisableexcept(FE_ALL_EXCEPT);
	fesetround(FE_TONEAREST);
}

static void test_add(void)
{
	_Atomic uint64_t sum = 0;

	for (int i = 0; i < 1000; i++)
		hm_float_add(&sum, 0.25);
	CHECK(hm_float_from_bits(sum) == 250.0);
}

int main(void)
{
	test_ln();
	test_one_minus_exp();
	test_environment_is_kept();
	test_add();
	return check_result();
}
