// SPDX-License-Identifier: Apache-2.0
#include "tools/doctor.h"

#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/estimates.h"
#include "tools/process_access.h"
#include "tools/table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SITES_SHOWN = 4, GROUPS_SHOWN = 5, GAUGES_SHOWN = 5, BAR_COLUMNS = 30 };

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void print_title(const char *title)
{
	(void)printf("\n%s%s%s\n", hm_style(stdout, HM_STYLE_BOLD), title, hm_style(stdout, HM_STYLE_PLAIN));
}

static void print_printable(const char *text)
{
	char *const copy = strdup(text);

	if (copy == NULL)
		abort();
	hm_make_printable(copy);
	(void)fputs(copy, stdout);
	free(copy);
}

/* --- Who ----------------------------------------------------------------------------------------------- */

static void print_who(const struct hm_doctor *doctor)
{
	const struct hm_profile *const profile = &doctor->view.profile;
	const char *const comm =
		doctor->is_profile ? hm_profile_comment_value(profile, "comm") : doctor->later.comm;
	const char *const pid = hm_profile_comment_value(profile, "pid");

	(void)fputs(hm_style(stdout, HM_STYLE_BOLD), stdout);
	print_printable(comm != NULL ? comm : doctor->argument);
	if (pid != NULL) {
		(void)printf("[");
		print_printable(pid);
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

/* Between the one word and the other one of a list; so far `count` were printed. */
static void print_cause(const char *text, bool holds, unsigned int *count)
{
	if (holds)
		(void)printf("%s%s", (*count)++ > 0 ? ", or " : "", text);
}

static void print_unrecorded_causes(const struct hm_doctor *doctor)
{
	unsigned int count = 0;

	print_cause("asleep", doctor->later.asleep_bytes != 0, &count);
	print_cause("by the process that this one was forked from", doctor->later.inherited_bytes != 0,
		    &count);
	print_cause("when there was no room in the ledger", doctor->later.losses[HM_LOSS_LIVE] != 0, &count);
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
		print_unrecorded_causes(doctor);
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
		print_printable(doctor->later.gauges[i].name);
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

/* --- Verdict ------------------------------------------------------------------------------------------- */

/* By HEAPMARK_MMAP=1; 0: they are not counted, or there are none. */
static uint64_t counted_mappings_bytes(const struct hm_doctor *doctor)
{
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < doctor->later.live_count; i++)
		if (doctor->later.live[i].mapped)
			bytes += doctor->later.live[i].size_bytes;
	return bytes;
}

static void print_site_name(const struct hm_site *site)
{
	if (site != NULL)
		print_printable(site->name);
}

/* What the heap had in use at its highest and has not now may still be there, and not known for what it is. */
static void print_mapped(const struct hm_doctor *doctor, const char *bytes)
{
	const struct hm_figures peak = hm_snapshot_sum(&doctor->later).peak;
	const double peak_bytes = (double)hm_bytes_round(peak.bytes_fixed);
	const double freed_bytes = peak_bytes - doctor->split.live_bytes;

	if (doctor->split.knows_free || freed_bytes < doctor->diagnosis.bytes / 2)
		(void)printf("%s is anonymous memory that does not come from malloc", bytes);
	else
		(void)printf("%s is anonymous memory without a live block of malloc's: the program's own "
			     "mappings, or "
			     "free memory of the allocator (%s), which once had %s in use",
			     bytes, doctor->split.allocator, hm_show_bytes(peak_bytes).text);
}

/* What a leak or retention holds: more may be live than is resident. */
static void print_held(const struct hm_doctor *doctor)
{
	const double bytes = doctor->diagnosis.bytes;
	const double resident_bytes = (double)doctor->split.parts_bytes[HM_MEMORY_LIVE];

	(void)printf("%s", hm_show_bytes(bytes).text);
	if (doctor->has_split && bytes - hm_half_width(doctor->split.live_variance) > 1.01 * resident_bytes)
		(void)printf(", of which no more than %s is resident,", hm_show_bytes(resident_bytes).text);
}

/* What the second between the looks says of all that is live. */
static const char *growth_text(const struct hm_doctor *doctor, char *ret_text, size_t text_bytes)
{
	const struct hm_site *const total = &doctor->sites.total;

	if (!(doctor->look_seconds > 0))
		return "; whether it grows can only be seen in a process that runs and records";
	if (total->look_growth_bytes <= hm_half_width(fmax(total->look_growth_variance, 0)))
		return ", and did not grow while it was looked at";
	(void)snprintf(ret_text, text_bytes, ", though what is live grew by %s/s while it was looked at",
		       hm_show_bytes(total->look_growth_bytes / doctor->look_seconds).text);
	return ret_text;
}

/* The live heap may be large and well. */
static void print_healthy(const struct hm_doctor *doctor)
{
	const struct hm_memory_split *const split = &doctor->split;

	if (hm_doctor_end_is_open(doctor) && doctor->sites.recorded_seconds < HM_RECORDED_SECONDS_LEAST) {
		(void)printf(
			"no leak or retention in the heap, as far as a file can tell; whether it churned "
			"cannot be told: it may have lived for longer than it is known to");
		return;
	}
	(void)printf("no leak, retention or churn");
	if (!doctor->has_split) {
		(void)printf(" in the heap, as far as a file can tell");
		return;
	}
	for (enum hm_memory_part part = HM_MEMORY_LIVE + 1; part < HM_MEMORY_PARTS; part++) {
		if (!hm_memory_is_large(split, part))
			continue;
		(void)printf("; the largest part of what is resident is %s, %s", hm_memory_part_text(part),
			     hm_show_bytes((double)split->parts_bytes[part]).text);
		return;
	}
	(void)printf(", and nothing else that is large");
}

static void print_reason(const struct hm_doctor *doctor)
{
	const struct hm_diagnosis *const diagnosis = &doctor->diagnosis;
	const struct hm_shown shown = hm_show_bytes(diagnosis->bytes);
	const char *const bytes = shown.text;
	char growth[128];

	switch (diagnosis->verdict) {
	case HM_VERDICT_LEAK:
		print_held(doctor);
		(void)printf(
			"%s is not freed, %s/s since %s: a leak, or what is still filling, in %zu place%s; "
			"most in ",
			diagnosis->is_late ? "" : " of objects of every age",
			hm_show_bytes(diagnosis->bytes_per_second).text,
			diagnosis->is_late                     ? "it began to grow"
			: doctor->later.woken_realtime_ns != 0 ? "it was woken"
							       : "recording began",
			diagnosis->site_count, plural(diagnosis->site_count));
		print_site_name(diagnosis->site);
		break;
	case HM_VERDICT_RETENTION:
		print_held(doctor);
		(void)printf(" is held by what was built and stays, in %zu place%s%s; most in ",
			     diagnosis->site_count, plural(diagnosis->site_count),
			     growth_text(doctor, growth, sizeof(growth)));
		print_site_name(diagnosis->site);
		break;
	case HM_VERDICT_CHURN:
		(void)printf("%s/s allocated, and %s so far for %s in use; most in ", bytes,
			     hm_show_bytes(doctor->sites.total.figures.alloc_bytes).text,
			     hm_show_bytes(doctor->sites.total.figures.inuse_bytes).text);
		print_site_name(diagnosis->site);
		break;
	case HM_VERDICT_FRAGMENTATION:
		(void)printf(
			"%s is free, but kept by the allocator (%s): holes between what is in use, or not "
			"given back yet",
			bytes, doctor->split.allocator);
		break;
	case HM_VERDICT_MMAP:
		print_mapped(doctor, bytes);
		if (counted_mappings_bytes(doctor) > 0)
			(void)printf("; the program has mapped %s, by the stacks above",
				     hm_show_bytes((double)counted_mappings_bytes(doctor)).text);
		break;
	case HM_VERDICT_THREADS:
		(void)printf("%s is the stacks of %zu threads", bytes, doctor->threads.total_count);
		break;
	case HM_VERDICT_UNKNOWN:
		(void)printf("%s may be live or free: it was not recorded, since it was allocated ", bytes);
		print_unrecorded_causes(doctor);
		break;
	case HM_VERDICT_HEALTHY:
		print_healthy(doctor);
	}
}

/* A verdict without a split is one about the heap. */
static void print_basis(const struct hm_doctor *doctor)
{
	const double live_bytes = doctor->sites.total.figures.inuse_bytes;
	const double resident_bytes = (double)doctor->memory.resident_bytes;

	if (doctor->has_split)
		return;
	(void)printf("\n         this rests on the heap alone; of the rest");
	if (doctor->has_memory && resident_bytes > live_bytes)
		(void)printf(", %s of %s that was resident,", hm_show_bytes(resident_bytes - live_bytes).text,
			     hm_show_bytes(resident_bytes).text);
	(void)printf(" nothing is known");
}

/* Whether somebody can say what the parent holds: it may be another one now, of a child whose own has ended. */
static bool is_recorded(pid_t pid)
{
	struct hm_process_ledger ledger;

	if (pid <= 1 || hm_process_open_ledger(pid, &ledger) != 0)
		return false;
	(void)close(ledger.descriptor);
	return true;
}

static void print_next_of_unknown(const struct hm_doctor *doctor)
{
	const pid_t parent = hm_process_parent(doctor->pid);

	if (doctor->is_asleep)
		(void)printf(
			"heapmark rate %d 64K wakes it: what is allocated from then on is seen; all of it "
			"where it is started with HEAPMARK_RATE=64K",
			(int)doctor->pid);
	else if (doctor->later.losses[HM_LOSS_LIVE] != 0)
		(void)printf(
			"start it with a larger HEAPMARK_MAX or HEAPMARK_RATE, so that there is room for "
			"all that is live");
	else if (doctor->later.inherited_bytes != 0 && is_recorded(parent))
		(void)printf("heapmark doctor %d says what its parent holds", (int)parent);
	else
		(void)printf("start it with HEAPMARK_RATE=64K%s, to see all of it",
			     doctor->later.inherited_bytes != 0 ? ", and so that it does not go on in a child"
								: "");
}

static void print_next(const struct hm_doctor *doctor)
{
	char *const argument =
		hm_shell_quote(doctor->left_path[0] != '\0' ? doctor->left_path : doctor->argument);

	switch (doctor->diagnosis.verdict) {
	case HM_VERDICT_LEAK:
		if (doctor->pid != 0)
			(void)printf("heapmark dump -o before.pb.gz %d; later: heapmark diff before.pb.gz %d",
				     (int)doctor->pid, (int)doctor->pid);
		else
			(void)printf("heapmark top --by age %s", argument);
		break;
	case HM_VERDICT_RETENTION:
		(void)printf("heapmark top --by kept %s", argument);
		break;
	case HM_VERDICT_CHURN:
		(void)printf("heapmark top --by alloc %s", argument);
		break;
	case HM_VERDICT_FRAGMENTATION:
		if (strcmp(doctor->split.allocator, "glibc") == 0)
			(void)printf(
				"gdb -batch -p %d -ex 'call (int)malloc_trim(0)' gives back what can be; "
				"MALLOC_ARENA_MAX=2 keeps less",
				(int)doctor->pid);
		else
			(void)printf("heapmark top --by alloc %s shows who left the holes", argument);
		break;
	case HM_VERDICT_MMAP:
		if (counted_mappings_bytes(doctor) > 0)
			(void)printf("heapmark dump -o maps.pb.gz %d; go tool pprof -tagfocus=kind=mmap "
				     "maps.pb.gz",
				     (int)doctor->pid);
		else
			(void)printf("start it with HEAPMARK_MMAP=1 to see who maps it; of this one, strace "
				     "-f -k -e trace=mmap,munmap -p %d shows who does from now on",
				     (int)doctor->pid);
		break;
	case HM_VERDICT_THREADS:
		(void)printf("ulimit -s, or pthread_attr_setstacksize, for smaller stacks; fewer threads");
		break;
	case HM_VERDICT_UNKNOWN:
		print_next_of_unknown(doctor);
		break;
	case HM_VERDICT_HEALTHY:
		(void)printf("heapmark top %s%s", argument,
			     doctor->has_split ? ""
					       : "; heapmark doctor PID, while it runs, shows the rest too");
	}
	free(argument);
}

void hm_doctor_print(const struct hm_doctor *doctor)
{
	print_who(doctor);
	print_memory(doctor);
	print_places(doctor);
	print_threads(doctor);
	(void)printf("\n%sverdict  %s%s: ", hm_style(stdout, HM_STYLE_BOLD),
		     hm_verdict_text(doctor->diagnosis.verdict), hm_style(stdout, HM_STYLE_PLAIN));
	print_reason(doctor);
	print_basis(doctor);
	(void)printf("\nnext     ");
	print_next(doctor);
	(void)printf("\n");
}
