// SPDX-License-Identifier: Apache-2.0
#include "tools/view.h"

#include "proto/ages.h"
#include "proto/profile_comments.h"
#include "tools/ledger.h"
#include "tools/profile_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

static bool counts_bytes(const struct hm_profile *profile, uint32_t type)
{
	return strcmp(hm_profile_string(profile, profile->sample_types[type].unit), "bytes") == 0;
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
	/* Of several, the longest: rather too wide an interval than one too narrow. */
	const double interval_bytes = (double)hm_profile_comment_intervals(profile).longest_bytes;

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

/* The label of live samples (proto/ages.h); false where there is none. */
static bool find_age(const struct hm_profile *profile, const struct hm_profile_sample *sample,
		     int64_t *ret_seconds)
{
	for (uint32_t i = 0; i < sample->label_count; i++) {
		const struct hm_profile_label *const label = &sample->labels[i];

		if (label->text != 0 || label->number < 0 ||
		    strcmp(hm_profile_string(profile, label->key), HM_AGE_LABEL) != 0 ||
		    strcmp(hm_profile_string(profile, label->unit), HM_AGE_UNIT) != 0)
			continue;
		*ret_seconds = label->number;
		return true;
	}
	return false;
}

/*
 * A label says between which two bounds an age lies, a comment where in between they lie on average.  Ages
 * are taken to be spread evenly over the whole width: their variance is then width^2/12 about the mean.
 */
static void fill_ages(struct hm_view *view)
{
	double means_seconds[HM_AGE_COUNT];

	hm_profile_comment_ages(&view->profile, means_seconds);
	for (uint32_t i = 0; i < view->profile.sample_count; i++) {
		struct hm_view_figures *const figures = &view->samples[i];
		int64_t seconds = 0;

		if (!find_age(&view->profile, &view->profile.samples[i], &seconds))
			continue;

		const uint32_t age =
			hm_age_of((uint64_t)(seconds < INT32_MAX ? seconds : INT32_MAX) * 1000000000);
		const double mean =
			means_seconds[age] >= (double)seconds ? means_seconds[age] : (double)seconds;
		const double width = age + 1 < HM_AGE_COUNT
					     ? hm_age_seconds[age + 1] - (double)hm_age_seconds[age]
					     : 2 * (mean - (double)seconds);

		figures->aged_bytes = figures->inuse_bytes;
		figures->age_byte_seconds = figures->inuse_bytes * mean;
		figures->aged_variance = figures->inuse_variance;
		figures->aged_variance_seconds = figures->inuse_variance * mean;
		figures->aged_variance_seconds2 =
			figures->inuse_variance * (mean * mean + width * width / 12);
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
	if (!counts_bytes(&view->profile, types.alloc_space) ||
	    !counts_bytes(&view->profile, types.inuse_space)) {
		*ret_reason = "alloc_space and inuse_space are not in bytes, as those of a heap profile are";
		return -EBADMSG;
	}
	fill_from_profile(view, &types);
	fill_ages(view);
	return 0;
}

static void set_ages(struct hm_view_figures *figures, const struct hm_age_sum *sum)
{
	figures->aged_bytes = (double)sum->bytes_fixed / (1 << HM_BYTES_FRACTION_BITS);
	figures->age_byte_seconds = sum->byte_seconds;
	figures->aged_variance = sum->variance;
	figures->aged_variance_seconds = sum->variance_seconds;
	figures->aged_variance_seconds2 = sum->variance_seconds2;
}

/*
 * What the ledger knows better than the profile that was made of it.  The variance is known for a stack as a
 * whole and goes to its first sample: a stack's samples are shown in the same rows.
 */
static void add_from_snapshot(struct hm_view *view, const struct hm_snapshot *snapshot,
			      const uint32_t *stacks)
{
	for (uint32_t i = 0; i < view->profile.sample_count; i++) {
		const struct hm_snapshot_stack *const stack = &snapshot->stacks[stacks[i]];
		const bool is_first = i == 0 || stacks[i] != stacks[i - 1];
		struct hm_view_figures *const figures = &view->samples[i];
		int64_t seconds = 0;
		uint32_t count = 0;
		const struct hm_age_sum *const sums = hm_ages_of_stack(snapshot, stacks[i], &count);

		figures->alloc_variance = is_first ? stack->alloc.bytes_variance : 0;
		figures->inuse_variance = is_first ? stack->inuse.bytes_variance : 0;
		if (!find_age(&view->profile, &view->profile.samples[i], &seconds))
			continue;
		for (uint32_t k = 0; k < count; k++)
			if (hm_age_seconds[sums[k].age] == seconds)
				set_ages(figures, &sums[k]);
	}
}

/* Makes the profile in a file that has no name, and reads it back. */
static int convert(const struct hm_snapshot *snapshot, const struct hm_input *input, uint32_t *ret_stacks,
		   struct hm_view *view, const char **ret_reason)
{
	struct hm_symbols symbols;
	struct hm_profile_plan plan;
	int descriptor = memfd_create("heapmark", MFD_CLOEXEC);
	int error = descriptor >= 0 ? 0 : -errno;

	hm_symbols_init(&symbols);
	hm_profile_plan(&plan, &symbols, snapshot, input->descriptor, input->pid);
	plan.options.ret_stacks = ret_stacks;
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

int hm_view_of_snapshot(const struct hm_snapshot *snapshot, const struct hm_input *input,
			struct hm_view *ret_view, const char **ret_reason)
{
	struct hm_view view = { .is_exact = true, .is_damaged = hm_ledger_is_damaged(snapshot) };

	view.stack_units = allocate_array((size_t)snapshot->stack_count + snapshot->age_count,
					  sizeof(view.stack_units[0]));

	const int error = convert(snapshot, input, view.stack_units, &view, ret_reason);

	if (error != 0) {
		hm_view_done(&view);
		return error;
	}
	add_from_snapshot(&view, snapshot, view.stack_units);
	for (uint32_t i = 0; i < view.profile.sample_count; i++)
		view.stack_units[i] = snapshot->stacks[view.stack_units[i]].unit;
	*ret_view = view;
	return 0;
}

static int load_ledger(const struct hm_input *input, struct hm_view *ret_view, const char **ret_reason)
{
	struct hm_snapshot snapshot = { 0 };
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	int error = hm_ledger_snapshot(input->descriptor, input->pid != 0, HM_LEDGER_AGES, &snapshot, &fault);

	if (error != 0) {
		*ret_reason =
			fault == HM_SNAPSHOT_UNREADABLE ? strerror(-error) : hm_snapshot_fault_text(fault);
		return error;
	}
	error = hm_view_of_snapshot(&snapshot, input, ret_view, ret_reason);
	hm_snapshot_done(&snapshot);
	return error;
}

int hm_view_load(const struct hm_input *input, struct hm_view *ret_view, const char **ret_reason)
{
	struct hm_view view = { 0 };

	if (input->kind == HM_INPUT_LEDGER)
		return load_ledger(input, ret_view, ret_reason);

	const int error = load_profile(input->descriptor, &view, ret_reason);

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
	free(view->stack_units);
	*view = (struct hm_view){ 0 };
}
