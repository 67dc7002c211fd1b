// SPDX-License-Identifier: Apache-2.0
/*
 * heights MODE: heaps that rise and fall.  When there is more than ever before or after, a line for each site
 * says what it has then:
 *
 *	peak SITE OBJECTS BYTES
 *
 * In the modes whose name ends so, "-killed", the program ends by SIGKILL.
 */
#include "tests/subjects/truth.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum {
	BLOCKS = 3000,
	SMALL_BYTES = 2000,
	SPIKE_BYTES = 3000000,
	CHURN_ROUNDS = 20000,
	THREADS = 4,
	TEETH = 40,
};

TRUTH(height_base)
static SITE struct block height_base(size_t size)
{
	return truth_allocated(&truth_of_height_base, malloc(size), size);
}

TRUTH(height_spike)
static SITE struct block height_spike(size_t size)
{
	return truth_allocated(&truth_of_height_spike, calloc(1, size), size);
}

TRUTH(height_churn)
static SITE struct block height_churn(size_t size)
{
	return truth_allocated(&truth_of_height_churn, malloc(size), size);
}

TRUTH(height_resized)
static SITE struct block height_resized(struct block *block, size_t size)
{
	void *const moved = realloc(block->address, size);

	if (moved == NULL)
		return *block;
	truth_freed(block);
	return truth_allocated(&truth_of_height_resized, moved, size);
}

static void say_peak(void)
{
	for (const struct truth *truth = truth_first; truth != NULL; truth = truth->next)
		say("peak %s %" PRIu64 " %" PRIu64, truth->name, truth->alloc_objects - truth->freed_objects,
		    truth->alloc_bytes - truth->freed_bytes);
}

static struct block blocks[THREADS][BLOCKS];

static void rise(struct block *row)
{
	for (int i = 0; i < BLOCKS; i++)
		row[i] = height_base(SMALL_BYTES);
}

static void fall(struct block *row)
{
	for (int i = 0; i < BLOCKS; i++)
		truth_free(&row[i]);
}

static void churn(size_t size)
{
	for (int i = 0; i < CHURN_ROUNDS; i++) {
		struct block block = height_churn(size + (size_t)i % 1000);

		truth_free(&block);
	}
}

static void ramp(void)
{
	rise(blocks[0]);
	say_peak();
	fall(blocks[0]);
	churn(100000);
}

/* The spike is the peak, and alone exceeds the heap around it by more than the hysteresis. */
static void middle(void)
{
	rise(blocks[0]);

	struct block spike = height_spike(SPIKE_BYTES);

	say_peak();
	truth_free(&spike);
	for (int i = 0; i < BLOCKS; i += 2)
		truth_free(&blocks[0][i]);
	churn(100000);
}

/* To just where a new mark is not due yet: as far as the mark may be from the truth. */
static void bound(void)
{
	struct block spike = height_spike(64 << 20);
	struct block more = height_base(1 << 20);

	say_peak();
	truth_free(&more);
	truth_free(&spike);
	churn(1000);
}

static void sawtooth(void)
{
	size_t size = 100000;

	rise(blocks[0]);
	for (int tooth = 0; tooth < TEETH; tooth++) {
		struct block spike = tooth % 2 == 0 ? height_spike(size) : height_churn(size);

		if (tooth == TEETH - 1)
			say_peak();
		truth_free(&spike);
		size += size / 5;
	}
	fall(blocks[0]);
}

static void resize(void)
{
	static volatile size_t huge_bytes = (size_t)PTRDIFF_MAX - 4096;
	struct block block = height_base(1000);

	for (size_t size = 2000; size < 50000000; size *= 2)
		block = height_resized(&block, size);
	block = height_resized(&block, huge_bytes); /* fails, and is neither a dip nor a peak */
	say_peak();
	for (size_t size = 20000000; size > 1000; size /= 2)
		block = height_resized(&block, size);
	churn(1000);
}

static pthread_barrier_t barrier;

static void *rise_and_fall(void *row)
{
	rise(row);
	pthread_barrier_wait(&barrier); /* all are up */
	pthread_barrier_wait(&barrier);
	fall(row);
	churn(1000);
	return NULL;
}

static void threads(void)
{
	pthread_t created[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&created[i], NULL, rise_and_fall, blocks[i]) != 0)
			abort();
	}
	pthread_barrier_wait(&barrier);
	say_peak();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(created[i], NULL);
}

/* The child has a heap of its own to count, and begins with nothing. */
static void family(void)
{
	struct block spike = height_spike(SPIKE_BYTES);

	say_peak();

	const pid_t child = fork();

	if (child == 0) {
		struct block first;

		truth_begin_anew();
		first = height_churn(1000);
		spike = height_base(10000);
		say_peak();
		truth_free(&spike);
		truth_free(&first);
		churn(1000);
		return;
	}
	if (waitpid(child, NULL, 0) != child)
		abort();
	truth_free(&spike);
	churn(1000);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{ "ramp", ramp },     { "middle", middle },   { "bound", bound },   { "sawtooth", sawtooth },
	{ "resize", resize }, { "threads", threads }, { "family", family }, { "middle-killed", middle },
};

int main(int argument_count, char **arguments)
{
	for (size_t i = 0; argument_count == 2 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(arguments[1], modes[i].name) != 0)
			continue;
		modes[i].run();
		if (strstr(modes[i].name, "-killed") != NULL)
			(void)raise(SIGKILL);
		return 0;
	}
	return 2;
}
