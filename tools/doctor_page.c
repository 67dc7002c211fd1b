// SPDX-License-Identifier: Apache-2.0
#include "tools/doctor.h"

#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/estimates.h"
#include "tools/process_access.h"
#include "tools/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SITES_SHOWN = 4, GROUPS_SHOWN = 5, GAUGES_SHOWN = 5, BAR_COLUMNS = 30 };

static void print_title(const char *title)
{
	(void)printf("\n%s%s%s\n", hm_style(stdout, HM_STYLE_BOLD), title, hm_style(stdout, HM_STYLE_PLAIN));
}

/* --- Who ----------------------------------------------------------------------------------------------- */

static void print_who(const struct hm_doctor *doctor)
{
	const struct hm_profile *const profile = &doctor->view.profile;
	const char *const comm =
		doctor->is_profile ? hm_profile_comment_value(profile, "comm") : doctor->later.comm;
	const char *const pid = hm_profile_comment_value(profile, "pid");

	(void)fputs(hm_style(stdout, HM_STYLE_BOLD), stdout);
	hm_print_printable(comm != NULL ? comm : doctor->argument);
	if (pid != NULL) {
		(void)printf("[");
		hm_print_printable(pid);
		(void)printf("]");
	}
	(void)fputs(hm_style(stdout, HM_STYLE_PLAIN), stdout);
	if (doctor->sites.recorded_seconds > 0)
		(void)printf("  recorded for %s%s%s", hm_doctor_end_is_open(doctor) ? "at least " : "",
			     hm_show_duration(doctor->sites.recorded_seconds).text,
			     doctor->later.woken_realtime_ns != 0 ? " since it was woken" : "");
	if (doctor->is_asleep)
		(void)printf("  asleep: nothing is recorded");
	if (profile->period == 1)
		(void)printf(", every allocation counted");
	else if (profile->period > 1)
		(void)printf(", one sample per %s", hm_show_bytes((double)profile->period).text);
	if (doctor->pid == 0)
		(void)printf("; %s", doctor->is_profile ? "a profile"
				     : doctor->has_ended_meanwhile
					     ? "the process has ended while it was looked at"
				     : doctor->hidden_pid != 0 ? "the process cannot be looked at"
							       : "the process has ended");
	(void)printf("\n");
}

/* --- Memory -------------------------------------------------------------------------------------------- */

static void print_bar(double part)
{
	if (isatty(STDOUT_FILENO) != 1)
		return;
	(void)printf("  ");
	for (int i = 0; i < (int)(part * BAR_COLUMNS + 0.5); i++)
		(void)printf("█");
}

static void print_part(const char *name, double bytes, const char *interval, double whole)
{
	char percent[32];

	(void)snprintf(percent, sizeof(percent), "%.1f%%", whole > 0 ? 100 * bytes / whole : 0);
	(void)printf("  %-24s", name);
	hm_print_column(10, hm_show_bytes(bytes).text);
	hm_print_column(7, interval);
	hm_print_column(8, percent);
	print_bar(whole > 0 ? bytes / whole : 0);
	(void)printf("\n");
}

static void print_split_notes(const struct hm_memory_split *split)
{
	const double untouched = split->live_bytes - split->live_touched_bytes;

	if (untouched > 0.01 * split->live_bytes)
		(void)printf("  of the heap in use, %s was never touched and is not resident\n",
			     hm_show_bytes(untouched).text);
	if (split->clipped_bytes > 0)
		(void)printf("  the estimate of the live heap is %s more than its mappings hold resident%s, "
			     "and was "
			     "cut to that\n",
			     hm_show_bytes(split->clipped_bytes).text,
			     split->clipped_bytes <= hm_half_width(split->live_variance)
				     ? ", within its interval"
				     : ", which sampling does not explain");
	if (split->displaced_bytes > 0)
		(void)printf("  the mappings of the heap hold %s more than was ever allocated: the program's "
			     "own, by "
			     "sbrk or by mmap\n",
			     hm_show_bytes((double)split->displaced_bytes).text);
	if (split->swapped_bytes > 0)
		(void)printf("  beside all this, %s is swapped out\n",
			     hm_show_bytes((double)split->swapped_bytes).text);
	if (!split->has_pages)
		(void)printf("  pages could not be looked at one by one: mappings with several owners are "
			     "divided by size\n");
}

static void print_split(const struct hm_doctor *doctor)
{
	const struct hm_memory_split *const split = &doctor->split;

	for (enum hm_memory_part part = 0; part < HM_MEMORY_PARTS; part++)
		if (part != HM_MEMORY_UNRECORDED || split->parts_bytes[part] != 0)
			print_part(hm_memory_part_text(part), (double)split->parts_bytes[part],
				   part == HM_MEMORY_LIVE
					   ? hm_show_interval(split->live_bytes, split->live_variance).text
					   : "",
				   (double)split->resident_bytes);
	if (split->parts_bytes[HM_MEMORY_UNRECORDED] != 0) {
		(void)printf("  of what is not recorded, since it was allocated ");
		hm_doctor_print_unrecorded(doctor);
		(void)printf(", it is not known how much is live\n");
	}
	print_split_notes(split);
}

/* Why there is a process and no split. */
static void print_refusal(const struct hm_doctor *doctor)
{
	struct hm_refusal refusal;

	if (doctor->pid != 0 && doctor->split_error != -EACCES && doctor->split_error != -EPERM) {
		(void)printf("  what else there is cannot be told: its mappings cannot be read (%s)\n",
			     strerror(-doctor->split_error));
		return;
	}
	hm_process_explain_refusal(doctor->pid != 0 ? doctor->pid : doctor->hidden_pid, HM_ACCESS_READ,
				   &refusal);
	(void)printf("  what else there is cannot be told: %s\n", refusal.reason);
}

/* Of a process that has ended, or of which nobody may look at the memory. */
static void print_without_split(const struct hm_doctor *doctor)
{
	const struct hm_view_figures *const total = &doctor->sites.total.figures;
	const double resident_bytes = (double)doctor->memory.resident_bytes;
	const struct hm_shown interval = hm_show_interval(total->inuse_bytes, total->inuse_variance);
	const bool has_rest = doctor->has_memory && resident_bytes > total->inuse_bytes;

	print_part(hm_memory_part_text(HM_MEMORY_LIVE), total->inuse_bytes, interval.text,
		   doctor->has_memory ? resident_bytes : total->inuse_bytes);
	if (has_rest)
		print_part("all else", resident_bytes - total->inuse_bytes, "", resident_bytes);
	if (doctor->pid != 0 || doctor->hidden_pid != 0)
		print_refusal(doctor);
	else
		(void)printf(
			"  what else there was (kept by the allocator, mmap, stacks, files) only a process "
			"that runs can show\n");
}

static void print_memory(const struct hm_doctor *doctor)
{
	print_title("memory");
	if (doctor->has_memory)
		(void)printf("  %-24s%10s", "resident",
			     hm_show_bytes((double)(doctor->has_split ? doctor->split.resident_bytes
								      : doctor->memory.resident_bytes))
				     .text);
	if (doctor->has_memory && doctor->memory.peak_bytes != 0)
		(void)printf("   at its highest %s", hm_show_bytes((double)doctor->memory.peak_bytes).text);
	if (doctor->has_memory && doctor->has_split)
		(void)printf(", allocator %s", doctor->split.allocator);
	if (doctor->has_memory)
		(void)printf("\n");
	if (doctor->has_split)
		print_split(doctor);
	else
		print_without_split(doctor);
}

/* --- Places -------------------------------------------------------------------------------------------- */

struct order {
	double (*key)(const struct hm_doctor *doctor, const struct hm_site *site);
	const struct hm_doctor *doctor;
};

static double inuse_of(const struct hm_doctor *doctor, const struct hm_site *site)
{
	(void)doctor;
	return site->figures.inuse_bytes;
}

/* What is allocated in a second and does not stay: by the second look where there is one. */
static double churn_of(const struct hm_doctor *doctor, const struct hm_site *site)
{
	if (site->is_dropped)
		return 0; /* its frees are not known */
	if (doctor->look_seconds > 0)
		return site->look_freed_bytes / doctor->look_seconds;
	if (!(doctor->sites.recorded_seconds > 0))
		return 0;
	return (site->figures.alloc_bytes - site->figures.inuse_bytes) / doctor->sites.recorded_seconds;
}

static int compare_sites(const void *a, const void *b, void *context)
{
	const struct hm_site *const left = *(const struct hm_site *const *)a;
	const struct hm_site *const right = *(const struct hm_site *const *)b;
	const struct order *const order = context;
	const double keys[] = { order->key(order->doctor, left), order->key(order->doctor, right) };

	if (keys[0] != keys[1])
		return keys[0] < keys[1] ? 1 : -1;
	return strcmp(left->name, right->name);
}

/* The sites with the largest keys; returns how many have one, at most SITES_SHOWN. */
static size_t largest(const struct hm_doctor *doctor,
		      double (*key)(const struct hm_doctor *, const struct hm_site *),
		      const struct hm_site *ret_sites[SITES_SHOWN])
{
	const struct hm_sites *const sites = &doctor->sites;
	struct order order = { .key = key, .doctor = doctor };
	const struct hm_site **const sorted = calloc(sites->count + 1, sizeof(sorted[0]));
	size_t count = 0;

	if (sorted == NULL)
		abort();
	for (size_t i = 0; i < sites->count; i++)
		sorted[i] = &sites->entries[i];
	qsort_r(sorted, sites->count, sizeof(sorted[0]), compare_sites, &order);
	while (count < SITES_SHOWN && count < sites->count && key(doctor, sorted[count]) > 0) {
		ret_sites[count] = sorted[count];
		count++;
	}
	free(sorted);
	return count;
}

static void print_site(const struct hm_site *site, double first_bytes, const char *suffix)
{
	enum { TAKEN_COLUMNS = 45 };
	char first[48];
	char kept[32] = "-";
	const struct hm_view_figures *const figures = &site->figures;

	(void)snprintf(first, sizeof(first), "%s%s", hm_show_bytes(first_bytes).text, suffix);
	if (figures->alloc_bytes > 0)
		(void)snprintf(kept, sizeof(kept), "%.1f%%", 100 * hm_kept_of(figures).part);
	hm_print_column(14, first);
	hm_print_column(11, suffix[0] != '\0'
				    ? hm_show_bytes(figures->inuse_bytes).text
				    : hm_show_interval(figures->inuse_bytes, figures->inuse_variance).text);
	hm_print_column(8, kept);
	hm_print_column(10, figures->aged_bytes > 0 ? hm_show_duration(hm_mean_age_of(figures).seconds).text
						    : "-");
	hm_print_name(site->name, hm_name_columns(TAKEN_COLUMNS));
}

static void print_totals(const struct hm_doctor *doctor)
{
	const struct hm_view_figures *const total = &doctor->sites.total.figures;
	const struct hm_shown interval = hm_show_interval(total->inuse_bytes, total->inuse_variance);

	(void)printf("  %s allocated, %s%s%s in use", hm_show_bytes(total->alloc_bytes).text,
		     hm_show_bytes(total->inuse_bytes).text, interval.text[0] != '\0' ? " " : "",
		     interval.text);
	if (doctor->look_seconds > 0)
		(void)printf("; in the last %s %s/s allocated, %s/s freed",
			     hm_show_duration(doctor->look_seconds).text,
			     hm_show_bytes(doctor->sites.total.look_alloc_bytes / doctor->look_seconds).text,
			     hm_show_bytes(doctor->sites.total.look_freed_bytes / doctor->look_seconds).text);
	(void)printf("\n");
}

static void print_places(const struct hm_doctor *doctor)
{
	const struct hm_site *sites[SITES_SHOWN];
	size_t count = largest(doctor, inuse_of, sites);

	print_title("heap");
	print_totals(doctor);
	if (count > 0)
		(void)printf("%14s%11s%8s%10s  what retains\n", "in use", "", "kept%", "age");
	for (size_t i = 0; i < count; i++)
		print_site(sites[i], sites[i]->figures.inuse_bytes, "");
	count = largest(doctor, churn_of, sites);
	if (count > 0)
		(void)printf("%14s%11s%8s%10s  what churns\n", "freed", "in use", "kept%", "age");
	for (size_t i = 0; i < count; i++)
		print_site(sites[i], churn_of(doctor, sites[i]), "/s");
	for (uint32_t i = 0; i < doctor->later.gauge_count && i < GAUGES_SHOWN; i++) {
		(void)printf(i == 0 ? "  gauges: " : ", ");
		hm_print_printable(doctor->later.gauges[i].name);
		(void)printf(" %.15g", doctor->later.gauges[i].value);
	}
	if (doctor->later.gauge_count > GAUGES_SHOWN)
		(void)printf(", and %" PRIu32 " more", doctor->later.gauge_count - GAUGES_SHOWN);
	if (doctor->later.gauge_count > 0)
		(void)printf("\n");
}

/* --- Threads ------------------------------------------------------------------------------------------- */

static void print_threads(const struct hm_doctor *doctor)
{
	enum { TAKEN_COLUMNS = 38 };
	const struct hm_thread_groups *const groups = &doctor->groups;
	size_t shown_count = 0;

	if (doctor->threads.count == 0)
		return;
	print_title("threads");
	for (size_t i = 0; i < groups->count && i < GROUPS_SHOWN; i++) {
		const struct hm_thread_group *const group = &groups->entries[i];
		char state[64];
		char *name = NULL;

		(void)snprintf(state, sizeof(state), "%s%s%s", group->state,
			       group->waits_in != NULL ? " in " : "",
			       group->waits_in != NULL ? group->waits_in : "");
		if (asprintf(&name, "%s%s%s%s%s", group->where, group->where[0] != '\0' ? "  (" : "(",
			     group->name, group->has_other_names ? ", ..." : "", ")") < 0)
			abort();
		(void)printf("%8zu  %-26s", group->count, state);
		hm_print_name(name, hm_name_columns(TAKEN_COLUMNS));
		free(name);
		shown_count += group->count;
	}
	if (shown_count < doctor->threads.total_count)
		(void)printf("%8zu  elsewhere\n", doctor->threads.total_count - shown_count);

	char *const missing = hm_threads_missing_text(&doctor->threads);

	if (missing != NULL)
		(void)printf("  %s\n", missing);
	free(missing);
}

void hm_doctor_print(const struct hm_doctor *doctor)
{
	print_who(doctor);
	print_memory(doctor);
	print_places(doctor);
	print_threads(doctor);
	hm_doctor_print_verdict(doctor);
}
