// SPDX-License-Identifier: Apache-2.0
/* heapmark top: the functions that allocate most, or keep most, as a table. */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROWS_DEFAULT = 20,
	OPTION_BY = HM_OPTION_LONG_ONLY,
	OPTION_CUM,
	OPTION_LINES,
};

/* As pprof: functions whose cum is below this part of the total are left out. */
static const double left_out_below = 0.005;

enum order { BY_INUSE, BY_ALLOC, BY_KEPT, BY_AGE, ORDER_COUNT };

static const char *const order_names[] = { "inuse", "alloc", "kept", "age" };

struct top_options {
	uint64_t row_count; /* 0: all */
	enum order order;
	bool by_cum;
	bool by_lines;
};

static bool parse_order(const char *text, enum order *ret_order)
{
	for (int order = 0; order < ORDER_COUNT; order++) {
		if (strcmp(text, order_names[order]) == 0) {
			*ret_order = (enum order)order;
			return true;
		}
	}
	return false;
}

static bool parse_options(const struct hm_verb *verb, int argc, char **argv, struct top_options *ret_options)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1) {
		switch (letter) {
		case 'n':
			if (hm_parse_count(optarg, &ret_options->row_count))
				break;
			hm_fail("-n %s: a number of rows is needed, 0 for all", optarg);
			return false;
		case OPTION_BY:
			if (parse_order(optarg, &ret_options->order))
				break;
			hm_fail("--by %s: the orders are inuse, alloc, kept and age", optarg);
			return false;
		case OPTION_CUM:
			ret_options->by_cum = true;
			break;
		default:
			ret_options->by_lines = true;
		}
	}
	if (optind == argc) {
		hm_fail("there is no PID, LEDGER or PROFILE to show");
		return false;
	}
	return true;
}

/* The value that flat and cum are about. */
static double value_of(const struct hm_view_figures *figures, enum order order)
{
	return order == BY_ALLOC ? figures->alloc_bytes : figures->inuse_bytes;
}

static double variance_of(const struct hm_view_figures *figures, enum order order)
{
	return order == BY_ALLOC ? figures->alloc_variance : figures->inuse_variance;
}

/*
 * What to order by.  kept: the lower end of the interval, so that one sample that happens to live (21 % to
 * 100 %) does not stand above what is known to be kept.
 */
static double sort_key(const struct hm_view_figures *figures, enum order order)
{
	switch (order) {
	case BY_KEPT:
		return hm_kept_of(figures).low;
	case BY_AGE:
		return hm_mean_age_of(figures).seconds;
	default:
		return value_of(figures, order);
	}
}

/* What the columns after cum% are about: a function itself, or with all that it called. */
static const struct hm_view_figures *figures_of(const struct hm_function *row,
						const struct top_options *options)
{
	return options->by_cum ? &row->cum : &row->flat;
}

/* The largest key first; of equals the largest value, the largest cum, then alphabetical. */
static int compare_rows(const void *a, const void *b, void *context)
{
	const struct hm_function *const left = a;
	const struct hm_function *const right = b;
	const struct top_options *const options = context;
	const double keys[][2] = {
		{ sort_key(figures_of(left, options), options->order),
		  sort_key(figures_of(right, options), options->order) },
		{ value_of(figures_of(left, options), options->order),
		  value_of(figures_of(right, options), options->order) },
		{ value_of(&left->cum, options->order), value_of(&right->cum, options->order) },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? 1 : -1;
	return strcmp(left->name, right->name);
}

/* Widths of columns, with a blank in front. */
enum {
	WIDTH_SIZE = 10,
	WIDTH_PERCENT = 8,
	WIDTH_INTERVAL = 7,
	WIDTH_RANGE = 9,
	WIDTH_AGE = 8,
	WIDTH_NARROW = 4 * WIDTH_SIZE + 4 * WIDTH_PERCENT + WIDTH_INTERVAL + WIDTH_AGE + 2,
	WIDTH_WIDE = WIDTH_NARROW + 2 * WIDTH_INTERVAL + WIDTH_RANGE + WIDTH_AGE,
};

/*
 * How the table is made to fit a terminal; what goes into a pipe has all columns and whole names.  On a
 * terminal with too little room for a name, the intervals of cum, alloc, kept% and age are left out.
 */
struct layout {
	size_t name_columns; /* 0: any number */
	bool is_wide;
};

static struct layout make_layout(void)
{
	const size_t columns = hm_terminal_columns(stdout);
	const bool is_wide = columns == 0 || columns >= (size_t)WIDTH_WIDE + HM_NAME_COLUMNS_MIN;

	return (struct layout){
		.name_columns = hm_name_columns(is_wide ? WIDTH_WIDE : WIDTH_NARROW),
		.is_wide = is_wide,
	};
}

static double percent_of(double part, double total)
{
	return total != 0 ? 100 * part / total : 0;
}

static void print_percent(double part, double total)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%.2f%%", percent_of(part, total));
	hm_print_column(WIDTH_PERCENT, text);
}

static void print_titles(const struct layout *layout)
{
	(void)fputs(hm_style(stdout, HM_STYLE_BOLD), stdout);
	hm_print_column(WIDTH_SIZE, "flat");
	hm_print_column(WIDTH_PERCENT, "flat%");
	hm_print_column(WIDTH_PERCENT, "sum%");
	hm_print_column(WIDTH_SIZE, "cum");
	hm_print_column(WIDTH_PERCENT, "cum%");
	if (layout->is_wide)
		hm_print_column(WIDTH_INTERVAL, "±");
	hm_print_column(WIDTH_SIZE, "alloc");
	if (layout->is_wide)
		hm_print_column(WIDTH_INTERVAL, "±");
	hm_print_column(WIDTH_SIZE, "inuse");
	hm_print_column(WIDTH_INTERVAL, "±");
	hm_print_column(WIDTH_PERCENT, "kept%");
	if (layout->is_wide)
		hm_print_column(WIDTH_RANGE, "95%");
	hm_print_column(WIDTH_AGE, "age");
	if (layout->is_wide)
		hm_print_column(WIDTH_AGE, "±");
	(void)printf("  function%s\n", hm_style(stdout, HM_STYLE_PLAIN));
}

static void print_kept(const struct hm_view_figures *figures, const struct layout *layout)
{
	const struct hm_kept kept = hm_kept_of(figures);
	char text[32] = "-";
	char range[32] = "";

	if (figures->alloc_bytes > 0)
		(void)snprintf(text, sizeof(text), "%.1f%%", 100 * kept.part);
	if (kept.low < kept.high)
		(void)snprintf(range, sizeof(range), "%.0f-%.0f%%", 100 * kept.low, 100 * kept.high);
	hm_print_column(WIDTH_PERCENT, text);
	if (layout->is_wide)
		hm_print_column(WIDTH_RANGE, range);
}

static void print_age(const struct hm_view_figures *figures, const struct layout *layout)
{
	const struct hm_mean_age age = hm_mean_age_of(figures);
	char interval[40] = "";

	hm_print_column(WIDTH_AGE, figures->aged_bytes > 0 ? hm_show_duration(age.seconds).text : "-");
	if (age.variance > 0)
		(void)snprintf(interval, sizeof(interval), "±%s",
			       hm_show_duration(hm_half_width(age.variance)).text);
	if (layout->is_wide)
		hm_print_column(WIDTH_AGE, interval);
}

static void print_row(const struct hm_function *row, const struct top_options *options,
		      const struct layout *layout, double total, double sum)
{
	const struct hm_view_figures *const figures = figures_of(row, options);

	hm_print_column(WIDTH_SIZE, hm_show_bytes(value_of(&row->flat, options->order)).text);
	print_percent(value_of(&row->flat, options->order), total);
	print_percent(sum, total);
	hm_print_column(WIDTH_SIZE, hm_show_bytes(value_of(&row->cum, options->order)).text);
	print_percent(value_of(&row->cum, options->order), total);
	if (layout->is_wide)
		hm_print_column(WIDTH_INTERVAL, hm_show_interval(value_of(&row->cum, options->order),
								 variance_of(&row->cum, options->order))
							.text);
	hm_print_column(WIDTH_SIZE, hm_show_bytes(figures->alloc_bytes).text);
	if (layout->is_wide)
		hm_print_column(WIDTH_INTERVAL,
				hm_show_interval(figures->alloc_bytes, figures->alloc_variance).text);
	hm_print_column(WIDTH_SIZE, hm_show_bytes(figures->inuse_bytes).text);
	hm_print_column(WIDTH_INTERVAL, hm_show_interval(figures->inuse_bytes, figures->inuse_variance).text);
	print_kept(figures, layout);
	print_age(figures, layout);
	hm_print_name(row->name, layout->name_columns);
}

/* Moves the rows worth showing to the front.  Returns how many there are. */
static size_t select_rows(struct hm_functions *functions, const struct top_options *options)
{
	const double least = left_out_below * value_of(&functions->total, options->order);
	size_t count = 0;

	for (size_t i = 0; i < functions->row_count; i++) {
		const double cum = value_of(&functions->rows[i].cum, options->order);

		if (cum > 0 && cum >= least) {
			const struct hm_function row = functions->rows[i];

			functions->rows[i] = functions->rows[count];
			functions->rows[count++] = row;
		}
	}
	return count;
}

static void print_table(struct hm_functions *functions, struct top_options *options)
{
	const struct hm_view_figures *const total = &functions->total;
	const double total_value = value_of(total, options->order);
	const size_t selected = select_rows(functions, options);
	const size_t shown = options->row_count == 0 || options->row_count > selected
				     ? selected
				     : (size_t)options->row_count;
	double sum = 0;

	if (selected > 0)
		qsort_r(functions->rows, selected, sizeof(functions->rows[0]), compare_rows, options);
	for (size_t i = 0; i < shown; i++)
		sum += value_of(&functions->rows[i].flat, options->order);

	const struct hm_shown alloc_interval = hm_show_interval(total->alloc_bytes, total->alloc_variance);
	const struct hm_shown interval = hm_show_interval(total->inuse_bytes, total->inuse_variance);
	const struct layout layout = make_layout();

	(void)printf("%s%s%s allocated, %s%s%s in use\n", hm_show_bytes(total->alloc_bytes).text,
		     alloc_interval.text[0] != '\0' ? " " : "", alloc_interval.text,
		     hm_show_bytes(total->inuse_bytes).text, interval.text[0] != '\0' ? " " : "",
		     interval.text);
	(void)printf("%zu of %zu functions, by %s%s, with %.2f%% of the %s %s", shown, functions->row_count,
		     order_names[options->order], options->by_cum ? " (cum)" : "",
		     percent_of(sum, total_value), hm_show_bytes(total_value).text,
		     options->order == BY_ALLOC ? "allocated" : "in use");
	if (selected < functions->row_count)
		(void)printf("; %zu below %.1f%% left out", functions->row_count - selected,
			     100 * left_out_below);
	(void)printf("\n\n");
	print_titles(&layout);
	sum = 0;
	for (size_t i = 0; i < shown; i++) {
		sum += value_of(&functions->rows[i].flat, options->order);
		print_row(&functions->rows[i], options, &layout, total_value, sum);
	}
}

/* Adds one argument's figures.  Returns an exit status. */
static int add_argument(const struct hm_verb *verb, const char *argument, const struct top_options *options,
			struct hm_functions *functions)
{
	struct hm_view view;
	bool loaded = false;
	const int status = hm_view_argument(verb->name, argument, &view, &loaded);

	if (!loaded)
		return status;
	if (hm_functions_add(functions, &view, &view.profile, options->by_lines) != 0)
		hm_warn_not_hidden(argument);
	hm_view_done(&view);
	return status;
}

static int show(struct hm_functions *functions, struct top_options *options)
{
	if (options->order == BY_AGE && !(functions->total.aged_bytes > 0)) {
		hm_fail("--by age: no ages are known: nothing is in use, or the profile was written with "
			"--no-labels");
		hm_advise("heapmark top --by inuse ...");
		return HM_EXIT_USAGE;
	}
	if (options->by_lines && !functions->has_lines)
		hm_warn("no lines are known, so functions are shown");
	print_table(functions, options);
	return HM_EXIT_DONE;
}

static int top_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct top_options options = { .row_count = ROWS_DEFAULT };
	struct hm_functions functions = { 0 };
	struct hm_input_list list;
	const char *culprit = NULL;
	int status = HM_EXIT_DONE;

	if (!parse_options(verb, argc, argv, &options))
		return hm_verb_usage(verb);

	const int error = hm_input_list_init(argv + optind, (size_t)(argc - optind), true, &list, &culprit);

	if (error != 0) {
		hm_fail("%s: %s", culprit,
			error == -ENOENT ? "no profile or ledger in this directory" : strerror(-error));
		return hm_verb_usage(verb);
	}
	for (size_t i = 0; i < list.count; i++)
		status = hm_exit_worse(status, add_argument(verb, list.arguments[i], &options, &functions));
	if (functions.sample_count > 0 || status == HM_EXIT_DONE)
		status = hm_exit_worse(status, show(&functions, &options));
	hm_input_list_done(&list);
	hm_functions_done(&functions);
	return status;
}

static const struct hm_option top_options[] = {
	{ 'n', "rows", "N", "at most N rows (default 20); 0: all" },
	{ OPTION_BY, "by", "ORDER",
	  "inuse: what is in use (default); alloc: what was allocated;\n"
	  "kept: in use of what was allocated, at least; age: mean age of what\n"
	  "is in use" },
	{ OPTION_CUM, "cum", NULL,
	  "order by a function with all that it called, and show alloc,\n"
	  "inuse, kept% and age of that too" },
	{ OPTION_LINES, "lines", NULL, "lines in place of functions, where they are known" },
	{ 0 },
};

const struct hm_verb hm_verb_top = {
	.name = "top",
	.summary = "shows the functions that allocate or keep most",
	.synopsis = "[-n N] [--by inuse|alloc|kept|age] [--cum] [--lines] PID|LEDGER|PROFILE...",
	.text = "A table of functions.  flat: what a function allocated itself; cum: with all that it "
		"called;\n"
		"alloc: allocated since the start; inuse: allocated and not freed; kept%: inuse of alloc; "
		"age: "
		"mean\n"
		"age of what is in use; behind each its 95 % interval, where it is an estimate.\n"
		"Several arguments are added up.  A directory stands for all profiles and ledgers in it.",
	.options = top_options,
	.usage_status = HM_EXIT_USAGE,
	.main = top_main,
};
