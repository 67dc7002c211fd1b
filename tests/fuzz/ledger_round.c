// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/ledger_round.h"

#include "proto/profile_check.h"
#include "proto/profile_write.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What a snapshot may take.  Fixed: two windows of 64 KiB, the header, the gauges, pieces of the module
 * table. For each byte of the file at most: lists of the walk 16.1/64; a stack and what is kept of its first
 * look, (120 + 48)/128, its frames, where they change between two looks, 1024/128; a live sample 40/32, its
 * age, where each has a stack and an age of its own, 72/32 in tables that are twice and, with those before,
 * four times as large, with slots 4 * 16/32, and twice when they are sorted; a module, 11 segments on one
 * place, 11 * 88/128; text 1.
 */
enum { SNAPSHOT_BYTES_FIXED = 512 << 10, SNAPSHOT_BYTES_PER_BYTE = 36 };

/*
 * What writing may take.  Fixed: the compressor, 330 KiB, and tables of a first size.  For each frame, 8
 * bytes, at most: key, address and name 40, hash slots 4 * 16, twice because of the table before, three lines
 * 3 * 32; that is 33 for each byte, doubled for what has not been thought of.
 */
enum { WRITE_BYTES_FIXED = 4 << 20, WRITE_BYTES_PER_BYTE = 64 };

/* --- Names --------------------------------------------------------------------------------------------- */

/* What symbol tables and debug information may hold; the file system of whoever fuzzes stays out of it. */
static const char *name_of(uint64_t bits)
{
	enum { NAMES = 8 };
	static const char *const names[NAMES] = {
		"main", "operator new(unsigned long)", "caf\xe9",     "a\nb\x1b[1m", "[cut]",
		"f",    "libfoo.so.1+0x1f40",          "\xe2\x82\xac"
	};

	return names[bits % NAMES];
}

static const char *file_of(uint64_t bits)
{
	enum { FILES = 4 };
	static const char *const files[FILES] = { NULL, "/src/main.c", "", "\xff" };

	return files[bits % FILES];
}

/* Up to 3 functions at an address, all by the bits of the address. */
static int name_addresses(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
			  const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
			  enum hm_names_outcome *ret_outcome)
{
	(void)context;
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t bits = addresses[i] >> 3;
		const uint32_t line_count = 1 + bits % 3;
		struct hm_line *const lines = hm_arena_allocate_array(arena, line_count, sizeof(*lines));

		fuzz_require(addresses[i] >= module->start_address && addresses[i] < module->end_address,
			     "an address to be named lies in its module");
		fuzz_require(i == 0 || addresses[i] > addresses[i - 1], "addresses to be named ascend");
		for (uint32_t k = 0; k < line_count; k++) {
			lines[k].name = name_of(bits + k);
			lines[k].system_name = name_of(bits + k + bits / 8 % 2);
			lines[k].file = file_of(bits / 16);
			lines[k].line = (uint32_t)(bits / 64 % 2 * bits);
			lines[k].start_line = (uint32_t)(bits / 128 % 2 * bits);
		}
		ret_names[i] = (struct hm_location_name){ lines, line_count, bits % 5 == 0 };
	}
	*ret_outcome = module->start_address / 4096 % 4;
	return 0;
}

/* --- Demands ------------------------------------------------------------------------------------------- */

static void require_sane_ages(const struct hm_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->age_count; i++) {
		const struct hm_age_sum *const sum = &snapshot->ages[i];

		fuzz_require(sum->stack_index < snapshot->stack_count && sum->age < HM_AGE_COUNT,
			     "an age has a stack and a label");
		fuzz_require(i == 0 || sum[-1].stack_index < sum->stack_index ||
				     (sum[-1].stack_index == sum->stack_index && sum[-1].age < sum->age),
			     "ages ascend by stack, then age");
		fuzz_require(isfinite(sum->byte_seconds) && isfinite(sum->variance_seconds2),
			     "ages are finite");
	}
	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		struct hm_part parts[HM_PARTS_MAX];
		const uint32_t count = hm_ages_split(snapshot, i, parts);
		int64_t alloc = hm_bytes_round(snapshot->stacks[i].alloc.bytes_fixed);
		int64_t inuse = hm_bytes_round(snapshot->stacks[i].inuse.bytes_fixed);

		for (uint32_t k = 0; k < count; k++) {
			fuzz_require(parts[k].inuse_bytes >= 0 && parts[k].inuse_objects >= 0 &&
					     parts[k].alloc_bytes >= parts[k].inuse_bytes &&
					     parts[k].alloc_objects >= parts[k].inuse_objects,
				     "in no part more is in use than was allocated");
			alloc -= parts[k].alloc_bytes;
			inuse -= parts[k].inuse_bytes;
		}
		fuzz_require(alloc == 0 && inuse == 0, "a stack is the sum of its parts");
	}
}

static void require_sane(const struct hm_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		const struct hm_snapshot_stack *const stack = &snapshot->stacks[i];

		fuzz_require(i == 0 || stack->unit > snapshot->stacks[i - 1].unit, "stacks ascend by unit");
		fuzz_require(stack->frame_count <= HM_FRAMES_MAX, "a stack has at most 128 frames");
		fuzz_require(stack->inuse.bytes_fixed <= stack->alloc.bytes_fixed &&
				     stack->inuse.objects_fixed <= stack->alloc.objects_fixed,
			     "no more is in use than was allocated");
		fuzz_require(stack->peak.bytes_fixed <= stack->alloc.bytes_fixed &&
				     stack->peak.objects_fixed <= stack->alloc.objects_fixed,
			     "no more was in use at the high-water mark than was allocated");
		fuzz_require(isfinite(stack->peak.bytes_variance) && stack->peak.bytes_variance >= 0 &&
				     isfinite(stack->peak.objects_variance) &&
				     stack->peak.objects_variance >= 0,
			     "nor is a variance of that negative");
		fuzz_require(isfinite(stack->inuse.bytes_variance) && stack->inuse.bytes_variance >= 0 &&
				     isfinite(stack->inuse.objects_variance) &&
				     stack->inuse.objects_variance >= 0,
			     "a variance is finite and not negative");
	}
	for (uint64_t i = 0; i < snapshot->live_count; i++) {
		const struct hm_snapshot_live *const live = &snapshot->live[i];

		fuzz_require(live->stack_index < snapshot->stack_count, "a live sample has a stack");
		fuzz_require(isfinite(live->weight) && live->weight >= 1,
			     "a weight is finite and at least 1");
	}
	for (uint32_t i = 0; i < snapshot->module_count; i++)
		fuzz_require(snapshot->modules[i].path != NULL &&
				     snapshot->modules[i].build_id_size <= HM_BUILD_ID_MAX,
			     "a module has a path and a build id that fits");
	for (uint32_t i = 0; i < snapshot->gauge_count; i++)
		fuzz_require(memchr(snapshot->gauges[i].name, '\0', HM_GAUGE_NAME_MAX) != NULL,
			     "the name of a gauge ends");
	require_sane_ages(snapshot);
	const struct hm_snapshot_totals totals = hm_snapshot_sum(snapshot);
	fuzz_require(totals.inuse.bytes_fixed <= totals.peak.bytes_fixed &&
			     totals.peak.bytes_fixed <= totals.alloc.bytes_fixed,
		     "in all no more is in use than was at the peak, nor was then than was allocated");
}

static void print_finding(void *context, const struct hm_profile_finding *finding)
{
	(void)context;
	if (finding->is_broken)
		fprintf(stderr, "%s: %s\n", finding->rule, finding->sentence);
}

static void require_good_profile(const struct hm_snapshot *snapshot, bool with_names)
{
	const struct hm_profile_options options = {
		.resolver = { .resolve = with_names ? name_addresses : NULL },
		.producer = "heapmark fuzz",
	};
	struct fuzz_buffer buffer = { 0 };
	const struct hm_sink sink = { fuzz_append, &buffer };
	struct hm_profile_written written;
	struct hm_profile profile;

	fuzz_require(hm_profile_write(snapshot, &options, &sink, &written) == 0, "a snapshot can be written");
	fuzz_require(hm_profile_read(buffer.bytes, buffer.size_bytes, &profile, NULL) == 0,
		     "what was written can be read");
	fuzz_require(profile.sample_count == written.sample_count &&
			     profile.location_count == written.location_count,
		     "all that was written is there");
	fuzz_require(hm_profile_check(&profile, print_finding, NULL) == 0, "the profile breaks no rule");
	hm_profile_done(&profile);
	free(buffer.bytes);
}

bool ledger_round(const struct hm_source *source, bool live_samples)
{
	const struct hm_snapshot_options options = { .realtime_ns = UINT64_C(1700000100) * 1000000000,
						     .live_samples = live_samples,
						     .ages = live_samples };
	struct hm_snapshot snapshot;
	enum hm_snapshot_fault fault = HM_SNAPSHOT_NO_MEMORY;

	fuzz_memory_reset();
	const int error = hm_snapshot_take(source, &options, &snapshot, &fault);
	fuzz_require(fuzz_memory_peak_bytes() <=
			     SNAPSHOT_BYTES_FIXED + SNAPSHOT_BYTES_PER_BYTE * source->length_bytes,
		     "a snapshot takes memory in proportion to the file");
	if (error != 0) {
		fuzz_require(fault != HM_SNAPSHOT_NO_MEMORY && hm_snapshot_fault_text(fault)[0] != '\0',
			     "a ledger that is refused has a fault, which is its own");
		return false;
	}
	require_sane(&snapshot);
	require_good_profile(&snapshot, live_samples);
	hm_snapshot_turn_to_peak(&snapshot);
	require_good_profile(&snapshot, !live_samples);
	fuzz_require(fuzz_memory_peak_bytes() <=
			     WRITE_BYTES_FIXED + WRITE_BYTES_PER_BYTE * source->length_bytes,
		     "writing takes memory in proportion to the file");
	hm_snapshot_done(&snapshot);
	return true;
}
