// SPDX-License-Identifier: Apache-2.0
#include "tools/view.h"

#include "tools/ledger.h"
#include "tools/profile_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void hm_view_add(struct hm_view_figures *sum, const struct hm_view_figures *figures)
{
	sum->alloc_bytes += figures->alloc_bytes;
	sum->inuse_bytes += figures->inuse_bytes;
	sum->alloc_variance += figures->alloc_variance;
	sum->inuse_variance += figures->inuse_variance;
	sum->aged_bytes += figures->aged_bytes;
	sum->age_byte_seconds += figures->age_byte_seconds;
}

/* Where the four values of a sample are, in a profile of any producer. */
struct types {
	uint32_t alloc_objects;
	uint32_t alloc_space;
	uint32_t inuse_objects;
	uint32_t inuse_space;
};

static bool find_types(const struct hm_profile *profile, struct types *ret_types)
{
	ret_types->alloc_objects = hm_profile_find_sample_type(profile, "alloc_objects");
	ret_types->alloc_space = hm_profile_find_sample_type(profile, "alloc_space");
	ret_types->inuse_objects = hm_profile_find_sample_type(profile, "inuse_objects");
	ret_types->inuse_space = hm_profile_find_sample_type(profile, "inuse_space");
	return ret_types->alloc_space != HM_PROFILE_NONE && ret_types->inuse_space != HM_PROFILE_NONE;
}

/*
 * The variance of an estimate of `bytes` in `objects` blocks, had they all the same size.  Each of the
 * objects/w samples, w being its weight, adds size^2 w(w-1) (docs/accuracy.md), which makes
 * objects size^2 (w-1).  Exact for blocks far below the interval, whatever their
 * sizes (it is then interval times bytes); rough where a stack has blocks on both sides of it.
 */
static double variance_of_average(double objects, double bytes, double interval_bytes)
{
	if (objects <= 0 || interval_bytes <= 1)
		return 0;

	const double size_bytes = bytes / objects;
	const double weight = 1 / -expm1(-(size_bytes + 1) / interval_bytes);

	return objects * size_bytes * size_bytes * (weight - 1);
}

static void fill_from_profile(struct hm_view *view, const struct types *types)
{
	const struct hm_profile *const profile = &view->profile;
	const double interval_bytes = (double)profile->period;

	for (uint32_t i = 0; i < profile->sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile->samples[i];
		struct hm_view_figures *const figures = &view->samples[i];

		figures->alloc_bytes = (double)hm_profile_value(sample, types->alloc_space);
		figures->inuse_bytes = (double)hm_profile_value(sample, types->inuse_space);
		figures->alloc_variance =
			variance_of_average((double)hm_profile_value(sample, types->alloc_objects),
					    figures->alloc_bytes, interval_bytes);
		figures->inuse_variance =
			variance_of_average((double)hm_profile_value(sample, types->inuse_objects),
					    figures->inuse_bytes, interval_bytes);
	}
}

static void *allocate_array(size_t count, size_t element_bytes)
{
	void *const array = calloc(count + 1, element_bytes); /* + 1: an empty one is no failure */

	if (array == NULL)
		abort();
	return array;
}

static int load_profile(int descriptor, struct hm_view *view, const char **ret_reason)
{
	enum hm_profile_fault fault = HM_PROFILE_UNREADABLE;
	const int error = hm_profile_read_descriptor(descriptor, &view->profile, &fault);

	if (error != 0) {
		*ret_reason =
			fault == HM_PROFILE_UNREADABLE ? strerror(-error) : hm_profile_fault_text(fault);
		return error;
	}
	view->samples = allocate_array(view->profile.sample_count, sizeof(view->samples[0]));

	struct types types;

	if (!find_types(&view->profile, &types)) {
		*ret_reason = "not a heap profile: it has no alloc_space and inuse_space";
		return -EBADMSG;
	}
	fill_from_profile(view, &types);
	return 0;
}

/*
 * The writer sorts its samples and names none by its stack, so the two are brought together by what both
 * have: the addresses, innermost first, and the four values.  What is the same in both is interchangeable.
 */
struct match {
	uint64_t hash;
	uint32_t index; /* of the stack or of the sample */
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
	/* the finalizer of splitmix64: every bit of the value changes half of the bits of the hash */
	hash ^= value + UINT64_C(0x9e3779b97f4a7c15);
	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

static uint64_t hash_stack(const struct hm_snapshot_stack *stack)
{
	uint64_t hash = 0;

	for (uint32_t i = 0; i < stack->frame_count; i++)
		if (hm_frame_address(stack->frames[i]) != 0) /* address 0 makes no location */
			hash = mix(hash, hm_frame_address(stack->frames[i]));
	hash = mix(hash, (uint64_t)hm_objects_round(stack->alloc.objects_fixed));
	hash = mix(hash, (uint64_t)hm_bytes_round(stack->alloc.bytes_fixed));
	hash = mix(hash, (uint64_t)hm_objects_round(stack->inuse.objects_fixed));
	return mix(hash, (uint64_t)hm_bytes_round(stack->inuse.bytes_fixed));
}

/* Frames such as [truncated] are the writer's. */
static bool is_made_up(const struct hm_profile *profile, const struct hm_profile_location *location)
{
	const uint32_t mapping = location->mapping;

	return mapping != HM_PROFILE_NONE &&
	       strcmp(hm_profile_string(profile, profile->mappings[mapping].file), "[heapmark]") == 0;
}

static uint64_t hash_sample(const struct hm_profile *profile, const struct hm_profile_sample *sample)
{
	uint64_t hash = 0;

	for (uint32_t i = 0; i < sample->location_count; i++) {
		const uint32_t location = sample->locations[i];

		if (location != HM_PROFILE_NONE && !is_made_up(profile, &profile->locations[location]))
			hash = mix(hash, profile->locations[location].address);
	}
	for (uint32_t i = 0; i < sample->value_count; i++)
		hash = mix(hash, (uint64_t)sample->values[i]);
	return hash;
}

static int compare_matches(const void *a, const void *b)
{
	const struct match *const left = a;
	const struct match *const right = b;

	if (left->hash != right->hash)
		return left->hash < right->hash ? -1 : 1;
	return left->index < right->index ? -1 : left->index > right->index;
}

/* Ages by stack, weighted by bytes. */
static struct hm_view_figures *sum_ages(const struct hm_snapshot *snapshot)
{
	struct hm_view_figures *const figures = allocate_array(snapshot->stack_count, sizeof(figures[0]));

	for (uint64_t i = 0; i < snapshot->live_count; i++) {
		const struct hm_snapshot_live *const live = &snapshot->live[i];
		const double bytes = (double)live->size_bytes * (double)live->weight;

		figures[live->stack_index].aged_bytes += bytes;
		figures[live->stack_index].age_byte_seconds += bytes * (double)live->age_ns / 1e9;
	}
	return figures;
}

static void add_from_snapshot(struct hm_view *view, const struct hm_snapshot *snapshot)
{
	const struct hm_profile *const profile = &view->profile;
	struct match *const stacks = allocate_array(snapshot->stack_count, sizeof(stacks[0]));
	struct match *const samples = allocate_array(profile->sample_count, sizeof(samples[0]));
	struct hm_view_figures *const ages = sum_ages(snapshot);

	for (uint32_t i = 0; i < snapshot->stack_count; i++)
		stacks[i] = (struct match){ hash_stack(&snapshot->stacks[i]), i };
	for (uint32_t i = 0; i < profile->sample_count; i++)
		samples[i] = (struct match){ hash_sample(profile, &profile->samples[i]), i };
	qsort(stacks, snapshot->stack_count, sizeof(stacks[0]), compare_matches);
	qsort(samples, profile->sample_count, sizeof(samples[0]), compare_matches);

	for (uint32_t i = 0, k = 0; i < profile->sample_count && k < snapshot->stack_count;) {
		if (stacks[k].hash != samples[i].hash) { /* a stack without any value has no sample */
			stacks[k].hash < samples[i].hash ? k++ : i++;
			continue;
		}

		struct hm_view_figures *const figures = &view->samples[samples[i++].index];
		const uint32_t stack = stacks[k++].index;

		figures->alloc_variance = snapshot->stacks[stack].alloc.bytes_variance;
		figures->inuse_variance = snapshot->stacks[stack].inuse.bytes_variance;
		figures->aged_bytes = ages[stack].aged_bytes;
		figures->age_byte_seconds = ages[stack].age_byte_seconds;
	}
	free(stacks);
	free(samples);
	free(ages);
}

/* Makes the profile in a file that has no name, and reads it back. */
static int convert(const struct hm_snapshot *snapshot, const struct hm_input *input, struct hm_view *view,
		   const char **ret_reason)
{
	struct hm_symbols symbols;
	struct hm_profile_plan plan;
	int descriptor = memfd_create("heapmark", MFD_CLOEXEC);
	int error = descriptor >= 0 ? 0 : -errno;

	hm_symbols_init(&symbols);
	hm_profile_plan(&plan, &symbols, snapshot, input->descriptor, input->pid);
	if (error == 0) {
		const struct hm_sink sink = hm_descriptor_sink(&descriptor);

		error = hm_profile_write(snapshot, &plan.options, &sink, NULL);
	}
	if (error == 0 && lseek(descriptor, 0, SEEK_SET) != 0)
		error = -errno;
	if (error != 0)
		*ret_reason = strerror(-error);
	else
		error = load_profile(descriptor, view, ret_reason);
	if (descriptor >= 0)
		(void)close(descriptor);
	hm_symbols_done(&symbols);
	return error;
}

static int load_ledger(const struct hm_input *input, struct hm_view *view, const char **ret_reason)
{
	struct hm_snapshot snapshot = { 0 };
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	int error = hm_ledger_snapshot(input->descriptor, input->pid != 0, true, &snapshot, &fault);

	if (error != 0) {
		*ret_reason =
			fault == HM_SNAPSHOT_UNREADABLE ? strerror(-error) : hm_snapshot_fault_text(fault);
		return error;
	}
	error = convert(&snapshot, input, view, ret_reason);
	if (error == 0)
		add_from_snapshot(view, &snapshot);
	view->is_damaged = hm_ledger_is_damaged(&snapshot);
	hm_snapshot_done(&snapshot);
	return error;
}

int hm_view_load(const struct hm_input *input, struct hm_view *ret_view, const char **ret_reason)
{
	struct hm_view view = { 0 };
	const int error = input->kind == HM_INPUT_LEDGER ? load_ledger(input, &view, ret_reason)
							 : load_profile(input->descriptor, &view, ret_reason);

	if (error != 0)
		hm_view_done(&view);
	else
		*ret_view = view;
	return error;
}

void hm_view_done(struct hm_view *view)
{
	hm_profile_done(&view->profile);
	free(view->samples);
	*view = (struct hm_view){ 0 };
}
