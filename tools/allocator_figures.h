// SPDX-License-Identifier: Apache-2.0
/*
 * How much memory the allocator of a process holds, for /metrics.
 *
 * It takes reading /proc/PID/smaps, for which the kernel walks all page tables of the process, and lets it
 * map nothing while it walks those of one mapping: 13 to 37 ms for a gigabyte of 4 KiB pages in one mapping,
 * 28 to 65 ms in a thousand, and an mmap of the process waited up to 56 ms meanwhile (two busy cores).
 * smaps_rollup takes as long and does not tell mappings apart.  So a process is looked at once in ten seconds
 * at most, and for at most a hundredth of the time; all of them together for a quarter of a second in one
 * scrape, give or take a look.
 *
 * Where that is not enough for all, they take turns over several scrapes: nobody is looked at twice before
 * everybody was once.  Those whose turn it was not keep their figures of before, or have none yet, and are
 * counted.
 *
 * Any thread.
 */
#ifndef HM_TOOLS_ALLOCATOR_FIGURES_H
#define HM_TOOLS_ALLOCATOR_FIGURES_H

#include "tools/serve_targets.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	HM_ALLOCATOR_SECONDS = 10,        /* between two looks at one process */
	HM_ALLOCATOR_COST_TIMES = 100,    /* the same, in times of what the look took */
	HM_ALLOCATOR_SCRAPE_MS_MAX = 250, /* of looking, in one scrape */
	HM_ALLOCATOR_FORGET_SECONDS = 600,
	HM_ALLOCATOR_BUCKETS = 1024,
};

struct hm_allocator_figures {
	uint64_t mapped_bytes; /* resident, in the mappings that hold malloc'd blocks (memory_split.h) */
	/* Of these, not live: free lists, fragmentation, bookkeeping; without what may be live unrecorded. */
	uint64_t free_bytes;
};

struct hm_allocator_entry;

struct hm_allocators {
	pthread_mutex_t lock;                                     /* over what follows */
	struct hm_allocator_entry *buckets[HM_ALLOCATOR_BUCKETS]; /* owned; by pid */
	uint64_t spent_ns;                                        /* in this scrape */
	uint64_t turn_ns;       /* CLOCK_MONOTONIC: since when everybody is to be looked at once */
	uint64_t put_off_count; /* in this scrape: those for whom no time was left */
};

void hm_allocators_init(struct hm_allocators *ret_allocators);
void hm_allocators_done(struct hm_allocators *allocators);

/*
 * A scrape of all begins: time may be spent again, and processes that nobody has asked for are forgotten.
 * One scrape at a time.
 */
void hm_allocators_begin(struct hm_allocators *allocators);

/*
 * The figures of a process that runs, for a scrape of all.  False where there are none: it has ended, smaps
 * is not ours to read, nobody knows what it has allocated asleep, or its turn is still to come.
 */
bool hm_allocators_find(struct hm_allocators *allocators, const struct hm_target *target,
			struct hm_allocator_figures *ret_figures);

/* The same for somebody who asks for this process alone, and does not wait for turns. */
bool hm_allocators_find_alone(struct hm_allocators *allocators, const struct hm_target *target,
			      struct hm_allocator_figures *ret_figures);

#endif
