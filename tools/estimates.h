// SPDX-License-Identifier: Apache-2.0
/*
 * What follows from estimated figures: intervals, parts, means and differences.  Derived in docs/accuracy.md.
 *
 * All intervals are of 95 %: 1.96 standard deviations to either side.
 */
#ifndef HM_TOOLS_ESTIMATES_H
#define HM_TOOLS_ESTIMATES_H

#include "tools/view.h"

#include <stdbool.h>

/* Half the width of the interval of an estimate with this variance. */
double hm_half_width(double variance);

/* How much of what was allocated is in use. */
struct hm_kept {
	double part; /* 0 .. 1; 0 where nothing was allocated */
	double low;  /* the interval (Wilson's: one sample of one is 21 % to 100 %, not 100 % exactly) */
	double high;
};
struct hm_kept hm_kept_of(const struct hm_view_figures *figures);

/* The mean age of what is in use and of known age, each byte counted alike. */
struct hm_mean_age {
	double seconds;
	double variance; /* of the mean, seconds squared */
};
struct hm_mean_age hm_mean_age_of(const struct hm_view_figures *figures);

enum hm_measure { HM_MEASURE_INUSE, HM_MEASURE_ALLOC };

struct hm_difference {
	double old_bytes;
	double new_bytes;
	double growth_bytes; /* new less old */
	double variance;     /* of the growth */
	bool beyond_noise;   /* the growth is more than sampling explains, at 95 % */
};

/*
 * same_process: both are of one process at two moments, in either order, so that samples live in both are the
 * same ones and cancel.  The variance is then never less than the true one, and at most that of two separate
 * processes.
 */
struct hm_difference hm_difference_of(const struct hm_view_figures *old_figures,
				      const struct hm_view_figures *new_figures, enum hm_measure measure,
				      bool same_process);

#endif
