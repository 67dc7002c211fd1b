// SPDX-License-Identifier: Apache-2.0
/*
 * handlers MODE, over an allocator that may be interrupted anywhere (reentrant.c): the processor stops after
 * each instruction of an allocation and its free, and a signal handler runs at the first one, in the next
 * round at the second, and so on to the end; further in, where it is tables and no flags, at every 17th.
 *	nested   the handler allocates and frees
 *	jump     the handler leaves by siglongjmp, and what it interrupted never ends
 */
#include "tests/subjects/stepping.h"
#include "tests/subjects/truth.h"

#include <setjmp.h>
#include <signal.h>

enum {
	DEPTH = 40,
	STRIDE = 17,
};

static volatile sig_atomic_t instruction; /* of this round */
static volatile sig_atomic_t interrupted; /* the one at which the handler runs */
static void (*handler)(void);
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

TRUTH(after_jump)
static SITE struct block after_jump(size_t size)
{
	return truth_allocated(&truth_of_after_jump, malloc(size), size);
}

TRUTH(deep_after_jump)
static SITE struct block deep_after_jump(size_t size, int depth)
{
	struct block block = depth > 0 ? deep_after_jump(size, depth - 1)
				       : truth_allocated(&truth_of_deep_after_jump, malloc(size), size);

	__asm__ volatile("" : : : "memory"); /* not a jump: each level has its frame */
	return block;
}

static void allocate_and_free(void)
{
	for (size_t size = 10; size < 13; size++) {
		struct block block = in_handler(size);

		truth_free(&block);
	}
}

static void jump(void)
{
	siglongjmp(back, 1);
}

static void trap(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *const interrupted_context = context;

	(void)signal;
	(void)info;
	/* Where signals are blocked, no handler would run. */
	if (instruction++ < interrupted || sigismember(&interrupted_context->uc_sigmask, SIGALRM) != 0)
		return;
	stop_stepping(context);
	handler();
}

/* Allocates and frees; true when the handler ran on the way. */
static bool run_round(void)
{
	struct block block;

	instruction = 0;
	begin_stepping();
	block = in_loop(20);
	truth_free(&block);
	end_stepping();
	return instruction > interrupted;
}

static void run_nested(void)
{
	handler = allocate_and_free;
	while (run_round() && interrupted < INSTRUCTIONS_MAX)
		interrupted = next_interrupted(interrupted, STRIDE);
}

/* The thread goes on, first from a deeper stack than the one that was left, and is sampled as before. */
static void run_jump(void)
{
	handler = allocate_and_free; /* for one round, so that what happens once has happened */
	if (sigsetjmp(back, 1) != 0) {
		struct block block = deep_after_jump(10, DEPTH);

		truth_free(&block);
		block = after_jump(10);
		truth_free(&block);
		interrupted = next_interrupted(interrupted, STRIDE);
	}
	for (;;) {
		const bool was_interrupted = run_round();

		if (handler == jump && was_interrupted)
			abort(); /* the handler does not return */
		if (handler == jump || interrupted >= INSTRUCTIONS_MAX)
			break;
		handler = jump;
	}
}

/*
 * What happens once is not stepped: signals are blocked while the rule of an address that is new is compiled,
 * and a SIGTRAP that comes then is the end.  A round that is interrupted at its first instruction takes no
 * more steps.  Here the live table grows.
 */
static void warm_up(void)
{
	static struct block blocks[WARM_BLOCKS];

	for (int index = 0; index < WARM_BLOCKS; index++)
		blocks[index] = in_handler(1);
	for (int index = 0; index < WARM_BLOCKS; index++)
		truth_free(&blocks[index]);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };

	if (argc != 2 || sigaction(SIGTRAP, &action, NULL) != 0)
		return 2;
	warm_up();
	truth_of_in_handler.alloc_is_unknown = true; /* a block may come while the library is at work */
	if (strcmp(argv[1], "nested") == 0) {
		run_nested();
	} else {
		run_jump();
		/* Whether what was left had been counted, nobody knows. */
		truth_of_in_loop.alloc_is_unknown = truth_of_in_loop.inuse_is_unknown = true;
	}
	say("%s", stepping_outcome(interrupted));
	truth_print();
	return 0;
}
