// SPDX-License-Identifier: Apache-2.0
/*
 * statistics RATE: mixes of sizes, allocated until some 400 samples of each are to be expected.  For each mix
 * it prints the sums, over all allocations of size s with p = 1 - exp(-(s + 1) / RATE), that the estimates
 * and their variances must come to:
 *
 *	expected SITE OBJECTS BYTES VARIANCE_OF_OBJECTS VARIANCE_OF_BYTES
 *	                            sum (1-p)/p         sum s^2 (1-p)/p
 *
 * All happens in a thread of its own: what is sampled there does not depend on what the C library has
 * allocated before main, which differs from machine to machine.
 */
#include "tests/subjects/truth.h"

#include <math.h>
#include <pthread.h>

enum { SAMPLES_EXPECTED = 400 };

static double rate_bytes;

static uint64_t draw(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 33;
}

/*
 * From 8 to 2^20, and of each order of magnitude about as many bytes: so each has as many samples, and the
 * sum does not hang on a few that stand for much.
 */
static size_t draw_any(uint64_t *state)
{
	const size_t smallest = (size_t)8 << __builtin_ctzll(draw(state) | UINT64_C(1) << 16);

	return smallest + draw(state) % smallest;
}

/* site, size */
#define MIXES(X)                                       \
	X(mix_of_tiny, 8 + draw(&state) % 57)          \
	X(mix_of_small, 16 + draw(&state) % 1009)      \
	X(mix_of_medium, 1024 + draw(&state) % 31745)  \
	X(mix_of_large, 65536 + draw(&state) % 983041) \
	X(mix_of_all, draw_any(&state))

struct sums {
	uint64_t objects;
	uint64_t bytes;
	double objects_variance;
	double bytes_variance;
};

static void add(struct sums *sums, size_t size_bytes)
{
	const double missed = exp(-((double)size_bytes + 1) / rate_bytes); /* 1 - p */
	const double variance = missed / (1 - missed);

	sums->objects++;
	sums->bytes += size_bytes;
	sums->objects_variance += variance;
	sums->bytes_variance += (double)size_bytes * (double)size_bytes * variance;
}

#define DEFINE(NAME, SIZE)                                                                              \
	static SITE void NAME(void)                                                                     \
	{                                                                                               \
		struct sums sums = { 0 };                                                               \
		uint64_t state = 1;                                                                     \
                                                                                                        \
		while ((double)(sums.bytes + sums.objects) < SAMPLES_EXPECTED * rate_bytes) {           \
			const size_t size = SIZE;                                                       \
                                                                                                        \
			free(malloc(size));                                                             \
			add(&sums, size);                                                               \
		}                                                                                       \
		say("expected " #NAME " %" PRIu64 " %" PRIu64 " %.17g %.17g", sums.objects, sums.bytes, \
		    sums.objects_variance, sums.bytes_variance);                                        \
	}
MIXES(DEFINE)

static void *run(void *unused)
{
	(void)unused;
#define CALL(NAME, SIZE) NAME();
	MIXES(CALL)
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	rate_bytes = argc > 1 ? strtod(argv[1], NULL) : 0;
	if (rate_bytes <= 0 || pthread_create(&thread, NULL, run, NULL) != 0)
		return 2;
	(void)pthread_join(thread, NULL);
	return 0;
}
