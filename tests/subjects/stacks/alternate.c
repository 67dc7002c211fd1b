// SPDX-License-Identifier: Apache-2.0
/*
 * alternate: handlers on an alternate stack of 16 KiB, in main and in a thread of the smallest size.  One is
 * for a signal that is sent, the other for a fault, which it mends.  Both allocate; nobody is inside malloc
 * meanwhile, so they may.
 */
#include "tests/subjects/truth.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096, STACK_BYTES = 16 * 1024, ROUNDS = 50 };

static char *guarded; /* a page that is written to in vain first */

TRUTH(in_sent)
static SITE struct block in_sent(size_t size)
{
	return truth_allocated(&truth_of_in_sent, malloc(size), size);
}

TRUTH(in_fault)
static SITE struct block in_fault(size_t size)
{
	return truth_allocated(&truth_of_in_fault, malloc(size), size);
}

TRUTH(below_signals)
static SITE struct block below_signals(size_t size)
{
	return truth_allocated(&truth_of_below_signals, malloc(size), size);
}

static SITE void handle_sent(int number)
{
	struct block block = in_sent((size_t)number);

	truth_free(&block);
	(void)in_sent(7);
}

static SITE void handle_fault(int number, siginfo_t *info, void *context)
{
	struct block block = in_fault((size_t)number);

	(void)context;
	truth_free(&block);
	if (info->si_addr != guarded || mprotect(guarded, PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
		abort();
	(void)in_fault(7);
}

static SITE void write_guarded(void)
{
	if (mprotect(guarded, PAGE_BYTES, PROT_NONE) != 0)
		abort();
	*(volatile char *)guarded = 1;
	__asm__ volatile("" : : : "memory");
}

static SITE void *run_rounds(void *unused)
{
	stack_t alternate = { .ss_size = STACK_BYTES };
	const stack_t none = { .ss_flags = SS_DISABLE };

	for (int round = 0; round < ROUNDS; round++) {
		/* Mapped for a round, with a guard page above it. */
		char *const memory = mmap(NULL, STACK_BYTES + PAGE_BYTES, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		alternate.ss_sp = memory;
		if (memory == MAP_FAILED || mprotect(memory + STACK_BYTES, PAGE_BYTES, PROT_NONE) != 0 ||
		    sigaltstack(&alternate, NULL) != 0)
			abort();
		if (pthread_kill(pthread_self(), SIGUSR1) != 0)
			abort();
		write_guarded();
		(void)below_signals(3);
		if (sigaltstack(&none, NULL) != 0 || munmap(memory, STACK_BYTES + PAGE_BYTES) != 0)
			abort();
	}
	return unused;
}

int main(void)
{
	const struct sigaction sent = { .sa_handler = handle_sent, .sa_flags = SA_ONSTACK };
	const struct sigaction fault = { .sa_sigaction = handle_fault, .sa_flags = SA_ONSTACK | SA_SIGINFO };
	pthread_attr_t attributes;
	pthread_t thread;

	guarded = mmap(NULL, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guarded == MAP_FAILED || sigaction(SIGUSR1, &sent, NULL) != 0 ||
	    sigaction(SIGSEGV, &fault, NULL) != 0)
		return 2;
	run_rounds(NULL);
	pthread_attr_init(&attributes);
	if (pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) != 0 ||
	    pthread_create(&thread, &attributes, run_rounds, NULL) != 0 || pthread_join(thread, NULL) != 0)
		return 2;
	pthread_attr_destroy(&attributes);
	truth_print();
	return 0;
}
