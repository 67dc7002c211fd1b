// SPDX-License-Identifier: Apache-2.0
/* The last lines of `heapmark doctor`: the verdict, why, and what to type next. */
#include "tools/doctor.h"

#include "tools/cli.h"
#include "tools/estimates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

/* Between the one word and the other one of a list; so far `count` were printed. */
static void print_cause(const char *text, bool holds, unsigned int *count)
{
	if (holds)
		(void)printf("%s%s", (*count)++ > 0 ? ", or " : "", text);
}

void hm_doctor_print_unrecorded(const struct hm_doctor *doctor)
{
	unsigned int count = 0;

	print_cause("asleep", doctor->later.asleep_bytes != 0, &count);
	print_cause("by the process that this one was forked from", doctor->later.inherited_bytes != 0,
		    &count);
	print_cause("when there was no room in the ledger", doctor->later.losses[HM_LOSS_LIVE] != 0, &count);
}

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
		hm_print_printable(site->name);
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
		hm_doctor_print_unrecorded(doctor);
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

void hm_doctor_print_verdict(const struct hm_doctor *doctor)
{
	(void)printf("\n%sverdict  %s%s: ", hm_style(stdout, HM_STYLE_BOLD),
		     hm_verdict_text(doctor->diagnosis.verdict), hm_style(stdout, HM_STYLE_PLAIN));
	print_reason(doctor);
	print_basis(doctor);
	(void)printf("\nnext     ");
	print_next(doctor);
	(void)printf("\n");
}
