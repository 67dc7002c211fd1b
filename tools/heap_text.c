// SPDX-License-Identifier: Apache-2.0
#include "tools/heap_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Where the four values of a sample are. */
struct types {
	uint32_t alloc_objects;
	uint32_t alloc_space;
	uint32_t inuse_objects;
	uint32_t inuse_space;
};

static bool find_types(const struct hm_profile *profile, struct types *ret_types)
{
	*ret_types = (struct types){
		.alloc_objects = hm_profile_find_sample_type(profile, "alloc_objects"),
		.alloc_space = hm_profile_find_sample_type(profile, "alloc_space"),
		.inuse_objects = hm_profile_find_sample_type(profile, "inuse_objects"),
		.inuse_space = hm_profile_find_sample_type(profile, "inuse_space"),
	};
	return ret_types->alloc_objects != HM_PROFILE_NONE && ret_types->alloc_space != HM_PROFILE_NONE &&
	       ret_types->inuse_objects != HM_PROFILE_NONE && ret_types->inuse_space != HM_PROFILE_NONE;
}

static void print_values(const struct hm_profile_sample *sample, const struct types *types, FILE *stream)
{
	(void)fprintf(
		stream, "%" PRId64 ": %" PRId64 " [%" PRId64 ": %" PRId64 "] @",
		hm_profile_value(sample, types->inuse_objects), hm_profile_value(sample, types->inuse_space),
		hm_profile_value(sample, types->alloc_objects), hm_profile_value(sample, types->alloc_space));
}

static void print_header(const struct hm_profile *profile, const struct types *types, FILE *stream)
{
	uint64_t sums[4] = { 0 };

	for (uint32_t i = 0; i < profile->sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile->samples[i];

		sums[0] += (uint64_t)hm_profile_value(sample, types->inuse_objects);
		sums[1] += (uint64_t)hm_profile_value(sample, types->inuse_space);
		sums[2] += (uint64_t)hm_profile_value(sample, types->alloc_objects);
		sums[3] += (uint64_t)hm_profile_value(sample, types->alloc_space);
	}
	(void)fprintf(stream, "heap profile: %" PRIu64 ": %" PRIu64 " [%" PRIu64 ": %" PRIu64 "] @ heap/2\n",
		      sums[0], sums[1], sums[2], sums[3]);
}

/* The functions at one address, the innermost inlined one first, as Go prints them: one line each. */
static void print_location(const struct hm_profile *profile, const struct hm_profile_location *location,
			   FILE *stream)
{
	if (location->line_count == 0)
		(void)fprintf(stream, "#\t%#" PRIx64 "\n", location->address);
	for (uint32_t i = 0; i < location->line_count; i++) {
		const struct hm_profile_line *const line = &location->lines[i];

		if (line->function == HM_PROFILE_NONE)
			continue;

		const struct hm_profile_function *const function = &profile->functions[line->function];
		const char *const file = hm_profile_string(profile, function->file);

		(void)fprintf(stream, "#\t%#" PRIx64 "\t%s", location->address,
			      hm_profile_string(profile, function->name));
		if (file[0] != '\0')
			(void)fprintf(stream, "\t%s:%" PRId64, file, line->line);
		(void)fputc('\n', stream);
	}
}

static void print_sample(const struct hm_profile *profile, const struct hm_profile_sample *sample,
			 const struct types *types, FILE *stream)
{
	print_values(sample, types, stream);
	/* Return addresses, of which pprof takes 1 away; a profile has the address of the call. */
	for (uint32_t i = 0; i < sample->location_count; i++)
		if (sample->locations[i] != HM_PROFILE_NONE)
			(void)fprintf(stream, " %#" PRIx64,
				      profile->locations[sample->locations[i]].address + 1);
	(void)fputc('\n', stream);
	for (uint32_t i = 0; i < sample->location_count; i++)
		if (sample->locations[i] != HM_PROFILE_NONE)
			print_location(profile, &profile->locations[sample->locations[i]], stream);
	(void)fputc('\n', stream);
}

struct order {
	const struct hm_profile *profile;
	struct types types;
};

/* As Go: by bytes in use, then by bytes allocated, then as they came. */
static int compare(const void *a, const void *b, void *context)
{
	const uint32_t left = *(const uint32_t *)a;
	const uint32_t right = *(const uint32_t *)b;
	const struct order *const order = context;
	const uint32_t types[] = { order->types.inuse_space, order->types.alloc_space };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const int64_t left_value = hm_profile_value(&order->profile->samples[left], types[i]);
		const int64_t right_value = hm_profile_value(&order->profile->samples[right], types[i]);

		if (left_value != right_value)
			return left_value < right_value ? 1 : -1;
	}
	return left < right ? -1 : left > right;
}

int hm_heap_text_print(const struct hm_profile *profile, FILE *stream)
{
	struct order order = { .profile = profile };

	if (!find_types(profile, &order.types))
		return -EBADMSG;

	uint32_t *const places = calloc((size_t)profile->sample_count + 1, sizeof(*places));

	if (places == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < profile->sample_count; i++)
		places[i] = i;
	qsort_r(places, profile->sample_count, sizeof(*places), compare, &order);
	print_header(profile, &order.types, stream);
	for (uint32_t i = 0; i < profile->sample_count; i++)
		print_sample(profile, &profile->samples[places[i]], &order.types, stream);
	(void)fprintf(stream, "\n# heapmark\n# the figures are estimates: they are not to be scaled again\n");
	for (uint32_t i = 0; i < profile->comment_count; i++)
		(void)fprintf(stream, "# %s\n", hm_profile_string(profile, profile->comments[i]));
	free(places);
	return 0;
}
