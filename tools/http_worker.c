// SPDX-License-Identifier: Apache-2.0
#include "tools/http_worker.h"

#include <errno.h>
#include <time.h>

enum { NS_PER_SECOND = 1000000000 };

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void insert(struct hm_worker *worker, struct hm_work *work)
{
	struct hm_work **place = &worker->first;

	while (*place != NULL && (*place)->due_ns <= work->due_ns)
		place = &(*place)->next;
	work->next = *place;
	*place = work;
	(void)pthread_cond_signal(&worker->changed);
}

/* Waits for the next one that is due.  NULL: the worker ends.  Called with the lock held. */
static struct hm_work *next_work(struct hm_worker *worker)
{
	while (!worker->is_ending) {
		struct hm_work *const work = worker->first;

		if (work == NULL) {
			(void)pthread_cond_wait(&worker->changed, &worker->lock);
		} else if (work->due_ns <= now_ns()) {
			worker->first = work->next;
			return work;
		} else {
			const struct timespec due = {
				.tv_sec = (time_t)(work->due_ns / NS_PER_SECOND),
				.tv_nsec = (long)(work->due_ns % NS_PER_SECOND),
			};

			(void)pthread_cond_timedwait(&worker->changed, &worker->lock, &due);
		}
	}
	return NULL;
}

/* Called with the lock held, which `done` is called without: it may take locks that are held where cancelled.
 */
static void end(struct hm_worker *worker, struct hm_work *work, enum hm_work_end how)
{
	(void)pthread_mutex_unlock(&worker->lock);
	work->done(work, how);
	(void)pthread_mutex_lock(&worker->lock);
	worker->count--;
}

/* Called with the lock held. */
static void advance(struct hm_worker *worker, struct hm_work *work)
{
	uint64_t wait_ns = 0;

	if (work->has_run && work->is_cancelled) {
		end(worker, work, HM_WORK_CANCELLED);
		return;
	}
	(void)pthread_mutex_unlock(&worker->lock);
	wait_ns = work->run(work);
	(void)pthread_mutex_lock(&worker->lock);
	if (wait_ns == 0) {
		end(worker, work, HM_WORK_DONE);
		return;
	}
	work->has_run = true;
	work->due_ns = work->is_cancelled ? 0 : now_ns() + wait_ns;
	insert(worker, work);
}

static void *run(void *context)
{
	struct hm_worker *const worker = context;
	struct hm_work *work = NULL;

	(void)pthread_mutex_lock(&worker->lock);
	while ((work = next_work(worker)) != NULL)
		advance(worker, work);
	while ((work = worker->first) != NULL) {
		worker->first = work->next;
		end(worker, work, HM_WORK_ABANDONED);
	}
	(void)pthread_mutex_unlock(&worker->lock);
	return NULL;
}

int hm_worker_start(struct hm_worker *worker, size_t count_max)
{
	pthread_condattr_t attributes;

	*worker = (struct hm_worker){ .count_max = count_max };
	(void)pthread_mutex_init(&worker->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&worker->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	return -pthread_create(&worker->thread, NULL, run, worker);
}

void hm_worker_stop(struct hm_worker *worker)
{
	(void)pthread_mutex_lock(&worker->lock);
	worker->is_ending = true;
	(void)pthread_cond_signal(&worker->changed);
	(void)pthread_mutex_unlock(&worker->lock);
	(void)pthread_join(worker->thread, NULL);
	(void)pthread_cond_destroy(&worker->changed);
	(void)pthread_mutex_destroy(&worker->lock);
}

bool hm_worker_reserve(struct hm_worker *worker)
{
	bool has_room = false;

	(void)pthread_mutex_lock(&worker->lock);
	has_room = !worker->is_ending && worker->count < worker->count_max;
	worker->count += has_room;
	(void)pthread_mutex_unlock(&worker->lock);
	return has_room;
}

void hm_worker_add(struct hm_worker *worker, struct hm_work *work)
{
	bool is_ending = false;

	work->due_ns = now_ns();
	(void)pthread_mutex_lock(&worker->lock);
	is_ending = worker->is_ending;
	if (!is_ending)
		insert(worker, work);
	(void)pthread_mutex_unlock(&worker->lock);
	if (is_ending) /* since room was reserved */
		work->done(work, HM_WORK_ABANDONED);
}

void hm_worker_cancel(struct hm_worker *worker, struct hm_work *work)
{
	(void)pthread_mutex_lock(&worker->lock);
	work->is_cancelled = true;
	for (struct hm_work **place = &worker->first; *place != NULL && work->has_run;
	     place = &(*place)->next) {
		if (*place != work)
			continue;
		*place = work->next;
		work->due_ns = 0;
		insert(worker, work);
		break;
	}
	(void)pthread_mutex_unlock(&worker->lock);
}
