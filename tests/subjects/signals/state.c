// SPDX-License-Identifier: Apache-2.0
/*
 * state: what a process can know of its signals, before and after it has allocated much, in main and in
 * threads each with a mask of its own.  The two must be the same, and the same as without the library.
 */
#include "tests/subjects/truth.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

enum { THREADS = 3, BLOCKS = 20000, SIGNAL_COUNT = 64, SEGV_STACK_BYTES = 65536 };

TRUTH(between_states)
static SITE struct block between_states(size_t size)
{
	return truth_allocated(&truth_of_between_states, malloc(size), size);
}

static void handle(int number)
{
	(void)number;
}

static uint64_t bits_of(const sigset_t *set)
{
	uint64_t bits = 0;

	for (int number = 1; number <= SIGNAL_COUNT; number++)
		bits |= (uint64_t)(sigismember(set, number) == 1) << (number - 1);
	return bits;
}

static void say_actions(void)
{
	for (int number = 1; number <= SIGNAL_COUNT; number++) {
		struct sigaction action = { 0 };
		const int result = sigaction(number, NULL, &action);

		say("signal %d: %d, %s, flags %x, mask %" PRIx64, number, result,
		    action.sa_handler == SIG_DFL   ? "default"
		    : action.sa_handler == SIG_IGN ? "ignored"
		    : action.sa_handler == handle  ? "handled"
						   : "somebody else's",
		    (unsigned int)action.sa_flags, bits_of(&action.sa_mask));
	}
}

static void say_timers(void)
{
	static const int timers[] = { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF };

	for (int index = 0; index < 3; index++) {
		struct itimerval value = { 0 };

		(void)getitimer(timers[index], &value);
		say("timer %d: every %ld s, %s", timers[index], (long)value.it_interval.tv_sec,
		    value.it_value.tv_sec != 0 ? "set" : "not set");
	}
}

static void say_state(int thread_number, const char *when)
{
	sigset_t blocked;
	sigset_t pending;
	stack_t alternate;

	if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0 || sigpending(&pending) != 0 ||
	    sigaltstack(NULL, &alternate) != 0)
		abort();
	say("thread %d %s: blocked %" PRIx64 ", pending %" PRIx64 ", alternate stack %x of %zu",
	    thread_number, when, bits_of(&blocked), bits_of(&pending), (unsigned int)alternate.ss_flags,
	    alternate.ss_size);
}

static void allocate_many(void)
{
	for (int number = 0; number < BLOCKS; number++) {
		struct block block = between_states(20);

		if (number % 2 == 0)
			truth_free(&block);
	}
}

static void *run_thread(void *argument)
{
	const int number = *(const int *)argument;
	static char stacks[THREADS][SEGV_STACK_BYTES];
	const stack_t alternate = { .ss_sp = stacks[number - 1], .ss_size = SEGV_STACK_BYTES };
	sigset_t mask;

	/* One becomes pending for this thread; and SIGTERM stays so for the process. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGRTMIN + number);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGSEGV);
	if (pthread_sigmask(SIG_SETMASK, &mask, NULL) != 0 || sigaltstack(&alternate, NULL) != 0 ||
	    pthread_kill(pthread_self(), SIGRTMIN + number) != 0)
		abort();
	say_state(number, "before");
	allocate_many();
	say_state(number, "after");
	return NULL;
}

int main(void)
{
	const struct sigaction action = { .sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART };
	const struct itimerval hour = { { 3600, 0 }, { 3600, 0 } };
	static const int numbers[THREADS] = { 1, 2, 3 };
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	if (sigaction(SIGUSR1, &action, NULL) != 0 || sigaction(SIGSEGV, &action, NULL) != 0 ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR || setitimer(ITIMER_REAL, &hour, NULL) != 0 ||
	    setitimer(ITIMER_PROF, &hour, NULL) != 0 || pthread_sigmask(SIG_BLOCK, &mask, NULL) != 0 ||
	    kill(getpid(), SIGTERM) != 0)
		return 2;
	say_state(0, "before");
	say_actions();
	say_timers();
	allocate_many();
	for (int index = 0; index < THREADS; index++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, run_thread, (void *)(uintptr_t)&numbers[index]) != 0)
			return 2;
		pthread_join(thread, NULL);
	}
	say_state(0, "after");
	say_actions();
	say_timers();
	truth_print();
	return 0;
}
