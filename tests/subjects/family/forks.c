// SPDX-License-Identifier: Apache-2.0
/*
 * forks COUNT FORKERS: threads allocate without a pause while FORKERS others fork COUNT children each, one
 * after the other.  Each child allocates three blocks, and ends in one of six ways.  Those that leave a
 * ledger are looked at, and their ledgers removed, by who forked them; of the others, the runner looks at the
 * profiles.  A child that waits for a lock which nobody holds any more would never end.
 */
#include "tests/subjects/reading.h"
#include "tests/subjects/truth.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { THREADS = 3, BLOCKS_PER_CHILD = 3, FORKERS_MAX = 16, HANG_SECONDS = 60 };

enum way { EXITS, LEAVES_BY__EXIT, EXECUTES, IS_KILLED, IS_KILLED_ANY_TIME, FORKS_ON, WAYS };

/* Of one who forks. */
struct forker {
	pthread_t thread;
	long first_number;
	long count;
	long failed;
	pid_t *grandchild; /* in memory that the child has too */
};

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

static void allocate_as_child(void)
{
	for (size_t index = 0; index < BLOCKS_PER_CHILD; index++)
		(void)allocate_in_child(100 + index);
}

static void fork_on(struct forker *forker)
{
	const pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		(void)alarm(HANG_SECONDS);
		allocate_as_child();
		_exit(0);
	}
	*forker->grandchild = pid;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		_exit(1);
	_exit(0);
}

static void be_child(struct forker *forker, enum way way)
{
	static char *const arguments[] = { NULL };
	static char *const environment[] = { NULL };

	(void)alarm(HANG_SECONDS);
	allocate_as_child();
	if (way == LEAVES_BY__EXIT)
		_exit(0);
	if (way == EXECUTES)
		(void)execve("/bin/true", arguments, environment);
	if (way == IS_KILLED)
		(void)raise(SIGKILL);
	if (way == IS_KILLED_ANY_TIME)
		(void)pause();
	if (way == FORKS_ON)
		fork_on(forker);
	say("truth %d allocate_in_child 3 303 3 303", (int)getpid());
	say("truth %d allocate_in_thread 0 0 0 0", (int)getpid());
	exit(0);
}

/*
 * What a child left: its three blocks and nothing else, nothing of its parent's; of one that was killed at
 * some instant, perhaps fewer, or no figures at all.
 */
static bool look(pid_t pid, bool was_cut_short)
{
	char path[4096];
	struct reading reading;

	(void)snprintf(path, sizeof(path), "%s/heapmark.forks.%d.ledger", getenv("HEAPMARK_DIR"), (int)pid);
	reading = reading_of_file(path, 0, UINT64_MAX);
	(void)unlink(path);
	if (was_cut_short && (reading.error == -ENOENT || reading.error == -EAGAIN))
		return true;
	if (reading.error == 0 && !reading.is_damaged && reading.lost == 0 &&
	    (was_cut_short ? reading.alloc_objects <= BLOCKS_PER_CHILD
			   : reading.alloc_objects == BLOCKS_PER_CHILD && reading.alloc_bytes == 303 &&
				     reading.inuse_objects == BLOCKS_PER_CHILD && reading.inuse_bytes == 303))
		return true;
	say("%d: error %d, damaged %d, lost %" PRIu64 ", %" PRIu64 " allocations of %" PRIu64
	    " bytes; expected 3 of 303",
	    (int)pid, reading.error, reading.is_damaged, reading.lost, reading.alloc_objects,
	    reading.alloc_bytes);
	return false;
}

static bool has_ended_well(enum way way, int status)
{
	if (way == IS_KILLED || way == IS_KILLED_ANY_TIME)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	return status == 0;
}

static void fork_one(struct forker *forker, long number)
{
	const enum way way = (enum way)(number % WAYS);
	const pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		be_child(forker, way);
	if (way == IS_KILLED_ANY_TIME) {
		(void)usleep((useconds_t)(number * 37 % 1500));
		(void)kill(pid, SIGKILL);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !has_ended_well(way, status)) {
		say("%d, in way %d: ended with %x", (int)pid, (int)way, (unsigned int)status);
		forker->failed++;
		return;
	}
	if ((way != EXITS && !look(pid, way == IS_KILLED_ANY_TIME)) ||
	    (way == FORKS_ON && !look(*forker->grandchild, false)))
		forker->failed++;
}

static void *fork_many(void *argument)
{
	struct forker *const forker = argument;

	for (long number = 0; number < forker->count && forker->failed < 10; number++)
		fork_one(forker, forker->first_number + number);
	return NULL;
}

static long fork_in_threads(long count, int forker_count, pid_t *grandchildren)
{
	static struct forker forkers[FORKERS_MAX];
	long failed = 0;

	for (int index = 0; index < forker_count; index++) {
		struct forker *const forker = &forkers[index];

		forker->first_number = index;
		forker->count = count;
		forker->grandchild = &grandchildren[index];
		if (pthread_create(&forker->thread, NULL, fork_many, forker) != 0)
			abort();
	}
	for (int index = 0; index < forker_count; index++) {
		(void)pthread_join(forkers[index].thread, NULL);
		failed += forkers[index].failed;
	}
	return failed;
}

int main(int argc, char **argv)
{
	const long count = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
	const int forker_count = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
	pthread_t threads[THREADS];
	pid_t *const grandchildren = mmap(NULL, FORKERS_MAX * sizeof(*grandchildren), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (grandchildren == MAP_FAILED || forker_count > FORKERS_MAX)
		return 2;
	for (int index = 0; index < THREADS; index++) {
		if (pthread_create(&threads[index], NULL, churn, NULL) != 0)
			abort();
	}

	const long failed = fork_in_threads(count, forker_count, grandchildren);

	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int index = 0; index < THREADS; index++)
		(void)pthread_join(threads[index], NULL);
	say("%ld children failed", failed);
	truth_print();
	return failed == 0 ? 0 : 1;
}
