// SPDX-License-Identifier: Apache-2.0
/*
 * cancelled: malloc is no cancellation point, though what it leads to here is full of them.  Threads that are
 * to be cancelled allocate until the ledger has grown several times; then one forks, and its child begins a
 * ledger.
 */
#include "tests/subjects/truth.h"

#include <pthread.h>
#include <sys/wait.h>

enum { BLOCKS = 20000, THREADS = 4 };

static uint64_t survivor_count;

TRUTH(allocate_cancelled)
static SITE struct block allocate_cancelled(size_t size)
{
	return truth_allocated(&truth_of_allocate_cancelled, malloc(size), size);
}

static void allocate_many(void)
{
	for (size_t index = 0; index < BLOCKS; index++)
		(void)allocate_cancelled(index % 100);
	truth_add(&survivor_count, 1);
}

static void *allocate_until_cancelled(void *unused)
{
	(void)pthread_cancel(pthread_self());
	allocate_many();
	pthread_testcancel();
	return unused;
}

static void *fork_until_cancelled(void *ret_pid)
{
	int state;

	(void)pthread_cancel(pthread_self());
	*(pid_t *)ret_pid = fork();
	if (*(pid_t *)ret_pid == 0) {
		truth_begin_anew();
		allocate_many();
		(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* to write, and to exit */
		truth_print();
		exit(3);
	}
	pthread_testcancel();
	return ret_pid;
}

static bool is_cancelled(pthread_t thread)
{
	void *result;

	if (pthread_join(thread, &result) != 0)
		abort();
	return result == PTHREAD_CANCELED;
}

int main(void)
{
	pthread_t threads[THREADS];
	int cancelled_count = 0;
	int status = 0;
	pid_t pid = -1;

	for (size_t index = 0; index < THREADS; index++) {
		if (pthread_create(&threads[index], NULL, allocate_until_cancelled, NULL) != 0)
			abort();
	}
	for (size_t index = 0; index < THREADS; index++)
		cancelled_count += is_cancelled(threads[index]);
	say("%d threads came to the end, %d were cancelled there", (int)survivor_count, cancelled_count);

	if (pthread_create(&threads[0], NULL, fork_until_cancelled, &pid) != 0)
		abort();
	say("the one that forked was cancelled: %d", is_cancelled(threads[0]));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	say("its child came to the end: %d", WIFEXITED(status) && WEXITSTATUS(status) == 3);
	truth_print();
	return 0;
}
