// SPDX-License-Identifier: Apache-2.0
/* heapmark dump: a profile of a process that runs, or of a ledger that one has left behind. */
#include "tools/cli.h"
#include "tools/input.h"
#include "tools/ledger.h"
#include "tools/names_report.h"
#include "tools/profile_file.h"
#include "tools/summary.h"
#include "tools/verb.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_NO_SYMBOLS = HM_OPTION_LONG_ONLY, OPTION_NO_LABELS, OPTION_PEAK };

struct dump_options {
	const char *output;         /* NULL: a name of its own for each; "-": standard output */
	struct hm_symbols *symbols; /* borrowed; NULL: no names are wanted */
	bool no_labels;
	bool peak; /* in use: at the high-water mark */
};

static bool parse_options(const struct hm_verb *verb, int argc, char **argv, struct dump_options *ret_options)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1) {
		if (letter == 'o')
			ret_options->output = optarg;
		else if (letter == OPTION_NO_LABELS)
			ret_options->no_labels = true;
		else if (letter == OPTION_PEAK)
			ret_options->peak = true;
		else
			ret_options->symbols = NULL;
	}
	if (optind == argc) {
		hm_fail("there is no PID or LEDGER to dump");
		return false;
	}
	return true;
}

/* The name comes out of a ledger, and becomes part of a file name. */
static void make_harmless(char *name)
{
	for (; *name != '\0'; name++)
		if (!isalnum((unsigned char)*name) && strchr("._-", *name) == NULL)
			*name = '_';
}

/* What is in use at another moment does not go by the name of what is in use now. */
static const char *stem_suffix(const struct hm_snapshot *snapshot)
{
	return snapshot->at_peak ? ".peak" : "";
}

/* Where the profile goes without -o: to the current directory for a process, else beside the ledger. */
static void make_stem(const struct hm_input *input, const struct hm_snapshot *snapshot, char stem[PATH_MAX])
{
	char comm[HM_COMM_MAX];
	size_t length = strlen(input->path);

	if (input->is_process) {
		memcpy(comm, snapshot->comm, sizeof(comm));
		make_harmless(comm);
		(void)snprintf(stem, PATH_MAX, "./heapmark.%s.%d%s", comm, (int)input->pid,
			       stem_suffix(snapshot));
		return;
	}
	if (length > strlen(HM_LEDGER_SUFFIX) &&
	    strcmp(input->path + length - strlen(HM_LEDGER_SUFFIX), HM_LEDGER_SUFFIX) == 0)
		length -= strlen(HM_LEDGER_SUFFIX);
	(void)snprintf(stem, PATH_MAX, "%.*s%s", (int)length, input->path, stem_suffix(snapshot));
}

static bool writes_to_stdout(const struct dump_options *options)
{
	return options->output != NULL && strcmp(options->output, "-") == 0;
}

static int write_to_stdout(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
			   struct hm_profile_written *ret_written)
{
	int descriptor = STDOUT_FILENO;
	const struct hm_sink sink = hm_descriptor_sink(&descriptor);

	return hm_profile_write(snapshot, options, &sink, ret_written);
}

/* Writes it where it belongs.  ret_path receives the name, or the one that could not be written. */
static int write_profile(const struct hm_input *input, const struct hm_snapshot *snapshot,
			 const struct dump_options *options, char ret_path[PATH_MAX],
			 struct hm_profile_written *ret_written)
{
	struct hm_profile_plan plan;
	char stem[PATH_MAX];

	hm_profile_plan(&plan, options->symbols, snapshot, input->descriptor, input->pid);
	if (options->output == NULL) {
		make_stem(input, snapshot, stem);
		(void)snprintf(ret_path, PATH_MAX, "%s", stem);
		return hm_profile_file_new(snapshot, &plan.options, stem, ret_path, ret_written);
	}
	(void)snprintf(ret_path, PATH_MAX, "%s", options->output);
	if (writes_to_stdout(options))
		return write_to_stdout(snapshot, &plan.options, ret_written);
	return hm_profile_write_file(snapshot, &plan.options, options->output, HM_OUTPUT_REPLACE,
				     ret_written);
}

/* Returns an exit status. */
static int dump_snapshot(const struct hm_input *input, const struct hm_snapshot *snapshot,
			 const struct dump_options *options)
{
	const struct hm_snapshot_totals totals = hm_snapshot_sum(snapshot);
	const uint32_t pid = input->pid != 0 ? (uint32_t)input->pid : snapshot->pid;
	struct hm_profile_written written = { 0 };
	char path[PATH_MAX];
	const int error = write_profile(input, snapshot, options, path, &written);

	hm_names_end_progress();
	if (error != 0) {
		hm_fail("%s: %s, so no profile was written", path, strerror(-error));
		hm_advise("heapmark dump -o FILE %s", input->is_process ? "PID" : "LEDGER");
		return HM_EXIT_USAGE;
	}
	hm_say_process(snapshot->comm, pid, &totals,
		       snapshot->at_peak    ? " at the high-water mark"
		       : snapshot->finished ? " at exit"
		       : input->pid != 0    ? ""
					    : " at its end");
	hm_warn_losses(input->path, snapshot->losses);
	if (options->symbols != NULL)
		hm_names_warn(&written, options->symbols);
	if (!writes_to_stdout(options)) {
		hm_say("wrote %s", path);
		hm_next_pprof(path);
	}
	if (!hm_ledger_is_damaged(snapshot))
		return HM_EXIT_DONE;
	hm_fail("%s: the ledger is damaged; what could be read of it was written", input->path);
	hm_advise("heapmark check %s", input->path);
	return HM_EXIT_USAGE;
}

/* Returns an exit status. */
static int dump(const struct hm_verb *verb, const char *argument, const struct dump_options *options)
{
	struct hm_input input;
	struct hm_snapshot snapshot = { 0 };
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	int status = HM_EXIT_USAGE;
	int error = hm_input_open(argument, &input);

	if (error != 0) {
		hm_input_explain(verb->name, argument, error);
		return HM_EXIT_USAGE;
	}
	if (input.kind == HM_INPUT_PROFILE) {
		hm_fail("%s: not a ledger, so there is nothing to make a profile of", argument);
		hm_advise("heapmark check %s", argument);
	} else if ((error = hm_ledger_snapshot(input.descriptor, input.pid != 0,
					       options->no_labels || options->peak ? 0 : HM_LEDGER_AGES,
					       &snapshot, &fault)) != 0) {
		hm_fail("%s: %s, so no profile was written", argument,
			fault == HM_SNAPSHOT_UNREADABLE ? strerror(-error) : hm_snapshot_fault_text(fault));
		hm_advise("heapmark check %s", argument);
	} else {
		if (options->peak)
			hm_snapshot_turn_to_peak(&snapshot);
		status = dump_snapshot(&input, &snapshot, options);
	}
	hm_snapshot_done(&snapshot);
	hm_input_close(&input);
	return status;
}

/* One file cannot hold several profiles, and a terminal none. */
static bool output_is_possible(const struct dump_options *options, size_t input_count)
{
	if (options->output != NULL && input_count > 1) {
		hm_fail("-o %s: one file cannot hold the profiles of %zu processes", options->output,
			input_count);
		return false;
	}
	if (options->output != NULL && writes_to_stdout(options) && isatty(STDOUT_FILENO)) {
		hm_fail("-o -: a profile is compressed data, which a terminal cannot show");
		return false;
	}
	return true;
}

/* Returns an exit status. */
static int dump_all(const struct hm_verb *verb, int argc, char **argv, const struct dump_options *options)
{
	struct hm_input_list list;
	const char *culprit = NULL;
	int status = HM_EXIT_DONE;
	const int error = hm_input_list_init(argv + optind, (size_t)(argc - optind), false, &list, &culprit);

	if (error != 0) {
		hm_fail("%s: %s", culprit,
			error == -ENOENT ? "no ledger in this directory" : strerror(-error));
		return hm_verb_usage(verb);
	}

	const bool possible = output_is_possible(options, list.count);

	if (!possible)
		status = hm_verb_usage(verb);
	for (size_t i = 0; possible && i < list.count; i++)
		status = hm_exit_worse(status, dump(verb, list.arguments[i], options));
	hm_input_list_done(&list);
	return status;
}

static int dump_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct hm_symbols symbols;
	struct dump_options options = { .symbols = &symbols };

	if (!parse_options(verb, argc, argv, &options))
		return hm_verb_usage(verb);
	hm_symbols_init(&symbols);
	symbols.progress = hm_names_show_progress;

	const int status = dump_all(verb, argc, argv, &options);

	hm_symbols_done(&symbols);
	return status;
}

static const struct hm_option dump_options[] = {
	{ 'o', "output", "FILE", "write there, replacing what is there; - is standard output" },
	{ OPTION_PEAK, "peak", NULL, "what was in use when the most was, in place of what is now" },
	{ OPTION_NO_SYMBOLS, "no-symbols", NULL, "addresses only, for a symboliser that comes later" },
	{ OPTION_NO_LABELS, "no-labels", NULL, "do not split what is in use by its age" },
	{ 0 },
};

const struct hm_verb hm_verb_dump = {
	.name = "dump",
	.summary = "writes a profile of a process that runs, or of the ledger it has left",
	.synopsis = "[-o FILE] [--peak] [--no-symbols] [--no-labels] PID|LEDGER...",
	.text = "Writes a profile of a process as it is now, or of a ledger (heapmark.NAME.PID.ledger) that "
		"was\n"
		"left behind.  The process is not stopped and not signalled; it may hang.  The ledger "
		"stays.\n"
		"Without -o the profile is heapmark.NAME.PID.pb.gz, in the current directory for a PID, "
		"beside\n"
		"the ledger for a LEDGER; -2, -3, ... is added where that exists.  A directory stands for "
		"all\n"
		"ledgers in it.\n"
		"With --peak what is in use is what was at the high-water mark of the heap (kept to within "
		"5 %);\n"
		"the name is then heapmark.NAME.PID.peak.pb.gz.",
	.options = dump_options,
	.usage_status = HM_EXIT_USAGE,
	.main = dump_main,
};
