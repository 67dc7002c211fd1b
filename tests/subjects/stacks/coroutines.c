// SPDX-License-Identifier: Apache-2.0
/*
 * coroutines MODE: many stacks of 16 KiB under one thread.  With a guard page below each:
 *	thousands   2000 that take turns; what one allocates, its neighbour frees
 *	tight       each goes down until little is left above its guard page, and allocates there
 * Without guard pages:
 *	nested      each is made by the one before and lies right below it; FP is its maker's
 */
#include "tests/subjects/truth.h"

#include <sys/mman.h>
#include <ucontext.h>

enum { STACK_BYTES = 16 * 1024, GUARD_BYTES = 4096, COROUTINES = 2000, NESTED = 50 };

/*
 * What is left where the tight ones allocate.  Measured: glibc's malloc and free take 400 bytes, the dynamic
 * loader 1200 when it binds a function with AVX-512 state to save (the program is linked with -z now), a
 * recording 1100.
 */
enum { TIGHT_BYTES = 2048 };

struct coroutine {
	ucontext_t context;
	struct block block;
	int number;
};

static struct coroutine coroutines[COROUTINES];
static ucontext_t scheduler;
static int running; /* the number of the coroutine that runs */

TRUTH(in_even)
static SITE struct block in_even(size_t size)
{
	return truth_allocated(&truth_of_in_even, malloc(size), size);
}

TRUTH(in_odd)
static SITE struct block in_odd(size_t size)
{
	return truth_allocated(&truth_of_in_odd, malloc(size), size);
}

TRUTH(in_nested)
static SITE struct block in_nested(size_t size)
{
	return truth_allocated(&truth_of_in_nested, malloc(size), size);
}

TRUTH(in_tight)
static SITE struct block in_tight(size_t size)
{
	return truth_allocated(&truth_of_in_tight, malloc(size), size);
}

TRUTH(in_scheduler)
static SITE struct block in_scheduler(size_t size)
{
	return truth_allocated(&truth_of_in_scheduler, malloc(size), size);
}

static struct coroutine *self(void)
{
	return &coroutines[running];
}

static void yield(void)
{
	if (swapcontext(&self()->context, &scheduler) != 0)
		abort();
}

static void free_of_neighbour(void)
{
	truth_free(&coroutines[(running + 1) % COROUTINES].block);
}

static SITE void even_start(void)
{
	self()->block = in_even(100);
	yield();
	free_of_neighbour();
	yield();
	self()->block = in_even(50);
	yield();
}

static SITE void odd_start(void)
{
	self()->block = in_odd(200);
	yield();
	free_of_neighbour();
	yield();
	self()->block = in_odd(70);
	yield();
}

static char *make_stack(void)
{
	char *const stack =
		mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED || mprotect(stack + GUARD_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE) != 0)
		abort();
	return stack + GUARD_BYTES;
}

static void make(struct coroutine *coroutine, char *stack, void (*start)(void), ucontext_t *link)
{
	coroutine->number = (int)(coroutine - coroutines);
	if (getcontext(&coroutine->context) != 0)
		abort();
	coroutine->context.uc_stack.ss_sp = stack;
	coroutine->context.uc_stack.ss_size = STACK_BYTES;
	coroutine->context.uc_link = link;
	makecontext(&coroutine->context, start, 0);
}

static SITE void resume(int number)
{
	running = number;
	if (swapcontext(&scheduler, &coroutines[number].context) != 0)
		abort();
}

static SITE void run_thousands(void)
{
	for (int number = 0; number < COROUTINES; number++)
		make(&coroutines[number], make_stack(), number % 2 == 0 ? even_start : odd_start, &scheduler);
	for (int turn = 0; turn < 3; turn++) {
		for (int number = 0; number < COROUTINES; number++) {
			resume(number);
			if (number % 100 == 0)
				(void)in_scheduler(10);
		}
	}
}

static void nested_start(void);

static SITE void make_next(struct coroutine *maker)
{
	struct coroutine *const next = &coroutines[maker->number + 1];

	running = maker->number + 1;
	make(next, (char *)maker->context.uc_stack.ss_sp - STACK_BYTES, nested_start, &maker->context);
	if (swapcontext(&maker->context, &next->context) != 0)
		abort();
	running = maker->number;
}

/* The frame of the maker is then less than the 16 KiB away from the stack of what it makes that a frame
 * pointer is believed to span where nothing else is known. */
static SITE void make_next_from_below(struct coroutine *maker)
{
	char room[GUARD_BYTES];

	__asm__ volatile("" : : "r"(room) : "memory");
	make_next(maker);
	__asm__ volatile("" : : "r"(room) : "memory");
}

static SITE void nested_start(void)
{
	struct coroutine *const maker = self();

	maker->block = in_nested(30);
	if (maker->number + 1 < NESTED)
		make_next_from_below(maker);
	maker->block = in_nested(30);
}

static void run_nested(void)
{
	char *const memory = mmap(NULL, (size_t)NESTED * STACK_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	make(&coroutines[0], memory + (size_t)(NESTED - 1) * STACK_BYTES, nested_start, &scheduler);
	resume(0);
}

static SITE int descend(const char *lowest)
{
	struct block block;
	int levels = 0;

	if ((const char *)__builtin_frame_address(0) - lowest > TIGHT_BYTES + 64) {
		levels = descend(lowest) + 1;
	} else {
		block = in_tight(40);
		truth_free(&block);
		block = in_tight(20);
	}
	__asm__ volatile("" : : "r"(levels) : "memory"); /* no tail call */
	return levels;
}

static void tight_start(void)
{
	(void)descend(self()->context.uc_stack.ss_sp);
}

static void run_tight(void)
{
	for (int number = 0; number < NESTED; number++) {
		make(&coroutines[number], make_stack(), tight_start, &scheduler);
		resume(number);
	}
}

int main(int argc, char **argv)
{
	const char *const mode = argc == 2 ? argv[1] : "";

	if (strcmp(mode, "thousands") == 0)
		run_thousands();
	else if (strcmp(mode, "nested") == 0)
		run_nested();
	else if (strcmp(mode, "tight") == 0)
		run_tight();
	else
		return 2;
	truth_print();
	return 0;
}
