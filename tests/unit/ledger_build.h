// SPDX-License-Identifier: Apache-2.0
/*
 * Builds a ledger in memory, byte for byte what a process would have left, for tests of what reads ledgers.
 * Written from proto/ledger.h alone, without the code that writes ledgers in earnest.
 */
#ifndef HM_TESTS_LEDGER_BUILD_H
#define HM_TESTS_LEDGER_BUILD_H

#include "proto/ledger.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger_build {
	uint8_t *bytes; /* owned; page-aligned; capacity_bytes of them, zero beyond the arena's end */
	uint64_t capacity_bytes;
};

/* A whole number of everything allocated and freed under a stack. */
struct ledger_counts {
	uint64_t samples;
	uint64_t alloc_objects;
	uint64_t alloc_bytes;
	uint64_t freed_objects;
	uint64_t freed_bytes;
	double alloc_bytes_variance;
	double freed_bytes_variance;
};

/*
 * A ledger in state RECORDING of process 4242, "subject", started at 1700000000 s, interval 512 KiB, with
 * [dropped] and [overflow] and nothing counted.
 */
void ledger_build_begin(struct ledger_build *build, uint64_t capacity_bytes);
void ledger_build_end(struct ledger_build *build);

struct hm_ledger_header *ledger_build_header(const struct ledger_build *build);
struct hm_ledger_stack *ledger_build_stack_at(const struct ledger_build *build, uint32_t unit);

/* Length of the file: all that was granted. */
uint64_t ledger_build_length(const struct ledger_build *build);

/* Grants zeroed space and returns its unit. */
uint32_t ledger_build_allocate(struct ledger_build *build, uint64_t size_bytes);
uint32_t ledger_build_string(struct ledger_build *build, const char *text, size_t length_bytes);

/* Returns the module's index.  build_id_size bytes of value build_id. */
uint32_t ledger_build_module(struct ledger_build *build, const struct hm_ledger_module *module,
			     const char *path);

/* Adds a stack and returns its unit.  It must not be there yet.  With the hash given, whatever the frames. */
uint32_t ledger_build_stack_hashed(struct ledger_build *build, const uint64_t *frames, uint32_t frame_count,
				   uint8_t flags, uint64_t hash);
uint32_t ledger_build_stack(struct ledger_build *build, const uint64_t *frames, uint32_t frame_count,
			    uint8_t flags);
void ledger_build_count(struct ledger_build *build, uint32_t stack_unit, const struct ledger_counts *counts);

/* Adds a live sample; segments are made as they fill. */
void ledger_build_live(struct ledger_build *build, uint64_t address, uint32_t stack_unit, uint64_t size_bytes,
		       float weight, uint32_t birth_ticks);

/* The parts of slot `slot_index` of a segment that is there, counted through its buckets. */
_Atomic uint64_t *ledger_build_live_address(struct ledger_build *build, uint32_t segment_index,
					    uint64_t slot_index);
struct hm_ledger_live_value *ledger_build_live_value(struct ledger_build *build, uint32_t segment_index,
						     uint64_t slot_index);

void ledger_build_gauge(struct ledger_build *build, const char *name, double value);

/* Writes the file; false where that fails. */
bool ledger_build_save(const struct ledger_build *build, const char *path);

/*
 * A ledger with some of everything: 3 modules, 200 stacks with counts, 60 live samples, a gauge.  The same on
 * each call.
 */
void ledger_build_sample(struct ledger_build *build);

#endif
