// SPDX-License-Identifier: Apache-2.0
/* heapmark diff: what grew between two profiles, by function, and whether that is more than noise. */
#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/estimates.h"
#include "tools/functions.h"
#include "tools/input.h"
#include "tools/table.h"
#include "tools/verb.h"
#include "tools/view.h"
#include "tools/view_argument.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROWS_DEFAULT = 20,
	OPTION_ALLOC = HM_OPTION_LONG_ONLY,
	OPTION_CUM,
	OPTION_LINES,
	OPTION_FAIL_ABOVE,
};

struct diff_options {
	uint64_t row_count; /* 0: all */
	enum hm_measure measure;
	bool by_cum;
	bool by_lines;
	bool has_limit;
	uint64_t limit_bytes;
};

static bool parse_option(int letter, struct diff_options *options)
{
	switch (letter) {
	case 'n':
		if (hm_parse_count(optarg, &options->row_count))
			break;
		hm_fail("-n %s: a number of rows is needed, 0 for all", optarg);
		return false;
	case OPTION_FAIL_ABOVE:
		options->has_limit = hm_parse_bytes(optarg, &options->limit_bytes);
		if (options->has_limit)
			break;
		hm_fail("--fail-above %s: a size is needed, such as 0, 512K or 10M", optarg);
		return false;
	case OPTION_ALLOC:
		options->measure = HM_MEASURE_ALLOC;
		break;
	case OPTION_CUM:
		options->by_cum = true;
		break;
	default:
		options->by_lines = true;
	}
	return true;
}

static bool parse_options(const struct hm_verb *verb, int argc, char **argv, struct diff_options *options)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1)
		if (!parse_option(letter, options))
			return false;
	if (argc - optind == 2)
		return true;
	hm_fail("two are compared, OLD and NEW, and there %s %d", argc - optind == 1 ? "is" : "are",
		argc - optind);
	return false;
}

/* --- What is compared --------------------------------------------------------------------------------- */

/* One of the two: a process, a file, or all files of a directory. */
struct side {
	struct hm_input_list list; /* owned */
	struct hm_functions functions;
	struct hm_view first; /* owned: what is known of the first file */
	bool has_first;
	bool is_incomplete; /* a part of it cannot be read, or compared */
};

static const char *text_of(const struct hm_profile *profile, uint32_t index)
{
	return hm_profile_string(profile, index);
}

/* As pprof: whether the samples were taken along the same thing.  Says what is wrong where they were not. */
static bool are_compatible(const struct hm_profile *old_profile, const char *old_name,
			   const struct hm_profile *new_profile, const char *new_name)
{
	const struct hm_profile_value_type *const o = &old_profile->period_type;
	const struct hm_profile_value_type *const n = &new_profile->period_type;

	if (!old_profile->has_period_type || !new_profile->has_period_type)
		return true;
	if (strcmp(text_of(old_profile, o->type), text_of(new_profile, n->type)) == 0 &&
	    strcmp(text_of(old_profile, o->unit), text_of(new_profile, n->unit)) == 0)
		return true;
	hm_fail("%s was sampled by %s in %s and %s by %s in %s, so they cannot be compared", old_name,
		text_of(old_profile, o->type), text_of(old_profile, o->unit), new_name,
		text_of(new_profile, n->type), text_of(new_profile, n->unit));
	hm_advise("heapmark check %s", old_name);
	return false;
}

/*
 * Adds all files of a side.  Frames are hidden by the rules of `rules`, a side that is loaded already, where
 * it is given: as pprof does it, those of NEW count for both.  Returns an exit status.
 */
static int load_side(const struct hm_verb *verb, const struct diff_options *options, const struct side *rules,
		     struct side *side)
{
	int status = HM_EXIT_DONE;

	for (size_t i = 0; i < side->list.count; i++) {
		const char *const name = side->list.arguments[i];
		const struct side *const ruling = rules != NULL ? rules : side;
		struct hm_view view;
		bool loaded = false;

		status = hm_exit_worse(status, hm_view_argument(verb->name, name, &view, &loaded));
		if (!loaded) {
			side->is_incomplete = true;
			continue;
		}
		if (ruling->has_first &&
		    !are_compatible(&view.profile, name, &ruling->first.profile, ruling->list.arguments[0])) {
			hm_view_done(&view);
			side->is_incomplete = true;
			return HM_EXIT_USAGE;
		}
		if (hm_functions_add(&side->functions, &view,
				     ruling->has_first ? &ruling->first.profile : &view.profile,
				     options->by_lines) != 0)
			hm_warn_not_hidden(name);
		if (side->has_first)
			hm_view_done(&view);
		else
			side->first = view;
		side->has_first = true;
	}
	return status;
}

static void side_done(struct side *side)
{
	hm_input_list_done(&side->list);
	hm_functions_done(&side->functions);
	hm_view_done(&side->first);
}

static bool is_same_text(const struct hm_profile *a, const struct hm_profile *b, const char *key)
{
	const char *const left = hm_profile_comment_value(a, key);
	const char *const right = hm_profile_comment_value(b, key);

	return left != NULL && right != NULL && strcmp(left, right) == 0;
}

/*
 * One process at two moments: its number and the nanosecond in which it began.  Where one side has its
 * variances from a ledger and the other has them estimated, their difference says nothing.
 */
static bool is_same_process(const struct side *old_side, const struct side *new_side)
{
	const struct hm_profile *const old_profile = &old_side->first.profile;
	const struct hm_profile *const new_profile = &new_side->first.profile;

	return old_side->list.count == 1 && new_side->list.count == 1 &&
	       old_side->first.is_exact == new_side->first.is_exact &&
	       is_same_text(old_profile, new_profile, "pid") &&
	       is_same_text(old_profile, new_profile, "start_time_ns");
}

/* --- The rows ----------------------------------------------------------------------------------------- */

struct row {
	const char *name; /* borrowed from a side */
	struct hm_difference flat;
	struct hm_difference cum;
};

struct rows {
	struct row *rows; /* owned */
	size_t count;
	const struct diff_options *options;
};

static const struct hm_difference *shown_of(const struct row *row, const struct diff_options *options)
{
	return options->by_cum ? &row->cum : &row->flat;
}

static void add_row(struct rows *rows, const struct hm_function *old_row, const struct hm_function *new_row,
		    bool same_process)
{
	static const struct hm_function nothing = { 0 };
	const struct hm_function *const o = old_row != NULL ? old_row : &nothing;
	const struct hm_function *const n = new_row != NULL ? new_row : &nothing;
	const enum hm_measure measure = rows->options->measure;
	const struct row row = {
		.name = o->name != NULL ? o->name : n->name,
		.flat = hm_difference_of(&o->flat, &n->flat, measure, same_process),
		.cum = hm_difference_of(&o->cum, &n->cum, measure, same_process),
	};

	if (row.flat.growth_bytes != 0 || row.cum.growth_bytes != 0)
		rows->rows[rows->count++] = row;
}

/* The largest growth first; of equals the largest of the other kind, then alphabetical. */
static int compare_rows(const void *a, const void *b, void *context)
{
	const struct row *const left = a;
	const struct row *const right = b;
	const struct diff_options *const options = context;
	const double l = shown_of(left, options)->growth_bytes;
	const double r = shown_of(right, options)->growth_bytes;
	const double l2 = left->cum.growth_bytes + left->flat.growth_bytes;
	const double r2 = right->cum.growth_bytes + right->flat.growth_bytes;

	if (l != r)
		return l < r ? 1 : -1;
	if (l2 != r2)
		return l2 < r2 ? 1 : -1;
	return strcmp(left->name, right->name);
}

static void make_rows(const struct side *old_side, const struct side *new_side, bool same_process,
		      struct diff_options *options, struct rows *ret_rows)
{
	const struct hm_functions *const o = &old_side->functions;
	const struct hm_functions *const n = &new_side->functions;

	*ret_rows = (struct rows){
		.rows = calloc(o->row_count + n->row_count + 1, sizeof(ret_rows->rows[0])),
		.options = options,
	};
	if (ret_rows->rows == NULL)
		abort();
	for (size_t i = 0; i < n->row_count; i++)
		add_row(ret_rows, hm_functions_find(o, n->rows[i].name), &n->rows[i], same_process);
	for (size_t i = 0; i < o->row_count; i++)
		if (hm_functions_find(n, o->rows[i].name) == NULL)
			add_row(ret_rows, &o->rows[i], NULL, same_process);
	qsort_r(ret_rows->rows, ret_rows->count, sizeof(ret_rows->rows[0]), compare_rows, options);
}

/* --- The table ---------------------------------------------------------------------------------------- */

enum {
	WIDTH_SIZE = 10,
	WIDTH_GROWTH = 11,
	WIDTH_MARK = 2,
	WIDTH_ALL = 2 * WIDTH_SIZE + 4 * WIDTH_GROWTH + 2 * WIDTH_MARK + 2,
};

static const char *mark_of(const struct hm_difference *difference)
{
	return difference->beyond_noise ? " *" : "";
}

/* "+1.3 MiB", "-200 KiB", "0 B". */
static struct hm_shown show_growth(double bytes)
{
	struct hm_shown shown = hm_show_bytes(fabs(bytes));

	if (bytes != 0) {
		memmove(shown.text + 1, shown.text, sizeof(shown.text) - 1);
		shown.text[0] = bytes < 0 ? '-' : '+';
	}
	return shown;
}

/* " ±300 KiB"; empty where the figures are exact. */
static struct hm_shown show_half_width(double variance)
{
	struct hm_shown shown = { "" };

	if (variance > 0)
		(void)snprintf(shown.text, sizeof(shown.text), "±%.20s",
			       hm_show_bytes(hm_half_width(variance)).text);
	return shown;
}

static void print_difference(const struct hm_difference *difference)
{
	const char *const colour = !difference->beyond_noise      ? ""
				   : difference->growth_bytes > 0 ? hm_style(stdout, HM_STYLE_RED)
								  : hm_style(stdout, HM_STYLE_BOLD);

	(void)fputs(colour, stdout);
	hm_print_column(WIDTH_GROWTH, show_growth(difference->growth_bytes).text);
	hm_print_column(WIDTH_GROWTH, show_half_width(difference->variance).text);
	(void)printf("%-*s%s", WIDTH_MARK, mark_of(difference),
		     colour[0] != '\0' ? hm_style(stdout, HM_STYLE_PLAIN) : "");
}

static void print_titles(const struct diff_options *options)
{
	(void)fputs(hm_style(stdout, HM_STYLE_BOLD), stdout);
	hm_print_column(WIDTH_GROWTH, "flat");
	hm_print_column(WIDTH_GROWTH, "±");
	hm_print_column(WIDTH_MARK, "");
	hm_print_column(WIDTH_GROWTH, "cum");
	hm_print_column(WIDTH_GROWTH, "±");
	hm_print_column(WIDTH_MARK, "");
	hm_print_column(WIDTH_SIZE, options->by_cum ? "old cum" : "old flat");
	hm_print_column(WIDTH_SIZE, options->by_cum ? "new cum" : "new flat");
	(void)printf("  function%s\n", hm_style(stdout, HM_STYLE_PLAIN));
}

static void print_table(const struct rows *rows, const struct hm_difference *total, bool same_process)
{
	const struct diff_options *const options = rows->options;
	const bool all = options->row_count == 0 || options->row_count > rows->count;
	const size_t shown = all ? rows->count : (size_t)options->row_count;
	const size_t name_columns = hm_name_columns(WIDTH_ALL);
	const char *const what = options->measure == HM_MEASURE_ALLOC ? "allocated" : "in use";
	const struct hm_shown half_width = show_half_width(total->variance);

	(void)printf("%s %s, %s before: %s%s%s%s%s\n", hm_show_bytes(total->new_bytes).text, what,
		     hm_show_bytes(total->old_bytes).text, show_growth(total->growth_bytes).text,
		     half_width.text[0] != '\0' ? " " : "", half_width.text,
		     total->beyond_noise ? ", more than noise" : "",
		     same_process ? " (one process at two moments)" : "");
	(void)printf("%zu of %zu functions that differ, by growth%s; *: more than sampling noise (95 %%)\n\n",
		     shown, rows->count, options->by_cum ? " (cum)" : "");
	print_titles(options);
	for (size_t i = 0; i < shown; i++) {
		const struct row *const row = &rows->rows[i];

		print_difference(&row->flat);
		print_difference(&row->cum);
		hm_print_column(WIDTH_SIZE, hm_show_bytes(shown_of(row, options)->old_bytes).text);
		hm_print_column(WIDTH_SIZE, hm_show_bytes(shown_of(row, options)->new_bytes).text);
		hm_print_name(row->name, name_columns);
	}
}

/* The verdict of --fail-above: what is certain of the growth, the lower end of its interval, decides. */
static int judge(const struct hm_difference *total, const struct diff_options *options)
{
	const char *const what = options->measure == HM_MEASURE_ALLOC ? "allocated" : "in use";
	const double certain = total->growth_bytes - hm_half_width(total->variance);
	const struct hm_shown growth = show_growth(total->growth_bytes);
	const struct hm_shown half_width = show_half_width(total->variance);
	const struct hm_shown limit = hm_show_bytes((double)options->limit_bytes);
	const char *const blank = half_width.text[0] != '\0' ? " " : "";

	if (certain > (double)options->limit_bytes) {
		hm_fail("%s: %s%s%s, which is more than the %s allowed", what, growth.text, blank,
			half_width.text, limit.text);
		return HM_EXIT_FOUND;
	}
	hm_say("%s: %s%s%s, which is %s the %s allowed", what, growth.text, blank, half_width.text,
	       total->growth_bytes > (double)options->limit_bytes ? "not certainly more than" : "within",
	       limit.text);
	return HM_EXIT_DONE;
}

static int show(const struct side *old_side, const struct side *new_side, struct diff_options *options)
{
	const bool same_process = is_same_process(old_side, new_side);
	const struct hm_difference total = hm_difference_of(
		&old_side->functions.total, &new_side->functions.total, options->measure, same_process);
	struct rows rows;

	if (options->by_lines && !old_side->functions.has_lines && !new_side->functions.has_lines)
		hm_warn("no lines are known, so functions are shown");
	make_rows(old_side, new_side, same_process, options, &rows);
	print_table(&rows, &total, same_process);
	free(rows.rows);
	if (!options->has_limit)
		return HM_EXIT_DONE;
	(void)fflush(stdout); /* the verdict is the last line */
	return judge(&total, options);
}

static bool list_side(char *const *argument, struct side *ret_side)
{
	const char *culprit = NULL;
	const int error = hm_input_list_init(argument, 1, true, &ret_side->list, &culprit);

	if (error != 0)
		hm_fail("%s: %s", culprit,
			error == -ENOENT ? "no profile or ledger in this directory" : strerror(-error));
	return error == 0;
}

static int diff_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct diff_options options = { .row_count = ROWS_DEFAULT };
	struct side old_side = { 0 };
	struct side new_side = { 0 };
	int status = HM_EXIT_USAGE;

	if (!parse_options(verb, argc, argv, &options))
		return hm_verb_usage(verb);
	if (!list_side(argv + optind, &old_side) || !list_side(argv + optind + 1, &new_side)) {
		(void)hm_verb_usage(verb);
	} else {
		status = load_side(verb, &options, NULL, &new_side);
		status = hm_exit_worse(status, load_side(verb, &options, &new_side, &old_side));
		if (!new_side.is_incomplete && !old_side.is_incomplete)
			status = hm_exit_worse(status, show(&old_side, &new_side, &options));
	}
	side_done(&old_side);
	side_done(&new_side);
	return status;
}

static const struct hm_option diff_options[] = {
	{ 'n', "rows", "N", "at most N rows (default 20); 0: all" },
	{ OPTION_ALLOC, "alloc", NULL, "what was allocated since the start, in place of what is in use" },
	{ OPTION_CUM, "cum", NULL, "order by a function with all that it called" },
	{ OPTION_LINES, "lines", NULL, "lines in place of functions, where they are known" },
	{ OPTION_FAIL_ABOVE, "fail-above", "SIZE",
	  "exit with 1 if the total grew by more than SIZE and noise" },
	{ 0 },
};

const struct hm_verb hm_verb_diff = {
	.name = "diff",
	.summary = "shows what grew between two profiles, and whether it is noise",
	.synopsis = "[-n N] [--alloc] [--cum] [--lines] [--fail-above SIZE] OLD NEW",
	.text = "OLD and NEW are each a PID, a LEDGER, a PROFILE, or a directory of them that is added up.\n"
		"A table of functions, the one that grew most first.  flat: growth of what a function\n"
		"allocated itself; cum: with all that it called; ±: 95 % interval of the growth, where "
		"figures\n"
		"are estimates; *: the growth is more than sampling noise.",
	.options = diff_options,
	.usage_status = HM_EXIT_USAGE,
	.main = diff_main,
};
