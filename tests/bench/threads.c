// SPDX-License-Identifier: Apache-2.0
/*
 * threads KIND THREADS ROUNDS: allocates ROUNDS blocks in all and frees each of them, in THREADS threads, and
 * prints what a round took by the clock on the wall: more threads than processors do not make it less.
 *
 *	crossing    every block is freed by the next thread of a ring
 *	larson      each thread replaces blocks of a window at random, then leaves it to a successor and ends;
 *	            after Larson and Krishnan, "Memory allocation for long-running server applications" (1998)
 *	queue       half of the threads produce, the other half consume, through a queue for each two
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	THREADS_MAX = 256,
	SIZE_BYTES_MIN = 16,
	SIZE_BYTES_MAX = 512,
	BATCH = 32,            /* blocks that are handed over at once */
	PENDING_MAX = 4096,    /* blocks that wait for a thread of the ring */
	WINDOW_BLOCKS = 1024,  /* of a larson thread */
	LIFE_ROUNDS = 16384,   /* of one thread before its successor takes over */
	QUEUE_BATCHES_MAX = 64 /* that a producer may be ahead */
};

/* The first word of a block leads to the next of its batch. */
struct link {
	struct link *next;
};

struct worker {
	pthread_t thread;
	long rounds;
	uint64_t random;

	/* crossing: what the thread before this one has sent; pushed by it alone, taken at once by this one.
	 */
	struct link *_Atomic inbox;
	atomic_long pending; /* about as many blocks */
	struct worker *receiver;

	/* larson */
	void *window[WINDOW_BLOCKS];

	/* queue: shared by the two threads of a pair */
	pthread_t consumer;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct link *batches[QUEUE_BATCHES_MAX];
	unsigned long put;
	unsigned long taken;
};

static struct worker workers[THREADS_MAX];
static atomic_int senders; /* threads of the ring that have not sent everything */
static sem_t windows_done; /* posted for each window that nobody is left for */

static void start(pthread_t *ret_thread, void *(*body)(void *), struct worker *worker)
{
	errno = pthread_create(ret_thread, NULL, body, worker);
	if (errno != 0) {
		perror("threads");
		exit(1);
	}
}

static void join(pthread_t thread)
{
	if (pthread_join(thread, NULL) != 0)
		abort();
}

static size_t random_size(struct worker *worker)
{
	return SIZE_BYTES_MIN + (next_random(&worker->random) >> 32) % (SIZE_BYTES_MAX - SIZE_BYTES_MIN + 1);
}

static void *allocate(struct worker *worker)
{
	void *const block = seen(malloc(random_size(worker)));

	if (block == NULL)
		abort();
	return block;
}

/* Returns the first block of a chain of `count`. */
static struct link *allocate_batch(struct worker *worker, long count, struct link **ret_last)
{
	struct link *first = NULL;

	for (long i = 0; i < count; i++) {
		struct link *const block = allocate(worker);

		if (first == NULL)
			*ret_last = block;
		block->next = first;
		first = block;
	}
	return first;
}

static long free_batch(struct link *first)
{
	long count = 0;

	while (first != NULL) {
		struct link *const next = first->next;

		free(first);
		first = next;
		count++;
	}
	return count;
}

static void empty_inbox(struct worker *worker)
{
	/* acquire: pairs with the release in `send`, after which the blocks are this thread's */
	struct link *const first = atomic_exchange_explicit(&worker->inbox, NULL, memory_order_acquire);

	/* relaxed: only how far the sender may be ahead depends on it */
	atomic_fetch_sub_explicit(&worker->pending, free_batch(first), memory_order_relaxed);
}

static void send(struct worker *receiver, struct link *first, struct link *last, long count)
{
	/* relaxed: the link is not followed before the exchange has succeeded */
	last->next = atomic_load_explicit(&receiver->inbox, memory_order_relaxed);

	/* release: pairs with the acquire in `empty_inbox` */
	while (!atomic_compare_exchange_weak_explicit(&receiver->inbox, &last->next, first,
						      memory_order_release, memory_order_relaxed))
		continue;
	atomic_fetch_add_explicit(&receiver->pending, count, memory_order_relaxed);
}

static void *crossing(void *argument)
{
	struct worker *const worker = argument;
	struct worker *const receiver = worker->receiver;

	for (long sent = 0; sent < worker->rounds; sent += BATCH) {
		struct link *last = NULL;
		struct link *const first = allocate_batch(worker, BATCH, &last);

		/* relaxed: see `empty_inbox`.  A thread that waits frees meanwhile, so the ring goes on. */
		while (atomic_load_explicit(&receiver->pending, memory_order_relaxed) > PENDING_MAX) {
			empty_inbox(worker);
			sched_yield();
		}
		send(receiver, first, last, BATCH);
		empty_inbox(worker);
	}
	/* Whoever has sent everything frees on, while somebody may wait for room in an inbox. */
	(void)atomic_fetch_sub_explicit(&senders, 1, memory_order_relaxed);
	while (atomic_load_explicit(&senders, memory_order_relaxed) > 0) {
		empty_inbox(worker);
		sched_yield();
	}
	return NULL;
}

static void run_crossing(int thread_count)
{
	atomic_store_explicit(&senders, thread_count, memory_order_relaxed);
	for (int i = 0; i < thread_count; i++)
		workers[i].receiver = &workers[(i + 1) % thread_count];
	for (int i = 0; i < thread_count; i++)
		start(&workers[i].thread, crossing, &workers[i]);
	for (int i = 0; i < thread_count; i++)
		join(workers[i].thread);
	for (int i = 0; i < thread_count; i++)
		empty_inbox(&workers[i]);
}

/* One life of a worker: replaces blocks of the window that it was left, and leaves it to its successor. */
static void *larson(void *argument)
{
	struct worker *const worker = argument;
	const long end = worker->rounds > LIFE_ROUNDS ? worker->rounds - LIFE_ROUNDS : 0;

	for (; worker->rounds > end; worker->rounds--) {
		void **const slot = &worker->window[next_random(&worker->random) % WINDOW_BLOCKS];

		free(*slot);
		*slot = allocate(worker);
	}
	if (end == 0) {
		(void)sem_post(&windows_done);
		return NULL;
	}
	pthread_t successor;

	start(&successor, larson, worker);
	(void)pthread_detach(successor);
	return NULL;
}

static void run_larson(int thread_count)
{
	if (sem_init(&windows_done, 0, 0) != 0)
		abort();
	for (int i = 0; i < thread_count; i++) {
		start(&workers[i].thread, larson, &workers[i]);
		(void)pthread_detach(workers[i].thread);
	}
	for (int i = 0; i < thread_count; i++) {
		while (sem_wait(&windows_done) != 0)
			continue;
	}
	for (int i = 0; i < thread_count; i++) {
		for (int slot = 0; slot < WINDOW_BLOCKS; slot++)
			free(workers[i].window[slot]);
	}
}

static void put(struct worker *pair, struct link *batch)
{
	(void)pthread_mutex_lock(&pair->mutex);
	while (pair->put - pair->taken == QUEUE_BATCHES_MAX)
		(void)pthread_cond_wait(&pair->changed, &pair->mutex);
	pair->batches[pair->put++ % QUEUE_BATCHES_MAX] = batch;
	(void)pthread_cond_signal(&pair->changed);
	(void)pthread_mutex_unlock(&pair->mutex);
}

static struct link *take(struct worker *pair)
{
	(void)pthread_mutex_lock(&pair->mutex);
	while (pair->put == pair->taken)
		(void)pthread_cond_wait(&pair->changed, &pair->mutex);
	struct link *const batch = pair->batches[pair->taken++ % QUEUE_BATCHES_MAX];

	(void)pthread_cond_signal(&pair->changed);
	(void)pthread_mutex_unlock(&pair->mutex);
	return batch;
}

static void *produce(void *argument)
{
	struct worker *const pair = argument;

	for (long made = 0; made < pair->rounds; made += BATCH) {
		struct link *last = NULL;

		put(pair, allocate_batch(pair, BATCH, &last));
	}
	put(pair, NULL); /* the end */
	return NULL;
}

static void *consume(void *argument)
{
	struct worker *const pair = argument;

	for (struct link *batch; (batch = take(pair)) != NULL;)
		(void)free_batch(batch);
	return NULL;
}

static void run_queue(int thread_count)
{
	const int pair_count = thread_count / 2;

	for (int i = 0; i < pair_count; i++) {
		struct worker *const pair = &workers[i];

		if (pthread_mutex_init(&pair->mutex, NULL) != 0 ||
		    pthread_cond_init(&pair->changed, NULL) != 0)
			abort();
		pair->rounds *= 2; /* its consumer makes none */
		start(&pair->consumer, consume, pair);
		start(&pair->thread, produce, pair);
	}
	for (int i = 0; i < pair_count; i++) {
		join(workers[i].thread);
		join(workers[i].consumer);
	}
}

static const struct {
	const char *name;
	int threads_min;
	void (*run)(int thread_count);
} kinds[] = {
	{ "crossing", 1, run_crossing },
	{ "larson", 1, run_larson },
	{ "queue", 2, run_queue },
};

int main(int argument_count, char **arguments)
{
	const int thread_count = argument_count == 4 ? (int)strtol(arguments[2], NULL, 10) : 0;
	const long rounds = argument_count == 4 ? strtol(arguments[3], NULL, 10) : 0;

	if (thread_count < 1 || thread_count > THREADS_MAX || rounds < thread_count) {
		fprintf(stderr, "usage: threads KIND THREADS ROUNDS\n");
		return 2;
	}
	for (int i = 0; i < thread_count; i++) {
		workers[i].rounds = rounds / thread_count;
		workers[i].random = 88172645463325252UL + (uint64_t)i;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(arguments[1], kinds[i].name) != 0 || thread_count < kinds[i].threads_min)
			continue;
		const double start_ns = clock_ns(CLOCK_MONOTONIC);

		kinds[i].run(thread_count);
		printf("ns_per_round=%.2f\n", (clock_ns(CLOCK_MONOTONIC) - start_ns) / (double)rounds);
		return 0;
	}
	fprintf(stderr, "threads: no kind named %s for so many threads\n", arguments[1]);
	return 2;
}
