// SPDX-License-Identifier: Apache-2.0
#include "tools/allocator_figures.h"

#include "tools/ledger.h"
#include "tools/mappings.h"
#include "tools/memory_split.h"

#include <stdlib.h>
#include <time.h>

static const uint64_t ns_per_second = 1000000000;

struct hm_allocator_entry {
	struct hm_allocator_entry *next;
	pid_t pid;
	uint64_t run_start_ns; /* with pid: which process */
	uint64_t looked_ns;    /* CLOCK_MONOTONIC, as all here; 0: not yet */
	uint64_t took_ns;      /* the look */
	uint64_t asked_ns;
	bool has_figures;
	struct hm_allocator_figures figures;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * ns_per_second + (uint64_t)now.tv_nsec;
}

static struct hm_allocator_entry **bucket_of(struct hm_allocators *allocators, pid_t pid)
{
	return &allocators->buckets[(unsigned int)pid % HM_ALLOCATOR_BUCKETS];
}

/* Makes one where there is none; NULL for lack of memory. */
static struct hm_allocator_entry *find_entry(struct hm_allocators *allocators, const struct hm_target *target)
{
	struct hm_allocator_entry **const bucket = bucket_of(allocators, target->pid);

	for (struct hm_allocator_entry *entry = *bucket; entry != NULL; entry = entry->next)
		if (entry->pid == target->pid && entry->run_start_ns == target->run_start_ns)
			return entry;

	struct hm_allocator_entry *const made = calloc(1, sizeof(*made));

	if (made == NULL)
		return NULL;
	made->pid = target->pid;
	made->run_start_ns = target->run_start_ns;
	made->next = *bucket;
	*bucket = made;
	return made;
}

/* Stacks of threads are not told apart here: they are never the allocator's. */
static bool look(const struct hm_target *target, struct hm_allocator_figures *ret_figures)
{
	struct hm_snapshot snapshot = { 0 };
	struct hm_mappings mappings = { 0 };
	struct hm_memory_split split;
	enum hm_snapshot_fault fault;
	bool is_known = false;

	if (hm_ledger_snapshot(target->descriptor, true, HM_LEDGER_LIVE, &snapshot, &fault) != 0)
		return false;
	if (hm_mappings_read(target->pid, true, &mappings) == 0) {
		hm_memory_split(target->pid, &mappings, &snapshot, NULL, 0, &split);
		*ret_figures = (struct hm_allocator_figures){
			.mapped_bytes = split.heap_bytes,
			.free_bytes = split.parts_bytes[HM_MEMORY_KEPT],
		};
		is_known = split.unrecorded_bytes != UINT64_MAX;
	}
	hm_mappings_done(&mappings);
	hm_snapshot_done(&snapshot);
	return is_known;
}

static bool is_due(const struct hm_allocator_entry *entry, uint64_t now)
{
	const uint64_t passed_ns = now - entry->looked_ns;

	return entry->looked_ns == 0 || (passed_ns >= HM_ALLOCATOR_SECONDS * ns_per_second &&
					 passed_ns >= HM_ALLOCATOR_COST_TIMES * entry->took_ns);
}

/* Whether there is time for it in this scrape. */
static bool takes_turn(struct hm_allocators *allocators, const struct hm_allocator_entry *entry)
{
	if (entry->looked_ns > allocators->turn_ns)
		return false; /* others are still to have theirs */
	if (allocators->spent_ns < HM_ALLOCATOR_SCRAPE_MS_MAX * ns_per_second / 1000)
		return true;
	allocators->put_off_count++;
	return false;
}

static void bring_up_to_date(struct hm_allocators *allocators, struct hm_allocator_entry *entry,
			     const struct hm_target *target, bool is_alone)
{
	const uint64_t begin_ns = now_ns();

	entry->asked_ns = begin_ns;
	if (!is_due(entry, begin_ns) || !(is_alone || takes_turn(allocators, entry)))
		return;
	entry->has_figures = look(target, &entry->figures);
	entry->looked_ns = now_ns();
	entry->took_ns = entry->looked_ns - begin_ns;
	allocators->spent_ns += is_alone ? 0 : entry->took_ns;
}

static bool find(struct hm_allocators *allocators, const struct hm_target *target, bool is_alone,
		 struct hm_allocator_figures *ret_figures)
{
	bool is_known = false;

	if (!target->is_running)
		return false;
	(void)pthread_mutex_lock(&allocators->lock);

	struct hm_allocator_entry *const entry = find_entry(allocators, target);

	if (entry != NULL) {
		bring_up_to_date(allocators, entry, target, is_alone);
		*ret_figures = entry->figures;
		is_known = entry->has_figures;
	}
	(void)pthread_mutex_unlock(&allocators->lock);
	return is_known;
}

bool hm_allocators_find(struct hm_allocators *allocators, const struct hm_target *target,
			struct hm_allocator_figures *ret_figures)
{
	return find(allocators, target, false, ret_figures);
}

bool hm_allocators_find_alone(struct hm_allocators *allocators, const struct hm_target *target,
			      struct hm_allocator_figures *ret_figures)
{
	return find(allocators, target, true, ret_figures);
}

static void forget(struct hm_allocators *allocators, uint64_t asked_before_ns)
{
	for (size_t i = 0; i < HM_ALLOCATOR_BUCKETS; i++) {
		struct hm_allocator_entry **at = &allocators->buckets[i];

		while (*at != NULL) {
			struct hm_allocator_entry *const entry = *at;

			if (entry->asked_ns >= asked_before_ns) {
				at = &entry->next;
			} else {
				*at = entry->next;
				free(entry);
			}
		}
	}
}

void hm_allocators_begin(struct hm_allocators *allocators)
{
	const uint64_t now = now_ns();
	const uint64_t kept_ns = HM_ALLOCATOR_FORGET_SECONDS * ns_per_second;

	(void)pthread_mutex_lock(&allocators->lock);
	if (allocators->put_off_count == 0)
		allocators->turn_ns = now; /* everybody had his */
	allocators->put_off_count = 0;
	allocators->spent_ns = 0;
	forget(allocators, now > kept_ns ? now - kept_ns : 0);
	(void)pthread_mutex_unlock(&allocators->lock);
}

void hm_allocators_init(struct hm_allocators *ret_allocators)
{
	*ret_allocators = (struct hm_allocators){ .spent_ns = 0 };
	(void)pthread_mutex_init(&ret_allocators->lock, NULL); /* cannot fail without attributes */
}

void hm_allocators_done(struct hm_allocators *allocators)
{
	forget(allocators, UINT64_MAX);
	(void)pthread_mutex_destroy(&allocators->lock);
}
