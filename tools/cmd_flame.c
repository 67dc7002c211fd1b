// SPDX-License-Identifier: Apache-2.0
/* heapmark flame: a flame graph, as one SVG file that needs nothing else. */
#include "proto/output_file.h"
#include "proto/profile_comments.h"
#include "tools/call_tree.h"
#include "tools/cli.h"
#include "tools/flame_svg.h"
#include "tools/frame_name.h"
#include "tools/input.h"
#include "tools/ledger.h"
#include "tools/verb.h"
#include "tools/view.h"
#include "tools/view_argument.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PICTURE_SUFFIX ".svg"

enum {
	NAME_TRIES_MAX = 10000,
	TITLE_BYTES = 256,
	OPTION_BY = HM_OPTION_LONG_ONLY,
	OPTION_PAIR,
};

struct flame_options {
	const char *output; /* NULL: a name of its own; "-": standard output */
	bool by_alloc;
	bool pair;
};

static bool parse_options(const struct hm_verb *verb, int argc, char **argv,
			  struct flame_options *ret_options)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1) {
		switch (letter) {
		case 'o':
			ret_options->output = optarg;
			break;
		case OPTION_BY:
			ret_options->by_alloc = strcmp(optarg, "alloc") == 0;
			if (ret_options->by_alloc || strcmp(optarg, "inuse") == 0)
				break;
			hm_fail("--by %s: a frame is as wide as what is in use (inuse) or was allocated "
				"(alloc)",
				optarg);
			return false;
		default:
			ret_options->pair = true;
		}
	}
	if (argc - optind != 1) {
		hm_fail(optind == argc ? "there is no PID, LEDGER or PROFILE to draw"
				       : "a picture shows one PID, LEDGER or PROFILE");
		return false;
	}
	return true;
}

static bool writes_to_stdout(const struct flame_options *options)
{
	return options->output != NULL && strcmp(options->output, "-") == 0;
}

/* --- What stands over the picture --------------------------------------------------------------------- */

static void make_title(const struct hm_profile *profile, const char *path,
		       const struct flame_options *options, char title[TITLE_BYTES])
{
	const char *const what = options->pair       ? "allocated, and kept of it"
				 : options->by_alloc ? "allocated"
						     : "in use";
	const char *const comm = hm_profile_comment_value(profile, "comm");
	const char *const pid = hm_profile_comment_value(profile, "pid");

	if (comm != NULL && pid != NULL)
		(void)snprintf(title, TITLE_BYTES, "%s[%s]: %s", comm, pid, what);
	else
		(void)snprintf(title, TITLE_BYTES, "%s: %s", hm_frame_base_name(path), what);
}

static void make_subtitle(const struct hm_profile *profile, char subtitle[TITLE_BYTES])
{
	const time_t seconds = (time_t)(profile->time_ns / 1000000000);
	char when[64] = "";
	char rate[96] = "";
	struct tm parts;

	if (profile->period == 1)
		(void)snprintf(rate, sizeof(rate), "every allocation counted%s",
			       hm_profile_comment_intervals(profile).longest_bytes > 1
				       ? " since the rate was changed"
				       : "");
	else if (profile->period > 1)
		(void)snprintf(rate, sizeof(rate), "one sample for %s allocated on average",
			       hm_show_bytes((double)profile->period).text);
	if (profile->time_ns > 0 && gmtime_r(&seconds, &parts) != NULL)
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &parts);
	(void)snprintf(subtitle, TITLE_BYTES, "%s%s%s%s%s", when, when[0] != '\0' ? "; " : "", rate,
		       rate[0] != '\0' ? "; " : "", "drawn by heapmark flame");
}

/* --- Where it goes ------------------------------------------------------------------------------------ */

/* Without its suffix: beside the file for a file, in the current directory for a process. */
static void make_stem(const struct hm_input *input, char stem[PATH_MAX])
{
	static const char *const suffixes[] = { HM_LEDGER_SUFFIX, HM_PROFILE_SUFFIX };
	size_t length = strlen(input->path);

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		const size_t suffix_length = strlen(suffixes[i]);

		if (length > suffix_length &&
		    strcmp(input->path + length - suffix_length, suffixes[i]) == 0) {
			length -= suffix_length;
			break;
		}
	}

	const char *const name = input->is_process ? hm_frame_base_name(input->path) : input->path;

	(void)snprintf(stem, PATH_MAX, "%s%.*s", input->is_process ? "./" : "",
		       (int)(length - (size_t)(name - input->path)), name);
}

static int write_picture_file(const char *path, enum hm_output_mode mode, const char *picture,
			      size_t size_bytes)
{
	struct hm_output_file file;
	int error = hm_output_open(path, mode, &file);

	if (error != 0)
		return error;

	const struct hm_sink sink = hm_output_sink(&file);

	error = sink.write(sink.context, picture, size_bytes);
	if (error != 0) {
		hm_output_abandon(&file);
		return error;
	}
	return hm_output_commit(&file);
}

/* STEM.svg, or STEM-2.svg, -3, ... where that exists: nothing is ever overwritten. */
static int write_new_file(const char *stem, const char *picture, size_t size_bytes, char path[PATH_MAX])
{
	int error = -EEXIST;

	for (unsigned int number = 1; error == -EEXIST && number <= NAME_TRIES_MAX; number++) {
		char suffix[16] = "";

		if (number > 1)
			(void)snprintf(suffix, sizeof(suffix), "-%u", number);
		if (snprintf(path, PATH_MAX, "%s%s%s", stem, suffix, PICTURE_SUFFIX) >= PATH_MAX)
			return -ENAMETOOLONG;
		error = write_picture_file(path, HM_OUTPUT_NEW, picture, size_bytes);
	}
	return error;
}

/* Returns an exit status. */
static int write_picture(const struct hm_input *input, const struct flame_options *options,
			 const char *picture, size_t size_bytes)
{
	int descriptor = STDOUT_FILENO;
	const struct hm_sink sink = hm_descriptor_sink(&descriptor);
	char path[PATH_MAX] = "standard output";
	int error = 0;

	if (writes_to_stdout(options)) {
		error = sink.write(sink.context, picture, size_bytes);
	} else if (options->output != NULL) {
		(void)snprintf(path, sizeof(path), "%s", options->output);
		error = write_picture_file(path, HM_OUTPUT_REPLACE, picture, size_bytes);
	} else {
		char stem[PATH_MAX];

		make_stem(input, stem);
		error = write_new_file(stem, picture, size_bytes, path);
	}
	if (error != 0) {
		hm_fail("%s: %s, so no picture was written", path, strerror(-error));
		hm_advise("heapmark flame -o FILE.svg %s", input->is_process ? "PID" : "PROFILE");
		return HM_EXIT_USAGE;
	}
	if (!writes_to_stdout(options)) {
		char *const quoted = hm_shell_quote(path);

		hm_say("wrote %s", path);
		hm_next("xdg-open %s", quoted);
		free(quoted);
	}
	return HM_EXIT_DONE;
}

/* --- The verb ----------------------------------------------------------------------------------------- */

/* The picture as text, which the caller frees. */
static char *draw(const struct hm_view *view, const struct hm_call_tree *tree, const char *path,
		  const struct flame_options *options, size_t *ret_size_bytes)
{
	char title[TITLE_BYTES];
	char subtitle[TITLE_BYTES];
	char *picture = NULL;
	FILE *const stream = open_memstream(&picture, ret_size_bytes);

	if (stream == NULL)
		abort();
	make_title(&view->profile, path, options, title);
	make_subtitle(&view->profile, subtitle);

	const struct hm_flame flame = {
		.tree = tree,
		.profile = &view->profile,
		.title = title,
		.subtitle = subtitle,
		.show_alloc = options->pair || options->by_alloc,
		.show_inuse = options->pair || !options->by_alloc,
	};

	hm_flame_draw(&flame, stream);
	if (fclose(stream) != 0)
		abort();
	return picture;
}

/* Whether there is anything to draw. */
static bool has_bytes(const struct hm_call_tree *tree, const char *argument,
		      const struct flame_options *options)
{
	const struct hm_view_figures *const all = &tree->nodes[HM_CALL_ROOT].figures;

	if (all->alloc_bytes <= 0 && all->inuse_bytes <= 0) {
		hm_fail("%s: nothing was sampled, so there is nothing to draw", argument);
		hm_advise("heapmark check %s", argument);
		return false;
	}
	if (options->pair || (options->by_alloc ? all->alloc_bytes : all->inuse_bytes) > 0)
		return true;
	hm_fail("%s: nothing %s, so there is nothing to draw", argument,
		options->by_alloc ? "was allocated" : "is in use");
	hm_advise("heapmark flame --by %s %s", options->by_alloc ? "inuse" : "alloc", argument);
	return false;
}

/* Returns an exit status. */
static int draw_view(const struct hm_view *view, const struct hm_input *input, const char *argument,
		     const struct flame_options *options)
{
	struct hm_call_tree tree;
	size_t size_bytes = 0;
	int status = HM_EXIT_USAGE;

	if (hm_call_tree_build(view, options->pair || options->by_alloc, &tree) != 0)
		hm_warn_not_hidden(argument);
	if (tree.cut_count != 0)
		hm_warn("%s: %llu samples have frames beyond the limits (%d deep, %d in all), which are left "
			"out",
			argument, (unsigned long long)tree.cut_count, HM_CALL_DEPTH_MAX, HM_CALL_NODES_MAX);
	if (has_bytes(&tree, argument, options)) {
		char *const picture = draw(view, &tree, input->path, options, &size_bytes);

		status = write_picture(input, options, picture, size_bytes);
		free(picture);
	}
	hm_call_tree_done(&tree);
	return status;
}

static int flame_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct flame_options options = { 0 };
	struct hm_input input;
	struct hm_view view;
	bool is_loaded = false;

	if (!parse_options(verb, argc, argv, &options))
		return hm_verb_usage(verb);
	if (writes_to_stdout(&options) && isatty(STDOUT_FILENO)) {
		hm_fail("-o -: a picture is for a browser, and a terminal cannot show it");
		return hm_verb_usage(verb);
	}

	const char *const argument = argv[optind];
	const int error = hm_input_open(argument, &input);

	if (error != 0) {
		hm_input_explain(verb->name, argument, error);
		return HM_EXIT_USAGE;
	}

	int status = hm_view_input(argument, &input, &view, &is_loaded);

	if (is_loaded) {
		status = hm_exit_worse(status, draw_view(&view, &input, argument, &options));
		hm_view_done(&view);
	}
	hm_input_close(&input);
	return status;
}

static const struct hm_option flame_options[] = {
	{ 'o', "output", "FILE", "write there, replacing what is there; - is standard output" },
	{ OPTION_BY, "by", "VALUE",
	  "how wide a frame is: inuse, by what is in use (default), or\n"
	  "alloc, by what was allocated" },
	{ OPTION_PAIR, "pair", NULL, "both, one above the other, each as wide as its own total" },
	{ 0 },
};

const struct hm_verb hm_verb_flame = {
	.name = "flame",
	.summary = "draws a flame graph of what is in use or was allocated, as SVG",
	.synopsis = "[-o FILE] [--by inuse|alloc] [--pair] PID|LEDGER|PROFILE",
	.text = "Draws a flame graph, a caller above what it calls.  A frame is as wide as its bytes; its "
		"colour\n"
		"says how much of what was allocated there is still in use: pale for churn, strong for "
		"retention.\n"
		"The file needs nothing else: open it in a browser to zoom (click), search (/) and read "
		"figures, or\n"
		"put it into a document.  Without -o it is NAME.svg beside NAME.pb.gz, in the current "
		"directory for\n"
		"a PID; -2, -3, ... is added where that exists.",
	.options = flame_options,
	.usage_status = HM_EXIT_USAGE,
	.main = flame_main,
};
