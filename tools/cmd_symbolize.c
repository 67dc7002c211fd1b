// SPDX-License-Identifier: Apache-2.0
/* heapmark symbolize: names for the addresses of a profile that has none, or only symbols. */
#include "tools/cli.h"
#include "tools/names_report.h"
#include "tools/summary.h"
#include "tools/symbolize.h"
#include "tools/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool parse_options(const struct hm_verb *verb, int argc, char **argv, const char **ret_output)
{
	while (hm_verb_option(verb, argc, argv) != -1)
		*ret_output = optarg;
	if (optind == argc) {
		hm_fail("there is no PROFILE to symbolize");
		return false;
	}
	if (*ret_output != NULL && argc - optind > 1) {
		hm_fail("-o %s: one file cannot hold %d profiles", *ret_output, argc - optind);
		return false;
	}
	if (*ret_output != NULL && strcmp(*ret_output, "-") == 0 && isatty(STDOUT_FILENO) == 1) {
		hm_fail("-o -: a profile is compressed data, which a terminal cannot show");
		return false;
	}
	return true;
}

/* Returns an exit status. */
static int refuse(const char *path, const char *reason)
{
	char *const quoted = hm_shell_quote(path);

	hm_fail("%s: %s, so it has no other names than before", path, reason);
	hm_advise("heapmark check %s", quoted);
	free(quoted);
	return HM_EXIT_USAGE;
}

static void say_result(const char *path, const char *output, const struct hm_profile *profile,
		       const struct hm_symbolized *symbolized)
{
	hm_say("%s: of %" PRIu32 " addresses %" PRIu32 " have functions and %" PRIu32 " lines; %" PRIu32
	       " were named now",
	       path, profile->location_count, symbolized->function_count, symbolized->line_count,
	       symbolized->changed_count);
	if (profile->unknown_fields != 0)
		hm_warn("%s: %" PRIu32 " fields that the format does not have were left out", path,
			profile->unknown_fields);
	if (strcmp(output, "-") == 0)
		return;
	hm_say("wrote %s%s", output, strcmp(path, output) == 0 ? ", in place of what it was" : "");
	hm_next_pprof(output);
}

/* Returns an exit status. */
static int write_result(const char *path, const char *output, const struct hm_profile *profile,
			const struct hm_symbolized *symbolized)
{
	int error = 0;

	if (symbolized->changed_count == 0 && strcmp(path, output) == 0) {
		hm_say("%s: nothing was found that it does not have, so it was left as it is", path);
		return HM_EXIT_DONE;
	}
	error = hm_symbolized_write(profile, symbolized, output);
	if (error == -EBADMSG)
		return refuse(path, "it refers to functions, locations or text that it does not have");
	if (error != 0) {
		hm_fail("%s: %s, so nothing was written", output, strerror(-error));
		hm_advise("heapmark symbolize -o FILE PROFILE");
		return HM_EXIT_USAGE;
	}
	say_result(path, output, profile, symbolized);
	return HM_EXIT_DONE;
}

/* Returns an exit status. */
static int symbolize(const char *path, const char *output, struct hm_symbols *symbols)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	enum hm_profile_fault fault = HM_PROFILE_UNREADABLE;
	struct hm_profile profile = { 0 };
	struct hm_symbolized symbolized = { 0 };
	int status = HM_EXIT_USAGE;
	int error = descriptor >= 0 ? 0 : -errno;

	if (error != 0) {
		hm_fail("%s: %s, so there is nothing to symbolize", path, strerror(-error));
		hm_advise("heapmark symbolize --help");
		return HM_EXIT_USAGE;
	}
	error = hm_profile_read_descriptor(descriptor, &profile, &fault);
	(void)close(descriptor);
	if (error != 0)
		return refuse(path, fault == HM_PROFILE_UNREADABLE ? strerror(-error)
								   : hm_profile_fault_text(fault));
	error = hm_symbolize(&profile, symbols, &symbolized);
	hm_names_end_progress();
	if (error != 0) {
		hm_fail("%s: %s, so it has no other names than before", path, strerror(-error));
	} else {
		status = write_result(path, output != NULL ? output : path, &profile, &symbolized);
		hm_names_warn(&symbolized.unnamed, symbols);
	}
	hm_symbolized_done(&symbolized);
	hm_profile_done(&profile);
	return status;
}

static int symbolize_main(const struct hm_verb *verb, int argc, char **argv)
{
	const char *output = NULL;
	struct hm_symbols symbols;
	int status = HM_EXIT_DONE;

	if (!parse_options(verb, argc, argv, &output))
		return hm_verb_usage(verb);
	hm_symbols_init(&symbols);
	symbols.progress = hm_names_show_progress;
	for (int i = optind; i < argc; i++)
		status = hm_exit_worse(status, symbolize(argv[i], output, &symbols));
	hm_symbols_done(&symbols);
	return status;
}

static const struct hm_option symbolize_options[] = {
	{ 'o', "output", "FILE", "write there, replacing what is there; - is standard output" },
	{ 0 },
};

const struct hm_verb hm_verb_symbolize = {
	.name = "symbolize",
	.summary = "puts functions, files and lines into a profile",
	.synopsis = "[-o FILE] PROFILE...",
	.text = "Looks up every address of a profile, of heapmark or of any other producer, and writes "
		"functions,\n"
		"source files, lines, inlined functions and readable C++ and Rust names into it.  Everything "
		"else\n"
		"in it stays.  Program files are known by their build ids: this may be another machine than "
		"the\n"
		"one where the profile was made, if it has the same files, or DEBUGINFOD_URLS names a "
		"server.\n"
		"Without -o the profile itself is replaced, whole or not at all, and keeps its mode.",
	.options = symbolize_options,
	.usage_status = HM_EXIT_USAGE,
	.main = symbolize_main,
};
