// SPDX-License-Identifier: Apache-2.0
/* heapmark check: is a file what it should be, what is in it, and what was lost on the way? */
#include "proto/profile_check.h"
#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/input.h"
#include "tools/ledger.h"
#include "tools/verb.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *format_printable(const char *format, va_list arguments)
{
	char *text = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		abort();
	hm_make_printable(text);
	return text;
}

/* A line of the answer, unless -q. */
static void print_fact(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_fact(const char *name, const char *format, ...)
{
	va_list arguments;

	if (hm_is_quiet())
		return;
	va_start(arguments, format);
	char *const text = format_printable(format, arguments);

	va_end(arguments);
	(void)printf("  %-13s %s\n", name, text);
	free(text);
}

/* What is wrong: printed even when quiet. */
static void print_finding(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void print_finding(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *const text = format_printable(format, arguments);

	va_end(arguments);
	(void)printf("%s%s%s\n", hm_style(stdout, HM_STYLE_RED), text, hm_style(stdout, HM_STYLE_PLAIN));
	free(text);
}

static void print_title(const char *path, const char *kind)
{
	if (!hm_is_quiet())
		(void)printf("%s%s%s: %s\n", hm_style(stdout, HM_STYLE_BOLD), path,
			     hm_style(stdout, HM_STYLE_PLAIN), kind);
}

/* What a user may want to know, and that makes nothing broken: not printed when quiet. */
static void print_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void print_hint(const char *format, ...)
{
	va_list arguments;

	if (hm_is_quiet())
		return;
	va_start(arguments, format);
	char *const text = format_printable(format, arguments);

	va_end(arguments);
	(void)printf("%s%s%s\n", hm_style(stdout, HM_STYLE_YELLOW), text, hm_style(stdout, HM_STYLE_PLAIN));
	free(text);
}

static int conclude(const char *path, uint64_t finding_count, uint64_t hint_count)
{
	if (finding_count == 0) {
		print_fact("verdict", "good%s", hint_count > 0 ? ", with hints" : "");
		return HM_EXIT_DONE;
	}
	print_finding("%s: broken: %" PRIu64 " finding%s", path, finding_count,
		      finding_count == 1 ? "" : "s");
	return HM_EXIT_FOUND;
}

static struct hm_shown time_text(uint64_t realtime_ns)
{
	const time_t seconds = (time_t)(realtime_ns / 1000000000);
	struct hm_shown text = { "unknown" };
	struct tm parts;

	if (realtime_ns != 0 && localtime_r(&seconds, &parts) != NULL)
		(void)strftime(text.text, sizeof(text.text), "%Y-%m-%d %H:%M:%S %z", &parts);
	return text;
}

/* `longest_bytes`: that samples were drawn with before the rate was changed, where it was. */
static void print_rate(uint64_t interval_bytes, uint64_t longest_bytes, bool slept)
{
	if (interval_bytes == 0)
		print_fact("rate", "0: asleep");
	else if (interval_bytes == 1)
		print_fact("rate", "1: every allocation%s",
			   longest_bytes <= 1 && !slept ? ", figures are exact" : "");
	else
		print_fact("rate", "one sample for %s on average",
			   hm_show_bytes((double)interval_bytes).text);
	if (longest_bytes > 1 && longest_bytes > interval_bytes)
		print_fact("rate before", "up to %s to a sample on average: figures are estimates",
			   hm_show_bytes((double)longest_bytes).text);
	if (slept)
		print_fact("asleep", "at times: what was allocated meanwhile is not among the figures");
}

static void print_figures(const char *name, const struct hm_figures *figures)
{
	const int64_t objects = hm_objects_round(figures->objects_fixed);
	const int64_t bytes = hm_bytes_round(figures->bytes_fixed);

	print_fact(name, "%" PRId64 " objects %s, %" PRId64 " bytes (%s) %s", objects,
		   hm_show_interval((double)objects, figures->objects_variance).text, bytes,
		   hm_show_bytes((double)bytes).text,
		   hm_show_interval((double)bytes, figures->bytes_variance).text);
}

static const char *process_state(const struct hm_snapshot *snapshot, const struct hm_input *input)
{
	if (input->pid != 0)
		return "running";
	return snapshot->finished ? "came to its normal end" : "gone before its normal end";
}

static void print_ledger(const struct hm_snapshot *snapshot, const struct hm_input *input)
{
	const struct hm_snapshot_totals totals = hm_snapshot_sum(snapshot);
	double live_bytes = 0;

	for (uint64_t i = 0; i < snapshot->live_count; i++)
		live_bytes += (double)snapshot->live[i].size_bytes * (double)snapshot->live[i].weight;
	print_fact("process", "%s[%" PRIu32 "], %s", snapshot->comm, snapshot->pid,
		   process_state(snapshot, input));
	print_fact("executable", "%s", snapshot->executable[0] != '\0' ? snapshot->executable : "unknown");
	print_fact("started", "%s", time_text(snapshot->start_realtime_ns).text);
	print_fact("as of", "%s", time_text(snapshot->realtime_ns).text);
	print_rate(snapshot->interval_bytes, snapshot->longest_interval_bytes, snapshot->slept);
	print_fact("size", "%" PRIu64 " bytes (%s)", snapshot->ledger_bytes,
		   hm_show_bytes((double)snapshot->ledger_bytes).text);
	print_fact("samples", "%" PRIu64 " in %" PRIu32 " stacks", totals.sample_count,
		   snapshot->stack_count);
	print_fact("modules", "%" PRIu32, snapshot->module_count);
	print_fact("gauges", "%" PRIu32, snapshot->gauge_count);
	print_figures("allocated", &totals.alloc);
	print_figures("in use", &totals.inuse);
	print_figures("at its peak", &totals.peak);
	if (totals.peak.objects_fixed != 0)
		print_fact("peak at", "%s", time_text(snapshot->peak_realtime_ns).text);
	print_fact("live", "%" PRIu64 " samples that stand for %s", snapshot->live_count,
		   hm_show_bytes(live_bytes).text);
	for (int kind = 0; kind < HM_LOSS_KINDS; kind++)
		if (snapshot->losses[kind] != 0)
			print_fact("lost", "%" PRIu64 " %s", snapshot->losses[kind],
				   hm_loss_text((enum hm_loss)kind));
	if (snapshot->skipped.live != 0)
		print_fact("skipped", "%" PRIu64 " live samples that were being written",
			   snapshot->skipped.live);
	if (snapshot->skipped.modules != 0)
		print_fact("skipped", "%" PRIu64 " modules that were being written",
			   snapshot->skipped.modules);
}

static uint64_t find_in_ledger(const struct hm_snapshot *snapshot, const char *path)
{
	const struct hm_snapshot_skipped *const skipped = &snapshot->skipped;
	const struct {
		uint64_t count;
		const char *sentence;
	} findings[] = {
		{ snapshot->cut_off, "file shorter than the process had made it: cut off" },
		{ skipped->references, "references that point nowhere, or twice to one place" },
		{ skipped->records, "stack records that make no sense" },
		{ skipped->counters, "stacks with more freed, or in use at the peak, than allocated" },
		{ skipped->strings, "texts that are not where they should be" },
	};
	uint64_t finding_count = 0;

	for (size_t i = 0; i < sizeof(findings) / sizeof(findings[0]); i++) {
		if (findings[i].count == 0)
			continue;
		print_finding("%s: %" PRIu64 " %s", path, findings[i].count, findings[i].sentence);
		finding_count++;
	}
	return finding_count;
}

/* A file that begins otherwise is no ledger at all; one that begins as one and cannot be read is broken. */
static int reject_ledger(const char *argument, int error, enum hm_snapshot_fault fault)
{
	switch (fault) {
	case HM_SNAPSHOT_UNREADABLE:
		hm_fail("%s: %s", argument, strerror(-error));
		break;
	case HM_SNAPSHOT_NOT_A_LEDGER:
	case HM_SNAPSHOT_NO_MEMORY:
		hm_fail("%s: %s", argument, hm_snapshot_fault_text(fault));
		break;
	default:
		print_finding("%s: %s", argument, hm_snapshot_fault_text(fault));
		return conclude(argument, 1, 0);
	}
	hm_advise("heapmark check with a .ledger or a .pb.gz file");
	return HM_EXIT_USAGE;
}

static int check_ledger(const char *argument, const struct hm_input *input)
{
	struct hm_snapshot snapshot;
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	const int error =
		hm_ledger_snapshot(input->descriptor, input->pid != 0, HM_LEDGER_LIVE, &snapshot, &fault);

	if (error != 0)
		return reject_ledger(argument, error, fault);
	print_title(argument, "ledger");
	print_ledger(&snapshot, input);

	const uint64_t finding_count = find_in_ledger(&snapshot, argument);

	hm_snapshot_done(&snapshot);
	return conclude(argument, finding_count, 0);
}

static void print_totals(const struct hm_profile *profile)
{
	for (uint32_t type = 0; type < profile->sample_type_count; type++) {
		const char *const unit = hm_profile_string(profile, profile->sample_types[type].unit);
		double total = 0;

		for (uint32_t i = 0; i < profile->sample_count; i++)
			total += (double)hm_profile_value(&profile->samples[i], type);
		print_fact(hm_profile_string(profile, profile->sample_types[type].type), "%.0f %s%s%s%s",
			   total, unit, strcmp(unit, "bytes") == 0 ? " (" : "",
			   strcmp(unit, "bytes") == 0 ? hm_show_bytes(total).text : "",
			   strcmp(unit, "bytes") == 0 ? ")" : "");
	}
}

static void print_profile(const struct hm_profile *profile)
{
	const uint32_t default_type = hm_profile_default_sample_type(profile);
	const struct hm_profile_intervals intervals = hm_profile_comment_intervals(profile);

	print_fact("as of", "%s", time_text((uint64_t)profile->time_ns).text);
	if (profile->duration_ns != 0)
		print_fact("duration", "%s", hm_show_duration((double)profile->duration_ns / 1e9).text);
	if (profile->period_type.unit != HM_PROFILE_NONE &&
	    strcmp(hm_profile_string(profile, profile->period_type.unit), "bytes") == 0 &&
	    profile->period >= 0)
		print_rate((uint64_t)profile->period, intervals.longest_bytes, intervals.slept);
	print_fact("size", "%zu bytes, %zu unpacked", profile->file_bytes, profile->unpacked_bytes);
	print_fact("contents",
		   "%" PRIu32 " samples, %" PRIu32 " locations, %" PRIu32 " functions, %" PRIu32 " mappings",
		   profile->sample_count, profile->location_count, profile->function_count,
		   profile->mapping_count);
	print_totals(profile);
	if (default_type != HM_PROFILE_NONE)
		print_fact("shown first", "%s",
			   hm_profile_string(profile, profile->sample_types[default_type].type));
	for (uint32_t i = 0; i < profile->comment_count; i++)
		print_fact("comment", "%s", hm_profile_string(profile, profile->comments[i]));
}

struct profile_checking {
	const char *path; /* borrowed */
	uint64_t hint_count;
};

static void print_profile_finding(void *context, const struct hm_profile_finding *finding)
{
	struct profile_checking *const checking = context;

	if (finding->is_broken) {
		print_finding("%s: broken: %s (%s: %s)", checking->path, finding->sentence, finding->rule,
			      finding->consequence);
		return;
	}
	checking->hint_count++;
	print_hint("%s: hint: %s (%s: %s)", checking->path, finding->sentence, finding->rule,
		   finding->consequence);
}

static int reject_profile(const char *argument, int error, enum hm_profile_fault fault)
{
	switch (fault) {
	case HM_PROFILE_DAMAGED:
	case HM_PROFILE_MALFORMED:
		print_finding("%s: %s", argument, hm_profile_fault_text(fault));
		return conclude(argument, 1, 0);
	case HM_PROFILE_UNREADABLE:
		hm_fail("%s: %s", argument, strerror(-error));
		break;
	default:
		hm_fail("%s: %s", argument, hm_profile_fault_text(fault));
	}
	hm_advise("heapmark check with a .ledger or a .pb.gz file");
	return HM_EXIT_USAGE;
}

static int check_profile(const char *argument, const struct hm_input *input)
{
	struct hm_profile profile;
	enum hm_profile_fault fault = HM_PROFILE_UNREADABLE;
	const int error = hm_profile_read_descriptor(input->descriptor, &profile, &fault);

	if (error != 0)
		return reject_profile(argument, error, fault);
	print_title(argument, "profile");
	print_profile(&profile);

	struct profile_checking checking = { .path = argument };
	const uint64_t finding_count = hm_profile_check(&profile, print_profile_finding, &checking);

	hm_profile_done(&profile);
	return conclude(argument, finding_count, checking.hint_count);
}

static int check(const struct hm_verb *verb, const char *argument)
{
	struct hm_input input;
	const int error = hm_input_open(argument, &input);

	if (error != 0) {
		hm_input_explain(verb->name, argument, error);
		return HM_EXIT_USAGE;
	}

	const int status = input.kind == HM_INPUT_LEDGER ? check_ledger(argument, &input)
							 : check_profile(argument, &input);

	hm_input_close(&input);
	return status;
}

static int check_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct hm_input_list list;
	const char *culprit = NULL;
	int status = HM_EXIT_DONE;

	while (hm_verb_option(verb, argc, argv) != -1)
		;
	if (optind == argc) {
		hm_fail("there is no PROFILE or LEDGER to check");
		return hm_verb_usage(verb);
	}

	const int error = hm_input_list_init(argv + optind, (size_t)(argc - optind), true, &list, &culprit);

	if (error != 0) {
		hm_fail("%s: %s", culprit,
			error == -ENOENT ? "no profile or ledger in this directory" : strerror(-error));
		return hm_verb_usage(verb);
	}
	for (size_t i = 0; i < list.count; i++)
		status = hm_exit_worse(status, check(verb, list.arguments[i]));
	hm_input_list_done(&list);
	return status;
}

static const struct hm_option check_options[] = {
	{ 0 },
};

const struct hm_verb hm_verb_check = {
	.name = "check",
	.summary = "validates a profile or a ledger and says what is in it",
	.synopsis = "PROFILE|LEDGER|PID...",
	.text = "Says what is in a profile or a ledger, what was lost on the way, and whether the file keeps "
		"the\n"
		"rules of its format.  A finding names the rule and what a reader makes of it (man page); a "
		"hint "
		"is\n"
		"about one reader only, and breaks nothing.  With -q only what is broken is printed.  A "
		"directory\n"
		"stands for all profiles and ledgers in it.  Exit status: 0 good; 1 broken; 2 not such a "
		"file "
		"at all.",
	.options = check_options,
	.usage_status = HM_EXIT_USAGE,
	.main = check_main,
};
