// SPDX-License-Identifier: Apache-2.0
#include "tools/sites.h"

#include "tools/frame_name.h"
#include "tools/prune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double ns_per_second = 1e9;

static void *allocate(size_t count, size_t element_bytes)
{
	void *const array = calloc(count + 1, element_bytes); /* + 1: an empty one is no failure */

	if (array == NULL)
		abort();
	return array;
}

/* --- Names --------------------------------------------------------------------------------------------- */

/* A text that grows by function names. */
struct joined {
	char text[HM_SITE_FRAMES * (HM_SITE_NAME_BYTES_MAX + 4)];
	size_t length;
	uint32_t frame_count;
};

static void join(struct joined *joined, const char *name)
{
	const int length =
		snprintf(joined->text + joined->length, sizeof(joined->text) - joined->length, "%s%.*s",
			 joined->frame_count != 0 ? " < " : "", HM_SITE_NAME_BYTES_MAX, name);

	joined->length += length > 0 ? (size_t)length : 0;
	joined->frame_count++;
}

static void join_location(struct joined *joined, const struct hm_profile *profile, uint32_t location_index,
			  uint32_t first_line)
{
	const struct hm_profile_location *const location = &profile->locations[location_index];

	if (location->line_count == 0) {
		char *const name = hm_frame_module_name(profile, location->mapping);

		join(joined, name);
		free(name);
	}
	for (uint32_t line = first_line; line < location->line_count && joined->frame_count < HM_SITE_FRAMES;
	     line++) {
		const uint32_t function = location->lines[line].function;

		join(joined, function == HM_PROFILE_NONE
				     ? "<unknown>"
				     : hm_profile_string(profile, profile->functions[function].name));
	}
}

/* The caller frees. */
static char *name_of(const struct hm_profile *profile, const struct hm_prune *prune,
		     const struct hm_profile_sample *sample)
{
	struct joined joined = { .length = 0 };

	for (uint32_t i = hm_prune_innermost(prune, profile, sample);
	     i < sample->location_count && joined.frame_count < HM_SITE_FRAMES; i++)
		if (sample->locations[i] != HM_PROFILE_NONE)
			join_location(&joined, profile, sample->locations[i],
				      hm_prune_first_line(prune, profile, sample->locations[i]));
	if (joined.frame_count == 0)
		join(&joined, "<unknown>");

	char *const name = strdup(joined.text);

	if (name == NULL)
		abort();
	return name;
}

/* --- Building ------------------------------------------------------------------------------------------ */

struct named_sample {
	char *name; /* owned */
	uint32_t sample;
};

static int compare_names(const void *a, const void *b)
{
	const struct named_sample *const left = a;
	const struct named_sample *const right = b;
	const int order = strcmp(left->name, right->name);

	if (order != 0)
		return order;
	return left->sample < right->sample ? -1 : left->sample > right->sample;
}

struct unit_entry {
	uint32_t unit;
	size_t entry;
};

static int compare_units(const void *a, const void *b)
{
	const struct unit_entry *const left = a;
	const struct unit_entry *const right = b;

	return left->unit < right->unit ? -1 : left->unit > right->unit;
}

/* Bands of a profile are those of its labels, as far as the recording is long. */
static void set_bands(struct hm_sites *sites, bool is_ledger)
{
	const double seconds = sites->recorded_seconds;

	if (!(seconds > 0))
		return;
	if (is_ledger) {
		sites->band_count = HM_BANDS_OF_LEDGER;
		for (uint32_t i = 0; i < HM_BANDS_OF_LEDGER; i++)
			sites->bands_part[i] = 1.0 / HM_BANDS_OF_LEDGER;
		return;
	}
	for (uint32_t age = 0; age < HM_AGE_COUNT && hm_age_seconds[age] < seconds; age++) {
		const double end = age + 1 < HM_AGE_COUNT ? fmin(hm_age_seconds[age + 1], seconds) : seconds;

		sites->bands_part[age] = (end - hm_age_seconds[age]) / seconds;
		sites->band_count = age + 1;
	}
}

/* The mean age of a sample's bytes lies in the band that all of them lie in. */
static void add_labelled(struct hm_sites *sites, struct hm_site *site, const struct hm_view_figures *figures)
{
	if (sites->band_count == 0 || !(figures->aged_bytes > 0))
		return;

	const double mean_seconds = figures->age_byte_seconds / figures->aged_bytes;
	const uint32_t age = hm_age_of((uint64_t)(fmin(mean_seconds, INT32_MAX) * ns_per_second));
	const uint32_t band = age < sites->band_count ? age : sites->band_count - 1;

	site->bands_bytes[band] += figures->aged_bytes;
	sites->total.bands_bytes[band] += figures->aged_bytes;
}

static void add_samples(struct hm_sites *sites, const struct hm_view *view, struct named_sample *named)
{
	struct unit_entry *const pairs = allocate(view->profile.sample_count, sizeof(pairs[0]));

	for (uint32_t i = 0; i < view->profile.sample_count; i++) {
		const uint32_t sample = named[i].sample;
		const struct hm_view_figures *const figures = &view->samples[sample];

		if (i == 0 || strcmp(named[i].name, sites->entries[sites->count - 1].name) != 0)
			sites->entries[sites->count++].name = named[i].name;
		else
			free(named[i].name);

		struct hm_site *const site = &sites->entries[sites->count - 1];

		site->is_dropped = strcmp(site->name, "[dropped]") == 0;
		hm_view_add(&site->figures, figures);
		hm_view_add(&sites->total.figures, figures);
		if (view->stack_units == NULL)
			add_labelled(sites, site, figures);
		else
			pairs[sites->unit_count++] =
				(struct unit_entry){ view->stack_units[sample], sites->count - 1 };
	}
	qsort(pairs, sites->unit_count, sizeof(pairs[0]), compare_units);
	for (size_t i = 0; i < sites->unit_count; i++) {
		sites->units[i] = pairs[i].unit;
		sites->of_unit[i] = pairs[i].entry;
	}
	free(pairs);
}

int hm_sites_build(const struct hm_view *view, double recorded_seconds, struct hm_sites *ret_sites)
{
	const struct hm_profile *const profile = &view->profile;
	const uint32_t count = profile->sample_count;
	struct named_sample *const named = allocate(count, sizeof(named[0]));
	struct hm_sites sites = { .recorded_seconds = recorded_seconds };
	struct hm_prune prune;
	const int error = hm_prune_init(profile, profile, &prune);

	sites.entries = allocate(count, sizeof(sites.entries[0]));
	sites.units = allocate(count, sizeof(sites.units[0]));
	sites.of_unit = allocate(count, sizeof(sites.of_unit[0]));
	set_bands(&sites, view->stack_units != NULL);
	for (uint32_t i = 0; i < count; i++)
		named[i] = (struct named_sample){ name_of(profile, &prune, &profile->samples[i]), i };
	qsort(named, count, sizeof(named[0]), compare_names);
	add_samples(&sites, view, named);
	hm_prune_done(&prune);
	free(named);
	*ret_sites = sites;
	return error;
}

/* The site of a stack, or NULL where the view did not have it: all its values are zero. */
static struct hm_site *site_of(struct hm_sites *sites, uint32_t unit)
{
	size_t low = 0;
	size_t high = sites->unit_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (sites->units[middle] < unit)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sites->unit_count && sites->units[low] == unit ? &sites->entries[sites->of_unit[low]]
								    : NULL;
}

static double bytes_of_live(const struct hm_snapshot_live *live)
{
	return (double)live->weight * (double)live->size_bytes;
}

/* NULL where the view did not have it. */
static struct hm_site *site_of_live(struct hm_sites *sites, const struct hm_snapshot *snapshot,
				    const struct hm_snapshot_live *live)
{
	return site_of(sites, snapshot->stacks[live->stack_index].unit);
}

static uint32_t quarter_of(double part)
{
	return part < 1 ? (uint32_t)(part * HM_BANDS_OF_LEDGER) : HM_BANDS_OF_LEDGER - 1;
}

/* What is as old as the recording may seem older: ages are counted in ticks, and so is when it began. */
static bool is_recorded(const struct hm_sites *sites, double age_seconds)
{
	return age_seconds <= sites->recorded_seconds + 2.0 / HM_TICKS_PER_SECOND;
}

void hm_sites_add_ages(struct hm_sites *sites, const struct hm_snapshot *snapshot)
{
	if (sites->band_count == 0)
		return;
	for (uint64_t i = 0; i < snapshot->live_count; i++) {
		const struct hm_snapshot_live *const live = &snapshot->live[i];
		struct hm_site *const site = site_of_live(sites, snapshot, live);
		const double seconds = (double)live->age_ns / ns_per_second;
		const double bytes = is_recorded(sites, seconds) ? bytes_of_live(live) : 0;
		const uint32_t band = quarter_of(seconds / sites->recorded_seconds);

		sites->total.bands_bytes[band] += bytes;
		if (site == NULL)
			continue;
		site->bands_bytes[band] += bytes;
		site->oldest_seconds = fmax(site->oldest_seconds, seconds);
	}
	for (uint64_t i = 0; i < snapshot->live_count; i++) {
		const struct hm_snapshot_live *const live = &snapshot->live[i];
		struct hm_site *const site = site_of_live(sites, snapshot, live);

		if (site != NULL && site->oldest_seconds > 0)
			site->quarters_bytes[quarter_of((double)live->age_ns / ns_per_second /
							site->oldest_seconds)] += bytes_of_live(live);
	}
}

static double bytes_of(const struct hm_figures *figures)
{
	return (double)figures->bytes_fixed / (1 << HM_BYTES_FRACTION_BITS);
}

static void add_difference(struct hm_site *site, const struct hm_snapshot_stack *stack,
			   const struct hm_figures *alloc, const struct hm_figures *inuse)
{
	const double alloc_bytes = fmax(bytes_of(&stack->alloc) - bytes_of(alloc), 0);
	const double growth_bytes = bytes_of(&stack->inuse) - bytes_of(inuse);

	site->look_alloc_bytes += alloc_bytes;
	site->look_freed_bytes += fmax(alloc_bytes - growth_bytes, 0);
	site->look_growth_bytes += growth_bytes;
	site->look_growth_variance -= stack->inuse.bytes_variance - inuse->bytes_variance;
}

static void add_counters(struct hm_sites *sites, const struct hm_snapshot *earlier,
			 const struct hm_snapshot *later)
{
	static const struct hm_figures nothing;
	uint32_t next = 0;

	for (uint32_t i = 0; i < later->stack_count; i++) {
		const struct hm_snapshot_stack *const stack = &later->stacks[i];

		while (next < earlier->stack_count && earlier->stacks[next].unit < stack->unit)
			next++;
		if (stack->kind == HM_STACK_DROPPED)
			continue; /* counted as freed at once, which is not known */

		const bool was_there =
			next < earlier->stack_count && earlier->stacks[next].unit == stack->unit;
		const struct hm_figures *const alloc = was_there ? &earlier->stacks[next].alloc : &nothing;
		const struct hm_figures *const inuse = was_there ? &earlier->stacks[next].inuse : &nothing;
		struct hm_site *const site = site_of(sites, stack->unit);

		add_difference(&sites->total, stack, alloc, inuse);
		if (site != NULL)
			add_difference(site, stack, alloc, inuse);
	}
}

static void add_new(struct hm_site *site, double bytes, double variance)
{
	site->look_new_bytes += bytes;
	site->look_growth_variance += 2 * variance;
}

/*
 * What is new and stayed, N, less what was there and was freed, F, is the growth.  Blocks that came and went
 * between the looks are in neither, so the variance of the growth is V(N) + V(F), where V(N) - V(F) is by how
 * much that of what is in use has grown: 2 V(N) less that.
 */
void hm_sites_add_look(struct hm_sites *sites, const struct hm_snapshot *earlier,
		       const struct hm_snapshot *later)
{
	const uint64_t look_ns =
		later->realtime_ns > earlier->realtime_ns ? later->realtime_ns - earlier->realtime_ns : 0;

	add_counters(sites, earlier, later);
	for (uint64_t i = 0; i < later->live_count; i++) {
		const struct hm_snapshot_live *const live = &later->live[i];
		struct hm_site *const site = site_of_live(sites, later, live);
		const double size = (double)live->size_bytes;
		const double variance = size * size * (double)live->weight * ((double)live->weight - 1);

		if (live->age_ns >= look_ns)
			continue;
		add_new(&sites->total, bytes_of_live(live), variance);
		if (site != NULL)
			add_new(site, bytes_of_live(live), variance);
	}
}

void hm_sites_done(struct hm_sites *sites)
{
	for (size_t i = 0; i < sites->count; i++)
		free(sites->entries[i].name);
	free(sites->entries);
	free(sites->units);
	free(sites->of_unit);
	*sites = (struct hm_sites){ 0 };
}
