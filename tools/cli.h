// SPDX-License-Identifier: Apache-2.0
/*
 * How the command talks: messages, figures, colours.
 *
 * Messages go to standard error and begin with "heapmark: "; data goes to standard output.  An error takes up
 * to three lines: what is missing and what follows from it, then "heapmark: next  " and what to type.
 * Colours are used on terminals only, and not where NO_COLOR is set or TERM is "dumb".
 */
#ifndef HM_TOOLS_CLI_H
#define HM_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum hm_exit {
	HM_EXIT_DONE = 0,
	HM_EXIT_FOUND = 1, /* a check found something */
	HM_EXIT_USAGE = 2, /* usage or bad input */

	/* of `heapmark run`, whose other statuses are its COMMAND's */
	HM_EXIT_RUN_FAILED = 125,
	HM_EXIT_NOT_EXECUTABLE = 126,
	HM_EXIT_NOT_FOUND = 127,
	HM_EXIT_SIGNAL = 128, /* plus the number of the signal that ended COMMAND */
};

/* The exit status of several pieces of work: bad input outweighs a finding, a finding outweighs none. */
static inline int hm_exit_worse(int a, int b)
{
	return a > b ? a : b;
}

/* -q: from now on hm_say and hm_next print nothing.  Errors and warnings are always printed. */
void hm_set_quiet(void);

/* Whether -q was given. */
bool hm_is_quiet(void);

/* What was done. */
void hm_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What to type next, after something was done. */
void hm_next(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What will be missing, where the work goes on. */
void hm_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What is missing and what follows, where it does not go on. */
void hm_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What to type next, after hm_fail: printed even when quiet. */
void hm_advise(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * The exit status, once standard output is flushed: HM_EXIT_USAGE, said why, where not all of it could be
 * written.  For all verbs, since most is written after their last word.
 */
int hm_end_output(int status);

/* The width of the terminal that `stream` is; 0 where it is none, or has no width. */
size_t hm_terminal_columns(FILE *stream);

enum hm_style { HM_STYLE_PLAIN, HM_STYLE_BOLD, HM_STYLE_RED, HM_STYLE_YELLOW };

/* The escape sequence that switches to `style` on `stream`, or "" where there are no colours. */
const char *hm_style(FILE *stream, enum hm_style style);

/*
 * Replaces control characters by '?': text out of files (names, comments, paths) goes through this before a
 * terminal could take it for commands.
 */
void hm_make_printable(char *text);

/* The same of a copy, on standard output. */
void hm_print_printable(const char *text);

/* Figures as text, returned in a struct so that several can stand in one printf. */
struct hm_shown {
	char text[32];
};

/*
 * "0 B", "912 B", "1.9 GiB", "212 MiB": one decimal below 100, none from there on; units of 1024.
 * Used for every size the command prints.
 */
struct hm_shown hm_show_bytes(double bytes);

/*
 * "±2%": half the width of the 95 % interval of an estimate, relative to it.  Empty where the figure is exact
 * (variance 0), "±>999%" where the interval says nothing.
 */
struct hm_shown hm_show_interval(double estimate, double variance);

/* "850ms", "12.5s", "3m20s", "5h07m", "2d03h". */
struct hm_shown hm_show_duration(double seconds);

/*
 * Reads a size as the library does: "524288", "512K", "512k", "2M", "1G", "64KiB", "64kB"; units of 1024.
 * Returns false where that is not what `text` holds.
 */
bool hm_parse_bytes(const char *text, uint64_t *ret_bytes);

/* Reads "2", "0.5", "90s", "5m", "1h".  More than zero; returns false otherwise. */
bool hm_parse_seconds(const char *text, double *ret_seconds);

/* Reads a whole number without sign. */
bool hm_parse_count(const char *text, uint64_t *ret_count);

/* A path as a shell would have to be told it: as it is, or in quotes.  The caller frees; never NULL. */
char *hm_shell_quote(const char *path);

#endif
