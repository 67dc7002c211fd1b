// SPDX-License-Identifier: Apache-2.0
/* A thread that does jobs one after the other, each when its time has come. */
#ifndef HM_TOOLS_HTTP_WORKER_H
#define HM_TOOLS_HTTP_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hm_work_end {
	HM_WORK_DONE,
	HM_WORK_CANCELLED, /* nobody wants it any more */
	HM_WORK_ABANDONED, /* the worker ends */
};

/* Embedded in what is to be done; the owner keeps it until `done` is called. */
struct hm_work {
	/* Does it; returns 0, or the nanoseconds after which it is to be called again. */
	uint64_t (*run)(struct hm_work *work);
	/* The last call, without any lock of the worker's. */
	void (*done)(struct hm_work *work, enum hm_work_end end);
	uint64_t due_ns; /* CLOCK_MONOTONIC */
	struct hm_work *next;
	bool has_run; /* and asked to be called again */
	bool is_cancelled;
};

struct hm_worker {
	pthread_t thread;
	pthread_mutex_t lock; /* over the rest */
	pthread_cond_t changed;
	struct hm_work *first; /* by due_ns; of equals the first that came */
	size_t count;          /* waiting or being done */
	size_t count_max;
	bool is_ending;
};

/* Returns 0 or a negative errno. */
int hm_worker_start(struct hm_worker *worker, size_t count_max);

/* Waits for the one that is being done; all others are abandoned. */
void hm_worker_stop(struct hm_worker *worker);

/* Reserves room for one: false where it has count_max, or ends.  Then hm_worker_add must follow. */
bool hm_worker_reserve(struct hm_worker *worker);
void hm_worker_add(struct hm_worker *worker, struct hm_work *work);

/*
 * Work that waits to be called again is done with, at once, and what runs now will be when it asks to be
 * called again.  What has not begun yet is begun: that takes no time but its own.  At any time before `done`
 * is called, hm_worker_add not having been called yet included.
 */
void hm_worker_cancel(struct hm_worker *worker, struct hm_work *work);

#endif
