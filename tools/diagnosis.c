// SPDX-License-Identifier: Apache-2.0
#include "tools/diagnosis.h"

#include <math.h>

/* What each is for says diagnosis.h. */
static const double large_part = 1.0 / 3;
static const double large_bytes = 8 << 20;

static const double leak_part = 0.1;
static const double leak_site_part = 0.05;
static const double leak_samples = 16;
static const double leak_band_fill = 0.5;
static const double leak_band_part = 0.1;
static const double leak_freed_part = 0.5;
static const double leak_replaced_part = 0.5;
static const double leak_growth_part = 0.5;
static const double doubtful_freed_part = 0.1;
static const double doubtful_unrecorded_part = 0.5;
static const double resident_step_bytes = 256 << 10;
static const double sure_deviations = 2;
static const double sure_age_part = 0.05;

static const double retention_part = 0.5;
static const double retention_kept = 0.4;
static const double retention_turnover_seconds = 60;

static const double churn_times = 8;
static const double churn_turnover_seconds = 10;
static const double churn_bytes_per_second = 16 << 20;

const char *hm_verdict_text(enum hm_verdict verdict)
{
	static const char *const texts[] = {
		[HM_VERDICT_LEAK] = "leak",       [HM_VERDICT_RETENTION] = "retention",
		[HM_VERDICT_CHURN] = "churn",     [HM_VERDICT_FRAGMENTATION] = "fragmentation",
		[HM_VERDICT_MMAP] = "mmap",       [HM_VERDICT_THREADS] = "threads",
		[HM_VERDICT_HEALTHY] = "healthy", [HM_VERDICT_UNKNOWN] = "unknown",
	};

	return texts[verdict];
}

/* As many samples of one size and weight would be as uncertain; exact figures have no variance. */
static double samples_of(const struct hm_view_figures *figures)
{
	return figures->inuse_variance > 0
		       ? figures->inuse_bytes * figures->inuse_bytes / figures->inuse_variance
		       : INFINITY;
}

static bool has_every_age(const struct hm_sites *sites, const struct hm_site *site)
{
	uint32_t judged_count = 0;

	for (uint32_t band = 0; band < sites->band_count; band++) {
		const double part = sites->bands_part[band];

		if (part < leak_band_part)
			continue;
		judged_count++;
		if (site->bands_bytes[band] < leak_band_fill * part * site->figures.inuse_bytes)
			return false;
	}
	return judged_count >= 2;
}

/* The same of the time since its oldest was allocated. */
static bool has_every_age_of_its_own(const struct hm_site *site)
{
	const double even_bytes = site->figures.inuse_bytes / HM_BANDS_OF_LEDGER;

	for (uint32_t quarter = 0; quarter < HM_BANDS_OF_LEDGER; quarter++)
		if (site->quarters_bytes[quarter] < leak_band_fill * even_bytes)
			return false;
	return site->oldest_seconds >= HM_RECORDED_SECONDS_LEAST;
}

/* Whether it frees, by the second look, as if it would stop growing. */
static bool gives_back(const struct hm_evidence *evidence, const struct hm_site *site)
{
	const double average_bytes =
		site->figures.inuse_bytes * evidence->look_seconds / evidence->sites->recorded_seconds;
	const double old_freed_bytes = site->look_new_bytes - site->look_growth_bytes;

	return old_freed_bytes > 0 &&
	       old_freed_bytes >= leak_freed_part * fmax(site->look_new_bytes, average_bytes);
}

/* seconds: in which it came to hold what it does. */
static bool surely_grows(const struct hm_evidence *evidence, const struct hm_site *site, double seconds)
{
	const double average_bytes = site->figures.inuse_bytes * evidence->look_seconds / seconds;

	return site->look_growth_bytes > 0 && site->look_growth_bytes >= leak_growth_part * average_bytes &&
	       site->look_growth_bytes >= sure_deviations * sqrt(fmax(site->look_growth_variance, 0));
}

static double freed_times(const struct hm_site *site)
{
	return (site->figures.alloc_bytes - site->figures.inuse_bytes) / site->figures.inuse_bytes;
}

/* Whether more of it is older than a boundary between bands than of anything that is replaced. */
static bool surely_outlives(const struct hm_sites *sites, const struct hm_site *site)
{
	const double times = freed_times(site);
	const double samples = samples_of(&site->figures);
	double younger_part = 0;
	double boundary = 0;

	for (uint32_t band = 0; band + 1 < sites->band_count; band++) {
		younger_part += site->bands_bytes[band] / site->figures.inuse_bytes;
		boundary += sites->bands_part[band];

		const double older_part = fmax(1 - younger_part, 0);
		const double replaced_part = exp(-times * boundary);
		const double variance =
			(older_part * (1 - older_part) + pow(replaced_part * times * boundary, 2)) / samples;

		if (older_part > replaced_part + fmax(sure_age_part, sure_deviations * sqrt(variance)))
			return true;
	}
	return false;
}

/* Whether enough is known of it by itself. */
static bool weighs(const struct hm_sites *sites, const struct hm_site *site)
{
	return site->figures.inuse_bytes > 0 &&
	       site->figures.inuse_bytes >= leak_site_part * sites->total.figures.inuse_bytes &&
	       samples_of(&site->figures) >= leak_samples;
}

/*
 * Whether the process does not grow, though the place seems to, and may seem to without doing so.  seconds: in
 * which it came to hold what it does.
 */
static bool is_refuted(const struct hm_evidence *evidence, const struct hm_site *site, double seconds)
{
	const double inuse_bytes = site->figures.inuse_bytes;
	const double average_bytes = inuse_bytes * evidence->look_seconds / seconds;
	const bool is_doubtful =
		freed_times(site) >= doubtful_freed_part ||
		(evidence->split != NULL && (double)evidence->split->parts_bytes[HM_MEMORY_UNRECORDED] >=
						    doubtful_unrecorded_part * inuse_bytes);

	return is_doubtful && evidence->look_seconds > 0 && average_bytes >= resident_step_bytes &&
	       evidence->resident_growth_bytes < leak_growth_part * average_bytes;
}

static bool leaks(const struct hm_evidence *evidence, const struct hm_site *site)
{
	const struct hm_sites *const sites = evidence->sites;
	const bool is_of_all_ages = has_every_age(sites, site);

	if (!weighs(sites, site) || gives_back(evidence, site) ||
	    is_refuted(evidence, site, is_of_all_ages ? sites->recorded_seconds : site->oldest_seconds))
		return false;

	const bool is_hardly_freed = freed_times(site) < leak_replaced_part;

	if (is_of_all_ages)
		return is_hardly_freed || surely_grows(evidence, site, sites->recorded_seconds) ||
		       surely_outlives(sites, site);
	return is_hardly_freed && has_every_age_of_its_own(site) &&
	       surely_grows(evidence, site, site->oldest_seconds);
}

/* Those that cannot be judged one by one, as one. */
static struct hm_site sum_of_light(const struct hm_sites *sites)
{
	struct hm_site sum = { 0 };

	for (size_t i = 0; i < sites->count; i++) {
		const struct hm_site *const site = &sites->entries[i];

		if (site->is_dropped || weighs(sites, site))
			continue;
		hm_view_add(&sum.figures, &site->figures);
		for (uint32_t band = 0; band < sites->band_count; band++)
			sum.bands_bytes[band] += site->bands_bytes[band];
		sum.look_new_bytes += site->look_new_bytes;
		sum.look_growth_bytes += site->look_growth_bytes;
		sum.look_growth_variance += site->look_growth_variance;
	}
	return sum;
}

static bool leaks_or_is_light(const struct hm_evidence *evidence, const struct hm_site *site)
{
	return leaks(evidence, site) || (site->figures.inuse_bytes > 0 && !weighs(evidence->sites, site));
}

static bool retains(const struct hm_evidence *evidence, const struct hm_site *site)
{
	const double freed_bytes_per_second =
		evidence->look_seconds > 0 ? site->look_freed_bytes / evidence->look_seconds : 0;

	return site->figures.inuse_bytes > 0 &&
	       site->figures.inuse_bytes >= retention_kept * site->figures.alloc_bytes &&
	       freed_bytes_per_second * retention_turnover_seconds < site->figures.inuse_bytes;
}

/* Whether it began to grow when recording had been going on for long. */
static bool is_late(const struct hm_sites *sites, const struct hm_site *site)
{
	return weighs(sites, site) && !has_every_age(sites, site);
}

/* In a second, on average since it began to grow. */
static double growth_of(const struct hm_sites *sites, const struct hm_site *site)
{
	double bytes = 0;

	if (is_late(sites, site))
		return site->oldest_seconds > 0 ? site->figures.inuse_bytes / site->oldest_seconds : 0;
	for (uint32_t band = 0; band < sites->band_count; band++)
		bytes += site->bands_bytes[band];
	return sites->recorded_seconds > 0 ? bytes / sites->recorded_seconds : 0;
}

/* What all such places hold together, and which of them holds most. */
static struct hm_diagnosis sum_of(const struct hm_evidence *evidence,
				  bool (*holds)(const struct hm_evidence *, const struct hm_site *),
				  enum hm_verdict verdict)
{
	const struct hm_sites *const sites = evidence->sites;
	struct hm_diagnosis sum = { .verdict = verdict };

	for (size_t i = 0; i < sites->count; i++) {
		const struct hm_site *const site = &sites->entries[i];

		if (!holds(evidence, site))
			continue;
		sum.bytes += site->figures.inuse_bytes;
		sum.bytes_per_second += growth_of(sites, site);
		sum.is_late |= is_late(sites, site);
		sum.site_count++;
		if (sum.site == NULL || site->figures.inuse_bytes > sum.site->figures.inuse_bytes)
			sum.site = site;
	}
	return sum;
}

static double resident_bytes_of(const struct hm_evidence *evidence)
{
	if (evidence->split != NULL)
		return (double)evidence->split->resident_bytes;
	return evidence->resident_bytes != 0 ? (double)evidence->resident_bytes
					     : evidence->sites->total.figures.inuse_bytes;
}

bool hm_memory_is_large(const struct hm_memory_split *split, enum hm_memory_part part)
{
	const double bytes =
		(double)(part == HM_MEMORY_ANONYMOUS ? split->surely_mapped_bytes : split->parts_bytes[part]);

	for (int other = 0; other < HM_MEMORY_PARTS; other++)
		if ((double)split->parts_bytes[other] > bytes)
			return false;
	return bytes >= large_bytes && bytes >= large_part * (double)split->resident_bytes;
}

/* Without a split the live heap is the only part of which anything is known. */
static bool is_large(const struct hm_evidence *evidence, enum hm_memory_part part)
{
	const double live_bytes = evidence->sites->total.figures.inuse_bytes;

	if (evidence->split != NULL)
		return hm_memory_is_large(evidence->split, part);
	return part == HM_MEMORY_LIVE && live_bytes >= large_bytes &&
	       live_bytes >= large_part * resident_bytes_of(evidence);
}

/* Of the places, the one that allocates most, now or ever. */
static const struct hm_site *busiest_of(const struct hm_sites *sites, bool now)
{
	const struct hm_site *busiest = NULL;
	double most_bytes = 0;

	for (size_t i = 0; i < sites->count; i++) {
		const double bytes =
			now ? sites->entries[i].look_alloc_bytes : sites->entries[i].figures.alloc_bytes;

		if (bytes > most_bytes && !sites->entries[i].is_dropped) {
			most_bytes = bytes;
			busiest = &sites->entries[i];
		}
	}
	return busiest;
}

static bool find_leak(const struct hm_evidence *evidence, struct hm_diagnosis *ret_diagnosis)
{
	if (evidence->sites->recorded_seconds < HM_RECORDED_SECONDS_LEAST)
		return false;

	const struct hm_site light = sum_of_light(evidence->sites);

	*ret_diagnosis =
		sum_of(evidence, leaks(evidence, &light) ? leaks_or_is_light : leaks, HM_VERDICT_LEAK);
	return ret_diagnosis->site_count > 0 && ret_diagnosis->bytes >= large_bytes &&
	       ret_diagnosis->bytes >= leak_part * resident_bytes_of(evidence);
}

static bool find_retention(const struct hm_evidence *evidence, struct hm_diagnosis *ret_diagnosis)
{
	if (!is_large(evidence, HM_MEMORY_LIVE))
		return false;
	*ret_diagnosis = sum_of(evidence, retains, HM_VERDICT_RETENTION);
	return ret_diagnosis->site_count > 0 &&
	       ret_diagnosis->bytes >= retention_part * evidence->sites->total.figures.inuse_bytes;
}

/* Of which it is known what became of it. */
static double alloc_bytes_of(const struct hm_sites *sites)
{
	double bytes = sites->total.figures.alloc_bytes;

	for (size_t i = 0; i < sites->count; i++)
		if (sites->entries[i].is_dropped)
			bytes -= sites->entries[i].figures.alloc_bytes;
	return bytes;
}

static bool find_churn(const struct hm_evidence *evidence, struct hm_diagnosis *ret_diagnosis)
{
	const struct hm_sites *const sites = evidence->sites;
	const double inuse_bytes = sites->total.figures.inuse_bytes;
	const double alloc_bytes = alloc_bytes_of(sites);
	const bool now = evidence->look_seconds > 0;
	const double seconds = now ? evidence->look_seconds : sites->recorded_seconds;
	const double rate = seconds > 0 ? (now ? sites->total.look_alloc_bytes : alloc_bytes) / seconds : 0;

	*ret_diagnosis = (struct hm_diagnosis){
		.verdict = HM_VERDICT_CHURN,
		.site = busiest_of(sites, now),
		.bytes = rate,
	};
	if (evidence->end_is_open && sites->recorded_seconds < HM_RECORDED_SECONDS_LEAST)
		return false;
	return alloc_bytes >= churn_times * inuse_bytes && rate >= churn_bytes_per_second &&
	       rate * churn_turnover_seconds >= inuse_bytes;
}

struct hm_diagnosis hm_diagnose(const struct hm_evidence *evidence)
{
	static const struct {
		enum hm_memory_part part;
		enum hm_verdict verdict;
	} others[] = {
		{ HM_MEMORY_KEPT, HM_VERDICT_FRAGMENTATION },
		{ HM_MEMORY_UNRECORDED, HM_VERDICT_UNKNOWN },
		{ HM_MEMORY_ANONYMOUS, HM_VERDICT_MMAP },
		{ HM_MEMORY_STACKS, HM_VERDICT_THREADS },
	};
	struct hm_diagnosis diagnosis;

	if (find_leak(evidence, &diagnosis) || find_retention(evidence, &diagnosis) ||
	    find_churn(evidence, &diagnosis))
		return diagnosis;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (is_large(evidence, others[i].part))
			return (struct hm_diagnosis){
				.verdict = others[i].verdict,
				.bytes = (double)evidence->split->parts_bytes[others[i].part],
			};
	return (struct hm_diagnosis){ .verdict = HM_VERDICT_HEALTHY };
}
