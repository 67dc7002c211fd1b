// SPDX-License-Identifier: Apache-2.0
/*
 * last MODE: allocates in what runs at the end of a process, and tells the truth as late as it can.  The
 * figures that are told must be in the profile: it is written when all of this is over, but for the stream.
 *	atexit          a function of atexit
 *	exit_in_atexit  which calls exit again, with another status
 *	destructor      a destructor of the program
 *	quick           a function of at_quick_exit
 *	signal          a signal handler that calls exit
 *	abort           a handler of SIGABRT
 *	fault           a handler of SIGSEGV, on a stack of its own, that calls _exit
 *	stream          what the C library calls when it empties its streams, after everything else: this
 *	                allocation is too late, and does no harm
 *	last_thread     a key's destructor in the last thread, whose end is that of the process
 */
#include "tests/subjects/truth.h"

#include <pthread.h>
#include <signal.h>

TRUTH(early)
static SITE struct block early(size_t size)
{
	return truth_allocated(&truth_of_early, malloc(size), size);
}

TRUTH(late)
static SITE struct block late(size_t size)
{
	return truth_allocated(&truth_of_late, malloc(size), size);
}

static const char *mode = "";

static bool is_mode(const char *name)
{
	return strcmp(mode, name) == 0;
}

static void allocate_late(void)
{
	for (size_t size = 1; size < 300; size += 7) {
		struct block block = late(size);

		if (size % 2 == 0)
			truth_free(&block);
	}
}

static void allocate_and_tell(void)
{
	allocate_late();
	truth_print();
}

static void exit_again(void)
{
	allocate_and_tell();
	exit(9);
}

__attribute__((destructor)) static void destroy(void)
{
	if (is_mode("destructor"))
		allocate_and_tell();
}

static void handle(int signal)
{
	allocate_and_tell();
	if (signal == SIGUSR1)
		exit(7);
	if (signal == SIGSEGV)
		_exit(7);
}

static void handle_on_own_stack(int signal)
{
	static char memory[65536];
	const stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };
	const struct sigaction action = { .sa_handler = handle, .sa_flags = SA_ONSTACK };

	if (sigaltstack(&stack, NULL) != 0 || sigaction(signal, &action, NULL) != 0)
		abort();
}

static ssize_t empty_stream(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	(void)text;
	allocate_late();
	say("the stream is emptied");
	return (ssize_t)length;
}

static void open_stream(void)
{
	const cookie_io_functions_t functions = { .write = empty_stream };
	FILE *const stream = fopencookie(NULL, "w", functions);

	if (stream == NULL || fputs("something", stream) < 0)
		abort();
	truth_print();
}

static void tell_in_last_thread(void *unused)
{
	(void)unused;
	allocate_and_tell();
}

static void *run_last_thread(void *first)
{
	static pthread_key_t key;

	if (pthread_join(*(const pthread_t *)first, NULL) != 0 ||
	    pthread_key_create(&key, tell_in_last_thread) != 0 || pthread_setspecific(key, &key) != 0)
		abort();
	return NULL;
}

static void end_in_thread(void)
{
	static pthread_t first;
	pthread_t thread;

	first = pthread_self();
	if (pthread_create(&thread, NULL, run_last_thread, &first) != 0)
		abort();
	pthread_exit(NULL);
}

static volatile int *volatile no_address;

int main(int argc, char **argv)
{
	mode = argc == 2 ? argv[1] : "";
	for (size_t size = 0; size < 100; size++)
		(void)early(size);
	if ((is_mode("atexit") && atexit(allocate_and_tell) != 0) ||
	    (is_mode("exit_in_atexit") && atexit(exit_again) != 0) ||
	    (is_mode("quick") && at_quick_exit(allocate_and_tell) != 0))
		abort();
	handle_on_own_stack(SIGUSR1);
	handle_on_own_stack(SIGABRT);
	handle_on_own_stack(SIGSEGV);
	if (is_mode("quick"))
		quick_exit(7);
	if (is_mode("signal"))
		(void)raise(SIGUSR1);
	if (is_mode("abort"))
		abort();
	if (is_mode("fault"))
		*no_address = 1;
	if (is_mode("stream"))
		open_stream();
	if (is_mode("last_thread"))
		end_in_thread();
	return 7;
}
