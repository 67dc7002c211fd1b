// SPDX-License-Identifier: Apache-2.0
/*
 * A verb of the command: what it is called, what it accepts, what it does.
 *
 * To add one: write cmd_NAME.c that defines hm_verb_NAME, name it at the end of this file, in the table of
 * main.c and in meson.build.
 */
#ifndef HM_TOOLS_VERB_H
#define HM_TOOLS_VERB_H

#include <stdbool.h>

struct hm_option {
	int letter;           /* what hm_verb_option returns; '-x' is accepted where it is a character */
	const char *name;     /* '--name' */
	const char *argument; /* what it takes, in capitals; NULL: nothing */
	const char *help;     /* lines broken by '\n' */
};

/* From here on: letters of options that have a long name only. */
enum { HM_OPTION_LONG_ONLY = 256 };

struct hm_verb {
	const char *name;
	const char *summary;             /* one line for the list of verbs */
	const char *synopsis;            /* after "heapmark NAME " */
	const char *text;                /* what --help prints below it; lines broken by '\n' */
	const struct hm_option *options; /* ended by letter 0; -h, -V and -q are understood anyway */
	bool stops_at_operand;           /* options after the first operand are not for us */
	int usage_status;                /* exit status of a command line that is not understood */

	/* Returns the exit status.  argv[0] is the verb; options are read with hm_verb_option. */
	int (*main)(const struct hm_verb *verb, int argc, char **argv);
};

/*
 * Reads the next option: returns its letter, with what it takes in `optarg`, or -1 when there is none left
 * and argv[optind] is the first operand.  --help and --version print and exit; what is not understood is
 * explained, and the process exits with usage_status.
 */
int hm_verb_option(const struct hm_verb *verb, int argc, char **argv);

/* Explains how the verb is used, after hm_fail has said what is wrong; returns usage_status. */
int hm_verb_usage(const struct hm_verb *verb);

void hm_verb_print_help(const struct hm_verb *verb);

extern const struct hm_verb hm_verb_run;
extern const struct hm_verb hm_verb_dump;
extern const struct hm_verb hm_verb_top;
extern const struct hm_verb hm_verb_flame;
extern const struct hm_verb hm_verb_diff;
extern const struct hm_verb hm_verb_doctor;
extern const struct hm_verb hm_verb_rate;
extern const struct hm_verb hm_verb_check;
extern const struct hm_verb hm_verb_symbolize;
extern const struct hm_verb hm_verb_serve;
extern const struct hm_verb hm_verb_watch;

#endif
