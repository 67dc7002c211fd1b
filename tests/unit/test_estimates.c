// SPDX-License-Identifier: Apache-2.0
/* Intervals and differences: by hand, and over many runs of a sampler with fixed seeds. */
#include "tests/unit/check.h"
#include "tools/estimates.h"

#include <math.h>

static bool is_near(double a, double b)
{
	return fabs(a - b) <= 1e-3 * fabs(b);
}

static void test_kept(void)
{
	struct hm_kept kept = hm_kept_of(&(struct hm_view_figures){ .alloc_bytes = 400, .inuse_bytes = 100 });

	CHECK(kept.part == 0.25 && kept.low == 0.25 && kept.high == 0.25); /* exact */
	kept = hm_kept_of(&(struct hm_view_figures){ 0 });
	CHECK(kept.part == 0 && kept.low == 0 && kept.high == 0);

	/* One sample, which lives, of weight 512: Wilson's interval for 1 of 1 is 1/(1+1.96^2) to 1. */
	kept = hm_kept_of(&(struct hm_view_figures){ .alloc_bytes = 512,
						     .inuse_bytes = 512,
						     .alloc_variance = 512.0 * 512,
						     .inuse_variance = 512.0 * 512 });
	CHECK(kept.part == 1 && is_near(kept.low, 0.20655) && kept.high == 1);

	/* 90 of 100 samples: 0.8256 to 0.9448, as tables of Wilson's interval have it. */
	kept = hm_kept_of(&(struct hm_view_figures){
		.alloc_bytes = 100, .inuse_bytes = 90, .alloc_variance = 100, .inuse_variance = 90 });
	CHECK(is_near(kept.low, 0.82563) && is_near(kept.high, 0.94477));
}

static void test_age(void)
{
	/* Two samples of 250 bytes, of variance 37500 each, 20 s and 40 s old: mean 30, and a variance of
	 * 2 * 37500 * 10^2 / 500^2 = 30. */
	const struct hm_mean_age age = hm_mean_age_of(&(struct hm_view_figures){
		.aged_bytes = 500,
		.age_byte_seconds = 250.0 * 60,
		.aged_variance = 75000,
		.aged_variance_seconds = 37500.0 * 60,
		.aged_variance_seconds2 = 37500.0 * 2000,
	});

	CHECK(is_near(age.seconds, 30) && is_near(age.variance, 30));
	CHECK(hm_mean_age_of(&(struct hm_view_figures){ 0 }).seconds == 0);

	/* All of one age: it is certain, whatever the bytes are. */
	CHECK(hm_mean_age_of(&(struct hm_view_figures){ .aged_bytes = 3,
							.age_byte_seconds = 0.3,
							.aged_variance = 7,
							.aged_variance_seconds = 0.7,
							.aged_variance_seconds2 = 0.07 })
		      .variance == 0);
}

static struct hm_view_figures of_samples(double alloc_count, double inuse_count)
{
	/* small blocks at an interval of 100: each sample stands for 100 bytes with a variance of 100^2 */
	return (struct hm_view_figures){ .alloc_bytes = 100 * alloc_count,
					 .inuse_bytes = 100 * inuse_count,
					 .alloc_variance = 10000 * alloc_count,
					 .inuse_variance = 10000 * inuse_count };
}

static void test_separate(void)
{
	const struct hm_view_figures few = of_samples(10, 4);
	const struct hm_view_figures many = of_samples(50, 25);
	struct hm_difference difference = hm_difference_of(&few, &many, HM_MEASURE_INUSE, false);

	CHECK(difference.old_bytes == 400 && difference.new_bytes == 2500);
	CHECK(difference.growth_bytes == 2100);
	CHECK(difference.variance == 290000); /* interval +-1055: 2100 less one sample is more */
	CHECK(difference.beyond_noise);
	CHECK(is_near(hm_half_width(difference.variance), 1055.5));
	difference = hm_difference_of(&many, &few, HM_MEASURE_INUSE, false);
	CHECK(difference.growth_bytes == -2100 && difference.beyond_noise);
	difference = hm_difference_of(&few, &many, HM_MEASURE_ALLOC, false);
	CHECK(difference.growth_bytes == 4000 && difference.variance == 600000);

	/* Of n samples here and none there: n - 1 > 1.96 sqrt(n) from 6 on, of probability 2/2^6. */
	for (int count = 0; count < 12; count++) {
		const struct hm_view_figures none = of_samples(0, 0);
		const struct hm_view_figures some = of_samples(count, count);

		CHECK_EQ(hm_difference_of(&none, &some, HM_MEASURE_INUSE, false).beyond_noise, count >= 6);
	}

	/* Exact figures: whatever differs, differs. */
	const struct hm_view_figures one = { .inuse_bytes = 1 };
	const struct hm_view_figures two = { .inuse_bytes = 2 };

	CHECK(hm_difference_of(&one, &two, HM_MEASURE_INUSE, false).beyond_noise);
	CHECK(!hm_difference_of(&two, &two, HM_MEASURE_INUSE, false).beyond_noise);
}

static void test_same_process(void)
{
	/* 100 allocated, 80 live; later 112 and 86: 12 came, 6 went; the rest of both is the same samples. */
	const struct hm_view_figures earlier = of_samples(100, 80);
	const struct hm_view_figures later = of_samples(112, 86);
	struct hm_difference difference = hm_difference_of(&earlier, &later, HM_MEASURE_INUSE, true);

	CHECK(difference.growth_bytes == 600);
	CHECK(difference.variance == 10000.0 * (12 + 6));
	CHECK(hm_difference_of(&later, &earlier, HM_MEASURE_INUSE, true).variance == difference.variance);
	CHECK(hm_difference_of(&earlier, &later, HM_MEASURE_ALLOC, true).variance == 120000);
	CHECK(hm_difference_of(&earlier, &later, HM_MEASURE_INUSE, false).variance == 1660000);

	/* 1000 came and went in between: of these no more counts than is live. */
	const struct hm_view_figures busy = of_samples(1100, 81);

	difference = hm_difference_of(&earlier, &busy, HM_MEASURE_INUSE, true);
	CHECK(difference.variance == 10000.0 * (81 + 80));

	/* Nothing happened. */
	difference = hm_difference_of(&earlier, &earlier, HM_MEASURE_INUSE, true);
	CHECK(difference.variance == 0 && !difference.beyond_noise);

	/* More allocated, and less freed: no two moments of one process, whatever their comments say. */
	const struct hm_view_figures other = of_samples(110, 110);

	CHECK(hm_difference_of(&earlier, &other, HM_MEASURE_INUSE, true).variance == 10000.0 * (80 + 110));
}

/* --- Over many runs ------------------------------------------------------------------------------------ */

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

enum { SIZE = 1000 };

/* Each of `count` objects of SIZE bytes is sampled, or not. */
static struct hm_view_figures sample(uint64_t *state, int count, double interval, double live_part)
{
	const double chance = 1 - exp(-(SIZE + 1) / interval);
	const double weight = 1 / chance;
	struct hm_view_figures figures = { 0 };

	for (int i = 0; i < count; i++) {
		const bool is_sampled = (double)(next_random(state) >> 11) * 0x1p-53 < chance;
		const struct hm_view_figures one = {
			.alloc_bytes = SIZE * weight,
			.alloc_variance = SIZE * (double)SIZE * weight * (weight - 1),
		};

		if (!is_sampled)
			continue;
		hm_view_add(&figures, &one);
		if (i < live_part * count) {
			figures.inuse_bytes += one.alloc_bytes;
			figures.inuse_variance += one.alloc_variance;
		}
	}
	return figures;
}

/*
 * Two runs of the same program differ by noise alone, and a mark says otherwise in at most 5 % of the cases,
 * for functions of 3 samples as for those of 300, and also where the two were sampled at different intervals.
 * Of 4000 cases, 5 % are 200, with a standard deviation of 13.8; 4 of them more are 255.
 */
static void test_false_alarms(void)
{
	enum { CASES = 4000, ALARMS_MAX = 255 };
	static const struct {
		int count;
		double old_interval;
		double new_interval;
	} rows[] = {
		{ 50, 16000, 16000 },   { 100, 16000, 16000 }, { 200, 16000, 16000 }, { 1000, 16000, 16000 },
		{ 3000, 10000, 10000 }, { 1000, 4000, 16000 }, { 1000, 500, 16000 },  { 300, 1000, 1000 },
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		uint64_t state = 1 + row;
		int alarms = 0;

		for (int i = 0; i < CASES; i++) {
			const struct hm_view_figures o =
				sample(&state, rows[row].count, rows[row].old_interval, 1);
			const struct hm_view_figures n =
				sample(&state, rows[row].count, rows[row].new_interval, 1);

			alarms += hm_difference_of(&o, &n, HM_MEASURE_INUSE, false).beyond_noise;
		}
		if (!CHECK(alarms <= ALARMS_MAX))
			fprintf(stderr, "\trow %zu: %d of %d\n", row, alarms, CASES);
		/* Not because nothing is ever marked: more than 150 samples, and the correction is small. */
		if (rows[row].count >= 3000 && !CHECK(alarms > CASES / 40))
			fprintf(stderr, "\trow %zu: %d of %d\n", row, alarms, CASES);
	}
}

/* What grew by half is found, where the samples allow it. */
static void test_power(void)
{
	uint64_t state = 99;
	int found = 0;

	for (int i = 0; i < 200; i++) {
		const struct hm_view_figures o = sample(&state, 2000, 10000, 1);
		const struct hm_view_figures n = sample(&state, 3000, 10000, 1);

		found += hm_difference_of(&o, &n, HM_MEASURE_INUSE, false).beyond_noise;
	}
	CHECK(found > 190); /* 1000 bytes of 10000: 190 against 285 samples, 4.3 standard deviations */
}

/*
 * One process at two moments, seen through the same samples: the errors of the growth stay within what the
 * variance says, and well below what two processes would have.
 */
static void test_same_process_coverage(void)
{
	enum { CASES = 2000, OBJECTS = 1000, CAME = 100, WENT = 60 };
	uint64_t state = 7;
	int outside = 0;
	double variance = 0;
	double separate = 0;

	for (int i = 0; i < CASES; i++) {
		const struct hm_view_figures stayed = sample(&state, OBJECTS, 5000, 1);
		struct hm_view_figures went = sample(&state, WENT, 5000, 1);
		const struct hm_view_figures came = sample(&state, CAME, 5000, 1);
		struct hm_view_figures earlier = stayed;
		struct hm_view_figures later = stayed;

		hm_view_add(&earlier, &went);
		went.inuse_bytes = went.inuse_variance = 0;
		hm_view_add(&later, &went);
		hm_view_add(&later, &came);

		const struct hm_difference difference =
			hm_difference_of(&earlier, &later, HM_MEASURE_INUSE, true);
		const double wrong = fabs(difference.growth_bytes - SIZE * (double)(CAME - WENT));

		outside += wrong > hm_half_width(difference.variance);
		variance += difference.variance;
		separate += hm_difference_of(&earlier, &later, HM_MEASURE_INUSE, false).variance;
	}
	/* 5 % are 100, with a standard deviation of 9.7; few samples make it up to 7 %. */
	CHECK(outside <= 180);
	CHECK(outside >= 50); /* here the bound is the variance itself: no wider than need be */
	CHECK(variance < separate / 10);
}

int main(void)
{
	test_kept();
	test_age();
	test_separate();
	test_same_process();
	test_false_alarms();
	test_power();
	test_same_process_coverage();
	return check_result();
}
