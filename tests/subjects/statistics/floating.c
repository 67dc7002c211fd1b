// SPDX-License-Identifier: Apache-2.0
/*
 * floating MODE: the same allocations with floating point as it is ("plain"), with every exception a signal
 * ("traps"), or with another rounding ("upward", "zero").  Nothing of it may be changed by being sampled.
 */
#include "tests/subjects/truth.h"

#include <fenv.h>
#include <pthread.h>

static SITE void *floating_small(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : : "memory"); /* not a jump: the site has its frame */
	return block;
}

static SITE void *floating_large(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : : "memory");
	return block;
}

static void set_mode(const char *mode)
{
	if (strcmp(mode, "traps") == 0)
		(void)feenableexcept(FE_ALL_EXCEPT);
	else if (strcmp(mode, "upward") == 0)
		(void)fesetround(FE_UPWARD);
	else if (strcmp(mode, "zero") == 0)
		(void)fesetround(FE_TOWARDZERO);
}

/* In a thread: its samples depend on the seed alone, not on what was allocated before main. */
static void *run(void *argument)
{
	const char *const mode = argument;

	set_mode(mode);

	const int rounding = fegetround();

	for (size_t index = 0; index < 20000; index++) {
		void *const small = floating_small(index % 1000);

		if (index % 8 != 0)
			free(small);
		free(floating_large(index * 10));
	}
	say("exceptions raised: %d", fetestexcept(FE_ALL_EXCEPT));
	say("rounding: %s", fegetround() == rounding ? "as set" : "another");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 2 || pthread_create(&thread, NULL, run, argv[1]) != 0)
		return 2;
	(void)pthread_join(thread, NULL);
	set_mode(argv[1]); /* what is written at exit is calculated under it too */
	return 0;
}
