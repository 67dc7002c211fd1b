// SPDX-License-Identifier: Apache-2.0
/*
 * The sampler against theory.  Seeds are fixed, so every figure here is the same in every run; the bounds are
 * those of the theory (docs/accuracy.md): a z-score is (estimate - truth) / standard error, and of the seeds
 * used none may be beyond 4 (1 in 16,000 would be by chance).
 */
#include "preload/sampler.h"

#include "tests/unit/check.h"

#include <math.h>

static const double Z_MAX = 4.0;

struct estimate {
	double objects;
	double bytes;
	double samples;
};

static bool sample(struct hm_sampler *sampler, size_t size_bytes, uint64_t interval_bytes, float *ret_weight)
{
	return hm_sampler_is_due(sampler, size_bytes) &&
	       hm_sampler_decide(sampler, size_bytes, interval_bytes, ret_weight);
}

static void add(struct estimate *estimate, size_t size_bytes, float weight)
{
	estimate->objects += weight;
	estimate->bytes += (double)size_bytes * weight;
	estimate->samples += 1.0;
}

/* Variance of the estimated count and bytes of `count` allocations of one size. */
static double variance_objects(double count, size_t size_bytes, double interval_bytes)
{
	const double p = -expm1(-((double)size_bytes + 1.0) / interval_bytes);

	return count * (1.0 - p) / p;
}

static double variance_bytes(double count, size_t size_bytes, double interval_bytes)
{
	return variance_objects(count, size_bytes, interval_bytes) * (double)size_bytes * (double)size_bytes;
}

/* Mixed sizes on one stack, as the sizes of a real program: most small, most bytes in few. */
static const size_t mixed_sizes[] = { 0,   1,   16,  24,   24,   32,    48,    64,
				      100, 128, 512, 1000, 4096, 20000, 65536, 1000000 };
enum { MIXED = sizeof(mixed_sizes) / sizeof(mixed_sizes[0]), ROUNDS = 20000, SEEDS = 40 };

static void test_unbiased(uint64_t interval_bytes)
{
	double objects_true = 0.0;
	double bytes_true = 0.0;
	double objects_variance = 0.0;
	double bytes_variance = 0.0;
	double sum_objects_z = 0.0;
	double sum_bytes_z = 0.0;
	double sum_bytes_z2 = 0.0;

	for (int i = 0; i < MIXED; i++) {
		objects_true += ROUNDS;
		bytes_true += (double)ROUNDS * (double)mixed_sizes[i];
		objects_variance += variance_objects(ROUNDS, mixed_sizes[i], (double)interval_bytes);
		bytes_variance += variance_bytes(ROUNDS, mixed_sizes[i], (double)interval_bytes);
	}
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct hm_sampler sampler;
		struct estimate estimate = { 0 };
		float weight;

		hm_sampler_seed(&sampler, seed * UINT64_C(0x123456789abcdef1));
		for (int round = 0; round < ROUNDS; round++) {
			for (int i = 0; i < MIXED; i++) {
				if (sample(&sampler, mixed_sizes[i], interval_bytes, &weight))
					add(&estimate, mixed_sizes[i], weight);
			}
		}

		const double objects_z = (estimate.objects - objects_true) / sqrt(objects_variance);
		const double bytes_z = (estimate.bytes - bytes_true) / sqrt(bytes_variance);

		CHECK(fabs(objects_z) < Z_MAX);
		CHECK(fabs(bytes_z) < Z_MAX);
		sum_objects_z += objects_z;
		sum_bytes_z += bytes_z;
		sum_bytes_z2 += bytes_z * bytes_z;
	}
	/* The mean of SEEDS z-scores has a standard error of 1/sqrt(SEEDS); their mean square is 1 +-
	 * sqrt(2/SEEDS). */
	CHECK(fabs(sum_objects_z) / SEEDS < Z_MAX / sqrt(SEEDS));
	CHECK(fabs(sum_bytes_z) / SEEDS < Z_MAX / sqrt(SEEDS));
	CHECK(fabs(sum_bytes_z2 / SEEDS - 1.0) < Z_MAX * sqrt(2.0 / SEEDS));
}

/* The first allocation of a thread is sampled as often as any: 100,000 threads of one allocation each. */
static void test_first_allocation(void)
{
	enum { THREADS = 100000, SIZE = 4096, INTERVAL = 65536 };
	struct estimate estimate = { 0 };

	for (uint64_t thread = 0; thread < THREADS; thread++) {
		struct hm_sampler sampler = { 0 };
		float weight;

		hm_sampler_seed(&sampler, thread * UINT64_C(0xd1342543de82ef95) + 12345);
		if (sample(&sampler, SIZE, INTERVAL, &weight))
			add(&estimate, SIZE, weight);
	}
	CHECK(fabs((estimate.objects - THREADS) / sqrt(variance_objects(THREADS, SIZE, INTERVAL))) < Z_MAX);
}

/* Every allocation is a sample, and stands for itself. */
static void test_exact(void)
{
	struct hm_sampler sampler = { 0 };
	struct estimate estimate = { 0 };
	float weight = 0.0F;

	hm_sampler_seed(&sampler, 1);
	for (size_t size_bytes = 0; size_bytes < 1000; size_bytes++) {
		CHECK(sample(&sampler, size_bytes, 1, &weight));
		CHECK(weight == 1.0F);
		add(&estimate, size_bytes, weight);
	}
	CHECK(estimate.bytes == 999.0 * 1000.0 / 2.0);
}

/* An interval that changes again and again while points are outstanding. */
static void test_change_of_interval(void)
{
	enum { COUNT = 2000000, SIZE = 200 };
	static const uint64_t intervals[] = { 4096, 65536, 524288, 1000, 0 };
	double true_objects = 0.0;
	double variance = 0.0;
	struct estimate estimate = { 0 };
	struct hm_sampler sampler;
	uint64_t awake_count = 0;

	hm_sampler_seed(&sampler, 99);
	for (int i = 0; i < COUNT; i++) {
		const uint64_t interval_bytes = intervals[i / 1000 % 4];
		float weight;

		awake_count++;
		if (sample(&sampler, SIZE, interval_bytes, &weight)) {
			add(&estimate, SIZE, weight);
			variance += (double)weight * ((double)weight - 1.0);
		}
	}
	true_objects = (double)awake_count;
	CHECK(fabs((estimate.objects - true_objects) / sqrt(variance)) < Z_MAX);
}

/*
 * The allocation that reaches over a checkpoint, half on each side, when a change is noticed there: of
 * 200,000 threads it is estimated as often as it happened.  One after sleep is not counted, the next one is.
 */
static void test_change_at_checkpoint(void)
{
	enum { THREADS = 200000, MIB = 1 << 20 };
	static const uint64_t long_interval = UINT64_C(64) << 20;
	struct estimate estimate = { 0 };
	struct hm_sampler sampler = { 0 };
	float weight;

	for (uint64_t thread = 0; thread < THREADS; thread++) {
		hm_sampler_seed(&sampler, thread * UINT64_C(0xd1342543de82ef95) + 1);
		(void)sample(&sampler, 15 * MIB, long_interval, &weight);
		if (sample(&sampler, 2 * MIB, 1 * MIB, &weight))
			add(&estimate, 2 * MIB, weight);
	}
	CHECK(fabs((estimate.objects - THREADS) /
		   sqrt(variance_objects(THREADS, 2 * MIB, (double)long_interval))) < Z_MAX);

	hm_sampler_seed(&sampler, 1);
	CHECK(!sample(&sampler, 0, 0, &weight));
	CHECK(!sample(&sampler, 15 * MIB, 1, &weight));
	CHECK(!sample(&sampler, 2 * MIB, 1, &weight));
	CHECK(sample(&sampler, 0, 1, &weight));
	CHECK(weight == 1.0F);
}

/* Asleep nothing is sampled; awake again within 16 MiB, without a bias. */
static void test_dormant(void)
{
	enum { SIZE = 1000, BLOCKS = 100000 };
	struct hm_sampler sampler;
	struct estimate estimate = { 0 };
	uint64_t decisions = 0;
	float weight;

	hm_sampler_seed(&sampler, 7);
	for (int i = 0; i < BLOCKS; i++) {
		if (hm_sampler_is_due(&sampler, SIZE)) {
			decisions++;
			CHECK(!hm_sampler_decide(&sampler, SIZE, 0, &weight));
		}
	}
	/* 100 MB, and a look at the control word every 16 MiB; one at the start. */
	CHECK_EQ(decisions, 1 + (uint64_t)BLOCKS * (SIZE + 1) / (16 * 1024 * 1024));

	uint64_t until_awake_bytes = 0;

	while (estimate.samples == 0.0 && until_awake_bytes < UINT64_C(64) << 20) {
		until_awake_bytes += SIZE + 1;
		if (sample(&sampler, SIZE, 4096, &weight))
			add(&estimate, SIZE, weight);
	}
	CHECK(until_awake_bytes < (UINT64_C(16) << 20) + 40 * 4096);
}

/* Sizes that cannot succeed neither wrap the countdown nor make it last for ever. */
static void test_impossible_sizes(void)
{
	static const size_t impossible[] = { SIZE_MAX, SIZE_MAX - 1, (size_t)PTRDIFF_MAX,
					     (size_t)PTRDIFF_MAX + 1, (size_t)1 << 63 };
	struct estimate estimate = { 0 };
	struct hm_sampler sampler;
	float weight;

	hm_sampler_seed(&sampler, 3);
	for (int i = 0; i < 100000; i++) {
		for (size_t which = 0; which < sizeof(impossible) / sizeof(impossible[0]); which++)
			(void)sample(&sampler, impossible[which], 65536, &weight);
		if (sample(&sampler, 1000, 65536, &weight))
			add(&estimate, 1000, weight);
		CHECK(sampler.countdown_bytes >= 0 && sampler.countdown_bytes < INT64_C(1) << 62);
	}
	CHECK(fabs((estimate.objects - 100000) / sqrt(variance_objects(100000, 1000, 65536))) < Z_MAX);
}

/* Distances longer than a checkpoint. */
static void test_long_interval(void)
{
	enum { COUNT = 3000000, SIZE = 4096 };
	static const uint64_t interval_bytes = UINT64_C(64) << 20;
	struct estimate estimate = { 0 };
	struct hm_sampler sampler;
	float weight;

	hm_sampler_seed(&sampler, 5);
	for (int i = 0; i < COUNT; i++) {
		if (sample(&sampler, SIZE, interval_bytes, &weight))
			add(&estimate, SIZE, weight);
	}
	CHECK(fabs((estimate.objects - COUNT) / sqrt(variance_objects(COUNT, SIZE, (double)interval_bytes))) <
	      Z_MAX);
	CHECK(estimate.samples > 100.0);
}

static void test_weight(void)
{
	CHECK(hm_sampler_weight(0, 1) == 1.0F);
	CHECK(hm_sampler_weight(123456, 1) == 1.0F);
	CHECK(fabs(hm_sampler_weight(0, 524288) - 524288.5) < 0.1);
	CHECK(hm_sampler_weight((size_t)1 << 40, 524288) == 1.0F);
	CHECK(fabs(hm_sampler_weight(524287, 524288) - 1.5819767) < 1e-6);
}

int main(void)
{
	test_unbiased(65536);
	test_unbiased(524288);
	test_unbiased(100);
	test_first_allocation();
	test_exact();
	test_change_of_interval();
	test_change_at_checkpoint();
	test_dormant();
	test_impossible_sizes();
	test_long_interval();
	test_weight();
	return check_result();
}
