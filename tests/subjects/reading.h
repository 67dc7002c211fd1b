// SPDX-License-Identifier: Apache-2.0
/*
 * For subjects that look themselves at what thousands of processes have left: what a ledger says about one
 * site, by the reader of the tools.  Nothing here calls malloc.
 *
 * A site is a function in a section of its own, which the linker gives a beginning and an end.
 */
#ifndef HM_TESTS_SUBJECTS_READING_H
#define HM_TESTS_SUBJECTS_READING_H

#include "proto/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define SECTION_OF_SITE __attribute__((section("counted_site")))

extern const char __start_counted_site[]; // NOLINT(bugprone-reserved-identifier): the linker's names
extern const char __stop_counted_site[];  // NOLINT(bugprone-reserved-identifier)

struct reading {
	int error;                    /* 0, or a negative errno: the figures are 0 */
	enum hm_snapshot_fault fault; /* where there is an error */
	bool is_damaged;              /* beyond what a kill leaves unfinished */
	uint64_t alloc_objects;       /* of the site */
	uint64_t alloc_bytes;
	uint64_t inuse_objects;
	uint64_t inuse_bytes;
	uint64_t lost; /* all losses of the process */
};

static inline bool reading_has_site(const struct hm_snapshot_stack *stack, uint64_t site_start,
				    uint64_t site_end)
{
	for (uint32_t index = 0; index < stack->frame_count; index++) {
		const uint64_t address = hm_frame_address(stack->frames[index]);

		if (address >= site_start && address < site_end)
			return true;
	}
	return false;
}

/* Of the stacks that have a frame in [site_start, site_end). */
static inline struct reading reading_of_source(const struct hm_source *source, uint64_t site_start,
					       uint64_t site_end)
{
	const struct hm_snapshot_options options = { .live_samples = true };
	struct hm_snapshot snapshot = { 0 };
	struct reading reading = { 0 };

	reading.error = hm_snapshot_take(source, &options, &snapshot, &reading.fault);
	if (reading.error != 0)
		return reading;
	reading.is_damaged = snapshot.cut_off || snapshot.skipped.references != 0 ||
			     snapshot.skipped.records != 0 || snapshot.skipped.counters != 0 ||
			     snapshot.skipped.strings != 0 || snapshot.skipped.late != 0;
	for (uint32_t index = 0; index < HM_LOSS_KINDS; index++)
		reading.lost += snapshot.losses[index];
	for (uint32_t index = 0; index < snapshot.stack_count; index++) {
		const struct hm_snapshot_stack *const stack = &snapshot.stacks[index];

		if (!reading_has_site(stack, site_start, site_end))
			continue;
		reading.alloc_objects += (uint64_t)hm_objects_round(stack->alloc.objects_fixed);
		reading.alloc_bytes += (uint64_t)hm_bytes_round(stack->alloc.bytes_fixed);
		reading.inuse_objects += (uint64_t)hm_objects_round(stack->inuse.objects_fixed);
		reading.inuse_bytes += (uint64_t)hm_bytes_round(stack->inuse.bytes_fixed);
	}
	hm_snapshot_done(&snapshot);
	return reading;
}

/* error -ENOENT: there is no such file. */
static inline struct reading reading_of_file(const char *path, uint64_t site_start, uint64_t site_end)
{
	struct reading reading = { .fault = HM_SNAPSHOT_UNREADABLE };
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct hm_source source;

	if (descriptor < 0) {
		reading.error = -errno;
		return reading;
	}
	reading.error = hm_source_from_descriptor(descriptor, &source);
	if (reading.error == 0)
		reading = reading_of_source(&source, site_start, site_end);
	(void)close(descriptor);
	return reading;
}

#endif
