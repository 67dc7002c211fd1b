// SPDX-License-Identifier: Apache-2.0
/*
 * ending MODE COUNT: forks children, one after the other, that end while something else goes on in them.
 *	return    main returns while threads allocate
 *	twice     two threads call exit at the same instant
 *	handler   a signal handler calls exit; it comes at some instant of an allocation
 *	_exit     the first thread calls _exit while threads allocate
 * For each it says, after its end, "ended PID STATUS LOWEST HIGHEST": between these is the number of
 * allocations that its profile, or its ledger, must have of the site.
 */
#include "tests/subjects/ends/counts.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { KEPT = 64, HANG_SECONDS = 60, ROUNDS_MIN = 500 };

static const char *mode = "";
static struct counts_page *page;
static uint64_t *done_before_end; /* in memory that the parent has too */
static pthread_barrier_t barrier;

static SITE void *allocate(struct counts *counts, size_t size_bytes)
{
	void *block;

	count(&counts->alloc_begun, size_bytes);
	block = malloc(size_bytes);
	count(&counts->alloc_done, size_bytes);
	return block;
}

/* `rounds` 0: for ever. */
static void churn(struct counts *counts, size_t rounds)
{
	void *blocks[KEPT] = { NULL };

	for (size_t round = 0; rounds == 0 || round < rounds; round++) {
		void **const place = &blocks[round % KEPT];

		free(*place);
		*place = allocate(counts, round % 500);
	}
}

static void *run(void *argument)
{
	churn(argument, 0);
	return NULL;
}

static uint64_t done(void)
{
	uint64_t sum = 0;

	for (size_t index = 0; index < COUNTS_THREADS; index++)
		sum += __atomic_load_n(&page->threads[index].alloc_done.objects, __ATOMIC_SEQ_CST);
	return sum;
}

static void start_threads(void)
{
	for (size_t index = 0; index < COUNTS_THREADS; index++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, run, &page->threads[index]) != 0)
			abort();
	}
	while (done() < ROUNDS_MIN)
		(void)usleep(100);
}

static void *exit_with_others(void *unused)
{
	(void)unused;
	(void)pthread_barrier_wait(&barrier);
	exit(3);
}

static void exit_twice(void)
{
	pthread_t thread;

	churn(&page->threads[0], ROUNDS_MIN);
	*done_before_end = done();
	if (pthread_barrier_init(&barrier, NULL, 2) != 0 ||
	    pthread_create(&thread, NULL, exit_with_others, NULL) != 0)
		abort();
	(void)exit_with_others(NULL);
}

static void exit_in_handler(int signal)
{
	(void)signal;
	*done_before_end = done();
	exit(3);
}

static void be_interrupted(long number)
{
	const struct itimerval timer = { .it_value = { .tv_usec = 100 + number * 37 % 2000 } };
	const struct sigaction action = { .sa_handler = exit_in_handler };

	if (sigaction(SIGALRM, &action, NULL) != 0 || setitimer(ITIMER_REAL, &timer, NULL) != 0)
		abort();
	churn(&page->threads[0], 0);
}

/* Returns the status with which main is to return. */
static int be_child(long number)
{
	if (strcmp(mode, "handler") == 0)
		be_interrupted(number);
	(void)alarm(HANG_SECONDS);
	if (strcmp(mode, "twice") == 0)
		exit_twice();
	start_threads();
	*done_before_end = done();
	if (strcmp(mode, "_exit") == 0)
		_exit(3);
	return 3;
}

static void tell(pid_t pid, int status)
{
	uint64_t begun = 0;

	for (size_t index = 0; index < COUNTS_THREADS; index++)
		begun += page->threads[index].alloc_begun.objects;
	say("ended %d %d %" PRIu64 " %" PRIu64, (int)pid,
	    WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), *done_before_end, begun);
}

int main(int argc, char **argv)
{
	const long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	void *const shared =
		mmap(NULL, 2 * sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (argc != 3 || shared == MAP_FAILED)
		return 2;
	mode = argv[1];
	page = shared;
	done_before_end = (uint64_t *)(void *)(page + 1);
	for (long number = 0; number < count; number++) {
		int status;
		pid_t pid;

		memset(page, 0, sizeof(*page));
		pid = fork();
		if (pid == 0)
			return be_child(number);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		tell(pid, status);
	}
	return 0;
}
