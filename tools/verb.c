// SPDX-License-Identifier: Apache-2.0
#include "tools/verb.h"

#include "tools/cli.h"
#include "tools/nearest.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 24 };

static const struct hm_option common_options[] = {
	{ 'q', "quiet", NULL, "print errors and warnings only" },
	{ 'h', "help", NULL, "this text" },
	{ 'V', "version", NULL, "the version" },
	{ 0 },
};

/* The verb's options in the form getopt_long wants. */
struct getopt_tables {
	char letters[2 * OPTIONS_MAX + 3];
	struct option names[OPTIONS_MAX + 1];
	size_t count;
};

static void add_options(struct getopt_tables *tables, const struct hm_option *options)
{
	for (; options->letter != 0 && tables->count < OPTIONS_MAX; options++) {
		tables->names[tables->count++] = (struct option){
			.name = options->name,
			.has_arg = options->argument != NULL ? required_argument : no_argument,
			.val = options->letter,
		};
		if (options->letter < HM_OPTION_LONG_ONLY) {
			const char letter[] = { (char)options->letter, '\0' };

			strcat(tables->letters, letter);
			strcat(tables->letters, options->argument != NULL ? ":" : "");
		}
	}
}

static void build_tables(const struct hm_verb *verb, struct getopt_tables *tables)
{
	/* ':' makes getopt tell a missing argument from an unknown option */
	*tables = (struct getopt_tables){ 0 };
	strcpy(tables->letters, verb->stops_at_operand ? "+:" : ":");
	add_options(tables, verb->options);
	add_options(tables, common_options);
}

static void explain_unknown_option(const struct getopt_tables *tables, const char *argument)
{
	const char *candidates[OPTIONS_MAX];
	const char *near = NULL;

	if (strncmp(argument, "--", 2) != 0) {
		hm_fail("unknown option -%c", optopt);
		return;
	}
	if (optopt != 0) { /* getopt knows the option: it takes no argument, but was given one */
		hm_fail("option %.*s takes no argument", (int)strcspn(argument, "="), argument);
		return;
	}
	for (size_t i = 0; i < tables->count; i++)
		candidates[i] = tables->names[i].name;
	near = hm_nearest(argument + 2, candidates, tables->count);
	if (near != NULL)
		hm_fail("unknown option %s: did you mean --%s?", argument, near);
	else
		hm_fail("unknown option %s", argument);
}

int hm_verb_usage(const struct hm_verb *verb)
{
	hm_advise("heapmark %s --help", verb->name);
	return verb->usage_status;
}

static void print_option(const struct hm_option *option)
{
	enum { HELP_COLUMN = 24 };
	char left[64];
	const char *help = option->help;
	const char letter[] = { '-', (char)option->letter, ',', ' ', '\0' };

	(void)snprintf(left, sizeof(left), "  %s--%s%s%s",
		       option->letter < HM_OPTION_LONG_ONLY ? letter : "    ", option->name,
		       option->argument != NULL ? " " : "", option->argument != NULL ? option->argument : "");
	for (;;) {
		const size_t length = strcspn(help, "\n");

		(void)printf("%-*s %.*s\n", HELP_COLUMN, left, (int)length, help);
		if (help[length] == '\0')
			break;
		help += length + 1;
		left[0] = '\0';
	}
}

void hm_verb_print_help(const struct hm_verb *verb)
{
	(void)printf("usage: heapmark %s %s\n\n%s\n\noptions:\n", verb->name, verb->synopsis, verb->text);
	for (const struct hm_option *option = verb->options; option->letter != 0; option++)
		print_option(option);
	for (const struct hm_option *option = common_options; option->letter != 0; option++)
		print_option(option);
	(void)printf("\nmanual: man heapmark-%s\n", verb->name);
}

int hm_verb_option(const struct hm_verb *verb, int argc, char **argv)
{
	struct getopt_tables tables;

	build_tables(verb, &tables);
	opterr = 0;
	for (;;) {
		const int next = optind == 0 ? 1 : optind;
		const int letter = getopt_long(argc, argv, tables.letters, tables.names, NULL);

		switch (letter) {
		case 'q':
			hm_set_quiet();
			break;
		case 'h':
			hm_verb_print_help(verb);
			exit(hm_end_output(HM_EXIT_DONE));
		case 'V':
			(void)printf("heapmark %s\n", HM_VERSION);
			exit(hm_end_output(HM_EXIT_DONE));
		case ':':
			hm_fail("option %s needs a value", argv[optind - 1]);
			exit(hm_verb_usage(verb));
		case '?':
			explain_unknown_option(&tables, argv[optind > next ? optind - 1 : next]);
			exit(hm_verb_usage(verb));
		default:
			return letter;
		}
	}
}
