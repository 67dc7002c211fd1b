// SPDX-License-Identifier: Apache-2.0
/*
 * forks COUNT: threads allocate without a pause while the first thread forks children, one after the other.
 * A child that waits for a lock which nobody holds any more would never end.
 */
#include "tests/subjects/truth.h"

#include <pthread.h>
#include <sys/wait.h>

enum { THREADS = 3, BLOCKS_PER_CHILD = 3 };

static bool stop;

TRUTH(allocate_in_child)
static SITE struct block allocate_in_child(size_t size)
{
	return truth_allocated(&truth_of_allocate_in_child, malloc(size), size);
}

TRUTH(allocate_in_thread)
static SITE struct block allocate_in_thread(size_t size)
{
	return truth_allocated(&truth_of_allocate_in_thread, malloc(size), size);
}

static void *churn(void *unused)
{
	(void)unused;
	for (size_t round = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); round++) {
		struct block block = allocate_in_thread(round % 1000);

		truth_free(&block);
		if (round % 256 == 0)
			(void)usleep(50); /* the machine has others to serve: the children */
	}
	return NULL;
}

/* Every tenth child leaves a ledger. */
static void be_child(long number)
{
	truth_begin_anew();
	for (size_t index = 0; index < BLOCKS_PER_CHILD; index++)
		(void)allocate_in_child(100 + index);
	say("truth %d allocate_in_child 3 303 3 303", (int)getpid());
	say("truth %d allocate_in_thread 0 0 0 0", (int)getpid());
	if (number % 10 == 0)
		_exit(0);
	exit(0);
}

int main(int argc, char **argv)
{
	const long count = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	pthread_t threads[THREADS];
	long ended = 0;

	for (int index = 0; index < THREADS; index++) {
		if (pthread_create(&threads[index], NULL, churn, NULL) != 0)
			abort();
	}
	for (long number = 0; number < count; number++) {
		const pid_t pid = fork();
		int status = -1;

		if (pid == 0)
			be_child(number);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
			abort();
		ended++;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int index = 0; index < THREADS; index++)
		(void)pthread_join(threads[index], NULL);
	say("%ld children ended", ended);
	truth_print();
	return 0;
}
