// SPDX-License-Identifier: Apache-2.0
/*
 * handlers MODE, over an allocator that may be interrupted (reentrant.c): a timer of 1 kHz interrupts a loop
 * of allocations wherever it is, in the library above all.
 *	nested   the handler allocates and frees
 *	jump     the handler leaves by siglongjmp, and what it interrupted never ends
 */
#include "tests/subjects/programs/truth.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

enum { SIGNALS = 300, BLOCKS_AFTER = 100, DEPTH = 40 };

static volatile sig_atomic_t signals_seen;
static sigjmp_buf back;

TRUTH(in_loop)
static SITE struct block in_loop(size_t size)
{
	return truth_allocated(&truth_of_in_loop, malloc(size), size);
}

TRUTH(in_handler)
static SITE struct block in_handler(size_t size)
{
	return truth_allocated(&truth_of_in_handler, malloc(size), size);
}

TRUTH(after_jumps)
static SITE struct block after_jumps(size_t size)
{
	return truth_allocated(&truth_of_after_jumps, malloc(size), size);
}

TRUTH(deep_after_jumps)
static SITE struct block deep_after_jumps(size_t size, int depth)
{
	struct block block = depth > 0 ? deep_after_jumps(size, depth - 1)
				       : truth_allocated(&truth_of_deep_after_jumps, malloc(size), size);

	__asm__ volatile("" : : : "memory"); /* not a jump: each level has its frame */
	return block;
}

/* A block of the handler comes while the library is at work, and is then none of its samples. */
static void allocate_in_handler(int signal)
{
	(void)signal;
	for (size_t size = 10; size < 15; size++) {
		struct block block = in_handler(size);

		truth_free(&block);
	}
	signals_seen++;
}

static void jump(int signal)
{
	(void)signal;
	signals_seen++;
	siglongjmp(back, 1);
}

static void start_timer(void (*handler)(int), suseconds_t interval_us)
{
	struct sigaction action = { .sa_handler = handler };
	const struct itimerval timer = { { 0, interval_us }, { 0, interval_us } };

	if (sigaction(SIGALRM, &action, NULL) != 0 || setitimer(ITIMER_REAL, &timer, NULL) != 0)
		abort();
}

static void stop_timer(void)
{
	const struct itimerval off = { { 0, 0 }, { 0, 0 } };

	(void)setitimer(ITIMER_REAL, &off, NULL);
	(void)signal(SIGALRM, SIG_IGN);
}

static void allocate_until_enough(void)
{
	for (size_t round = 0; signals_seen < SIGNALS; round++) {
		struct block block = in_loop(round % 100);

		if (round % 64 != 0)
			truth_free(&block);
	}
}

/* Which allocation of the loop was interrupted, and whether before or after it was counted, nobody knows. */
static void tell_of_jumps(void)
{
	truth_of_in_loop.alloc_objects = truth_of_in_loop.freed_objects = 0;
	for (size_t size = 0; size < BLOCKS_AFTER; size++)
		(void)deep_after_jumps(size, DEPTH);
	for (size_t size = 0; size < BLOCKS_AFTER; size++)
		(void)after_jumps(size);
	say("truth %d after_jumps 100 4950 100 4950", (int)getpid());
	say("truth %d deep_after_jumps 100 4950 100 4950", (int)getpid());
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (strcmp(argv[1], "nested") == 0) {
		truth_of_in_handler.alloc_is_unknown = true;
		start_timer(allocate_in_handler, 1000);
		allocate_until_enough();
		stop_timer();
		truth_print();
	} else {
		start_timer(jump, 1000);
		(void)sigsetjmp(back, 1);
		allocate_until_enough();
		stop_timer();
		tell_of_jumps();
	}
	say("done");
	return 0;
}
