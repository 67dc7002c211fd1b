// SPDX-License-Identifier: Apache-2.0
/*
 * timer CLOCK MODE: a signal a millisecond, until a few hundred have come, while main and a thread allocate.
 *	CLOCK  real, prof (setitimer), or thread (timer_create, to main alone)
 *	MODE   nested    the handler allocates, wherever it comes: over reentrant.c
 *	       outside   the handler allocates, and main allocates only where no signal can come
 *	       profiler  the handler takes a stack trace, as profilers of processor time do
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

enum { SIGNALS = 300, PERIOD_US = 1000, FRAMES = 32 };

static volatile sig_atomic_t handled;
static volatile sig_atomic_t traced; /* of these with a stack */
static bool is_outside;
static bool is_profiler;

TRUTH(in_timer_handler)
static SITE struct block in_timer_handler(size_t size)
{
	return truth_allocated(&truth_of_in_timer_handler, malloc(size), size);
}

TRUTH(in_timer_main)
static SITE struct block in_timer_main(size_t size)
{
	return truth_allocated(&truth_of_in_timer_main, malloc(size), size);
}

TRUTH(in_timer_thread)
static SITE struct block in_timer_thread(size_t size)
{
	return truth_allocated(&truth_of_in_timer_thread, malloc(size), size);
}

static void handle(int number)
{
	const int saved_errno = errno;
	struct block block;

	(void)number;
	if (is_profiler) {
		void *frames[FRAMES];

		traced += backtrace(frames, FRAMES) > 2;
	} else {
		block = in_timer_handler(30);
		truth_free(&block);
	}
	handled++;
	errno = saved_errno;
}

/* For some hundred microseconds.  It also bounds what reentrant.c uses up. */
static void compute(void)
{
	volatile unsigned int sum = 0;

	for (unsigned int number = 0; number < 200000; number++)
		sum = sum + number;
}

static void allocate_some(struct block (*site)(size_t))
{
	for (size_t size = 1; size < 100; size++) {
		struct block block = site(size);

		truth_free(&block);
	}
}

static void *allocate_in_thread(void *argument)
{
	const volatile sig_atomic_t *const is_done = argument;
	sigset_t all;

	/* So that a signal to the process comes to main: the handler's figures are then those of one thread.
	 */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (!*is_done) {
		allocate_some(in_timer_thread);
		compute();
	}
	return NULL;
}

static void allocate_in_main(int signal_number)
{
	sigset_t timer_signal;

	if (!is_outside) {
		allocate_some(in_timer_main);
		return;
	}
	sigemptyset(&timer_signal);
	sigaddset(&timer_signal, signal_number);
	pthread_sigmask(SIG_BLOCK, &timer_signal, NULL);
	allocate_some(in_timer_main);
	pthread_sigmask(SIG_UNBLOCK, &timer_signal, NULL);
}

/* Starts the clock and returns the number of its signal. */
static int start_clock(const char *name)
{
	const struct itimerval interval = { { 0, PERIOD_US }, { 0, PERIOD_US } };
	const struct itimerspec period = { { 0, PERIOD_US * 1000 }, { 0, PERIOD_US * 1000 } };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2 };
	timer_t timer;

	if (strcmp(name, "real") == 0 || strcmp(name, "prof") == 0) {
		const int which = name[0] == 'r' ? ITIMER_REAL : ITIMER_PROF;

		if (setitimer(which, &interval, NULL) != 0)
			abort();
		return which == ITIMER_REAL ? SIGALRM : SIGPROF;
	}
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &period, NULL) != 0)
		abort();
	return SIGUSR2;
}

int main(int argc, char **argv)
{
	static volatile sig_atomic_t is_done;
	const struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
	void *frames[FRAMES];
	pthread_t thread;

	if (argc != 3)
		return 2;
	is_outside = strcmp(argv[2], "outside") == 0;
	is_profiler = strcmp(argv[2], "profiler") == 0;
	(void)backtrace(frames, FRAMES); /* loads libgcc */
	if (sigaction(SIGALRM, &action, NULL) != 0 || sigaction(SIGPROF, &action, NULL) != 0 ||
	    sigaction(SIGUSR2, &action, NULL) != 0 ||
	    pthread_create(&thread, NULL, allocate_in_thread, (void *)(uintptr_t)&is_done) != 0)
		return 2;

	const int signal_number = start_clock(argv[1]);

	while (handled < SIGNALS) {
		allocate_in_main(signal_number);
		compute();
	}
	if (signal(signal_number, SIG_IGN) == SIG_ERR)
		return 2;
	is_done = 1;
	pthread_join(thread, NULL);
	say("%s", !is_profiler || traced == handled ? "as expected" : "stacks are missing");
	truth_print();
	return 0;
}
