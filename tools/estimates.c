// SPDX-License-Identifier: Apache-2.0
#include "tools/estimates.h"

#include <math.h>

/* Of a normal distribution 95 % lie within so many standard deviations of the mean. */
static const double deviations = 1.96;

double hm_half_width(double variance)
{
	return deviations * sqrt(variance);
}

struct hm_kept hm_kept_of(const struct hm_view_figures *figures)
{
	const double alloc = figures->alloc_bytes;
	struct hm_kept kept = { 0 };

	if (!(alloc > 0))
		return kept;
	kept.part = figures->inuse_bytes / alloc;
	if (!(figures->alloc_variance > 0)) {
		kept.low = kept.high = kept.part;
		return kept;
	}

	/* So many samples of one size and weight would be as uncertain as these are. */
	const double sample_count = alloc * alloc / figures->alloc_variance;
	const double z2 = deviations * deviations / sample_count;
	const double centre = (kept.part + z2 / 2) / (1 + z2);
	const double inside = kept.part * (1 - kept.part) * z2 + z2 * z2 / 4;
	const double half = sqrt(inside > 0 ? inside : 0) / (1 + z2);

	kept.low = fmax(centre - half, 0);
	kept.high = fmin(centre + half, 1);
	return kept;
}

struct hm_mean_age hm_mean_age_of(const struct hm_view_figures *figures)
{
	const double bytes = figures->aged_bytes;
	struct hm_mean_age mean = { 0 };

	if (!(bytes > 0))
		return mean;
	mean.seconds = figures->age_byte_seconds / bytes;

	/* Each sample adds its variance times (age - mean)^2; at least 0, whatever was lost by rounding. */
	const double sum = figures->aged_variance_seconds2 -
			   2 * mean.seconds * figures->aged_variance_seconds +
			   mean.seconds * mean.seconds * figures->aged_variance;

	/* Below this part of its terms, the sum is what rounding has left of them. */
	if (sum > 1e-9 * figures->aged_variance_seconds2)
		mean.variance = sum / (bytes * bytes);
	return mean;
}

static double value_of(const struct hm_view_figures *figures, enum hm_measure measure)
{
	return measure == HM_MEASURE_ALLOC ? figures->alloc_bytes : figures->inuse_bytes;
}

static double variance_of(const struct hm_view_figures *figures, enum hm_measure measure)
{
	return measure == HM_MEASURE_ALLOC ? figures->alloc_variance : figures->inuse_variance;
}

/*
 * The bound for two moments of one process; negative where the figures are not such.  What was allocated in
 * between has the variance that alloc gained, what was freed in between that which freed gained.  Only what
 * is live at one moment and not at the other counts: part of the first and of what is in use later, part of
 * the second and of what was in use earlier.
 */
static double variance_between(const struct hm_view_figures *earlier, const struct hm_view_figures *later,
			       enum hm_measure measure)
{
	const double allocated = later->alloc_variance - earlier->alloc_variance;
	double freed = (later->alloc_variance - later->inuse_variance) -
		       (earlier->alloc_variance - earlier->inuse_variance);

	/* Sums that are equal but for their rounding. */
	if (freed < 0 && freed > -1e-9 * later->alloc_variance)
		freed = 0;
	if (allocated < 0 || freed < 0)
		return -1;
	if (measure == HM_MEASURE_ALLOC)
		return allocated;
	return fmin(allocated, later->inuse_variance) + fmin(freed, earlier->inuse_variance);
}

struct hm_difference hm_difference_of(const struct hm_view_figures *old_figures,
				      const struct hm_view_figures *new_figures, enum hm_measure measure,
				      bool same_process)
{
	const double separate = variance_of(old_figures, measure) + variance_of(new_figures, measure);
	struct hm_difference difference = {
		.old_bytes = value_of(old_figures, measure),
		.new_bytes = value_of(new_figures, measure),
		.variance = separate,
	};
	const double both = difference.old_bytes + difference.new_bytes;

	difference.growth_bytes = difference.new_bytes - difference.old_bytes;
	if (same_process) {
		double between = variance_between(old_figures, new_figures, measure);

		if (between < 0)
			between = variance_between(new_figures, old_figures, measure);
		if (between >= 0)
			difference.variance = fmin(between, separate);
	}

	/*
	 * Few samples are not normally distributed: without a correction for their being whole, four samples
	 * here and none there (probability 1/8) would count as more than noise.  It is what one stands for.
	 */
	const double one_sample = both > 0 ? separate / both : 0;

	difference.beyond_noise = difference.variance > 0 ? fabs(difference.growth_bytes) - one_sample >
								    hm_half_width(difference.variance)
							  : difference.growth_bytes != 0;
	return difference;
}
