// SPDX-License-Identifier: Apache-2.0
/*
 * Snapshot -> what a profile consists of, in the order in which it is written: its samples, the mappings and
 * the locations of their stacks, each under the number by which the others name it.
 *
 *   hm_profile_lay_out        proto/profile_names.h      proto/profile_write.h
 *   modules -> mappings   ->  a name for each       ->   the messages of the format
 *   stacks  -> samples        location
 *   frames  -> locations
 *
 * Modules become mappings sorted by path; every distinct address of a stack becomes a location.  A location's
 * key is (place of its module in that order, address), so sorting keys sorts locations by mapping, and two
 * runs of one binary, loaded at different addresses, come out in the same order.
 *
 * Usable inside the target at exit: memory from an arena only; no malloc, stdio, locale, threads.
 */
#ifndef HM_PROTO_PROFILE_LAYOUT_H
#define HM_PROTO_PROFILE_LAYOUT_H

#include "proto/arena.h"
#include "proto/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

#define HM_ANON_NAME "[anon]"

enum {
	HM_PROFILE_FRAMES_MAX = HM_FRAMES_MAX + 1, /* of a sample, with [truncated] or [cut] */
};

/*
 * Frames of our own making.  Their addresses lie below vm.mmap_min_addr, where no process has code, and are
 * the same in every profile, so that they cancel out in a comparison.
 */
enum {
	HM_MADE_UP_START = 0x1000,
	HM_MADE_UP_DROPPED,
	HM_MADE_UP_OVERFLOW,
	HM_MADE_UP_TRUNCATED,
	HM_MADE_UP_CUT,
	HM_MADE_UP_LAST = HM_MADE_UP_CUT,
	HM_MADE_UP_END = 0x2000,
};

struct hm_layout_mapping {
	const struct hm_snapshot_module *module; /* borrowed; NULL: one of ours */
	const char *file;
	uint64_t start_address;
	uint64_t end_address;
	uint32_t location_count;
	/* Of its locations; filled by proto/profile_names.h. */
	uint32_t placeholder_count;
	uint32_t fileless_count;
	uint32_t lineless_count;
	bool has_inline_frames;
	uint64_t id; /* 0: not written */
};

/* A stack that is written. */
struct hm_layout_sample {
	const struct hm_snapshot_stack *stack; /* borrowed */
	const uint32_t *locations;             /* indexes, innermost first; ascending as their keys are */
	uint32_t location_count;
};

struct hm_profile_layout {
	const struct hm_snapshot *snapshot; /* borrowed */
	struct hm_arena *arena;             /* borrowed; owns everything below */

	/* Modules in order of place, then [anon], [heapmark], and an executable that is in no stack. */
	struct hm_layout_mapping *mappings;
	uint32_t module_count;
	uint32_t *places; /* of module i of the snapshot, by i */

	struct hm_layout_sample *samples; /* in the order in which they are written */
	uint32_t sample_count;

	uint64_t *keys; /* of all locations, ascending */
	uint64_t *addresses;
	uint32_t location_count;
	struct hm_location_slot *location_slots; /* key -> location; of use to the making only */
	uint32_t location_slot_count;
};

/* Returns 0, or -ENOMEM, after which *ret_layout is of no use.  All memory is given back with the arena. */
int hm_profile_lay_out(const struct hm_snapshot *snapshot, struct hm_arena *arena,
		       struct hm_profile_layout *ret_layout);

/* The mapping of addresses outside of every module. */
struct hm_layout_mapping *hm_layout_anon(const struct hm_profile_layout *layout);

/* The mapping of frames of our own making. */
struct hm_layout_mapping *hm_layout_made_up(const struct hm_profile_layout *layout);

/* The mapping that comes first: the executable, whether or not it is in a stack. */
struct hm_layout_mapping *hm_layout_main(const struct hm_profile_layout *layout);

/* The mapping in which a location lies. */
struct hm_layout_mapping *hm_layout_mapping_of(const struct hm_profile_layout *layout,
					       uint32_t location_index);

#endif
