// SPDX-License-Identifier: Apache-2.0
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool quiet;

void hm_set_quiet(void)
{
	quiet = true;
}

bool hm_is_quiet(void)
{
	return quiet;
}

void hm_make_printable(char *text)
{
	for (; *text != '\0'; text++)
		if (iscntrl((unsigned char)*text))
			*text = '?';
}

void hm_print_printable(const char *text)
{
	char *const copy = strdup(text);

	if (copy == NULL)
		abort();
	hm_make_printable(copy);
	(void)fputs(copy, stdout);
	free(copy);
}

/* One line, written by one call, so that lines of several processes do not run into each other. */
static void print_line(enum hm_style style, const char *label, const char *format, va_list arguments)
{
	char *text = NULL;

	if (vasprintf(&text, format, arguments) < 0)
		return;
	hm_make_printable(text);
	(void)fprintf(stderr, "heapmark: %s%s%s%s\n", hm_style(stderr, style), label,
		      hm_style(stderr, HM_STYLE_PLAIN), text);
	free(text);
}

void hm_say(const char *format, ...)
{
	va_list arguments;

	if (quiet)
		return;
	va_start(arguments, format);
	print_line(HM_STYLE_PLAIN, "", format, arguments);
	va_end(arguments);
}

void hm_next(const char *format, ...)
{
	va_list arguments;

	if (quiet)
		return;
	va_start(arguments, format);
	print_line(HM_STYLE_BOLD, "next  ", format, arguments);
	va_end(arguments);
}

void hm_warn(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(HM_STYLE_YELLOW, "warning: ", format, arguments);
	va_end(arguments);
}

void hm_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(HM_STYLE_RED, "error: ", format, arguments);
	va_end(arguments);
}

void hm_advise(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(HM_STYLE_BOLD, "next  ", format, arguments);
	va_end(arguments);
}

int hm_end_output(int status)
{
	const bool has_failed = ferror(stdout) != 0;

	errno = 0;
	if (fflush(stdout) == 0 && !has_failed)
		return status;
	hm_fail("standard output: %s", errno != 0 ? strerror(errno) : "not all could be written to it");
	return HM_EXIT_USAGE;
}

static bool has_colours(FILE *stream)
{
	const char *const no_color = getenv("NO_COLOR");
	const char *const term = getenv("TERM");

	return isatty(fileno(stream)) == 1 && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
	       strcmp(term, "dumb") != 0;
}

const char *hm_style(FILE *stream, enum hm_style style)
{
	static const char *const sequences[] = {
		[HM_STYLE_PLAIN] = "\033[0m",
		[HM_STYLE_BOLD] = "\033[1m",
		[HM_STYLE_RED] = "\033[31m",
		[HM_STYLE_YELLOW] = "\033[33m",
	};

	return has_colours(stream) ? sequences[style] : "";
}

size_t hm_terminal_columns(FILE *stream)
{
	struct winsize size;

	if (isatty(fileno(stream)) != 1 || ioctl(fileno(stream), TIOCGWINSZ, &size) != 0)
		return 0;
	return size.ws_col;
}

static struct hm_shown format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct hm_shown format_text(const char *format, ...)
{
	struct hm_shown text;
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text.text, sizeof(text.text), format, arguments);
	va_end(arguments);
	return text;
}

struct hm_shown hm_show_bytes(double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t unit = 0;

	/* 1023.5 would be printed as 1024 */
	while (bytes >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	/* 99.95 would be printed as 100.0 */
	return format_text("%.*f %s", unit > 0 && bytes < 99.95 ? 1 : 0, bytes, units[unit]);
}

struct hm_shown hm_show_interval(double estimate, double variance)
{
	enum { PERCENT_MAX = 999 };
	/* of a normal distribution 95 % lie within 1.96 standard deviations of the mean */
	const double percent = 100 * 1.96 * sqrt(variance) / estimate;

	if (!(variance > 0))
		return format_text("%s", "");
	if (!(percent <= PERCENT_MAX))
		return format_text("±>%d%%", PERCENT_MAX);
	return format_text("±%.*f%%", percent < 0.95 ? 1 : 0, percent);
}

struct hm_shown hm_show_duration(double seconds)
{
	enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

	if (seconds < 0.9995)
		return format_text("%.0fms", seconds * 1000);
	if (seconds < 59.95)
		return format_text("%.1fs", seconds);

	const uint64_t whole = (uint64_t)(seconds + 0.5);

	if (whole < HOUR)
		return format_text("%um%02us", (unsigned int)(whole / MINUTE),
				   (unsigned int)(whole % MINUTE));
	if (whole < DAY)
		return format_text("%uh%02um", (unsigned int)(whole / HOUR),
				   (unsigned int)(whole % HOUR / MINUTE));
	return format_text("%ud%02uh", (unsigned int)(whole / DAY), (unsigned int)(whole % DAY / HOUR));
}

bool hm_parse_count(const char *text, uint64_t *ret_count)
{
	char *end = NULL;

	if (!isdigit((unsigned char)text[0])) /* strtoull takes blanks and signs */
		return false;
	errno = 0;
	const unsigned long long count = strtoull(text, &end, 10);

	if (errno != 0 || *end != '\0')
		return false;
	*ret_count = count;
	return true;
}

bool hm_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	char *end = NULL;
	unsigned int shift = 0;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	const unsigned long long number = strtoull(text, &end, 10);
	const char *const unit = *end != '\0' ? strchr(units, toupper((unsigned char)*end)) : NULL;

	if (unit != NULL) {
		shift = 10 * (unsigned int)(unit - units + 1);
		end++;
		end += *end == 'i';
	}
	end += *end == 'B' || *end == 'b';
	if (errno != 0 || *end != '\0' || number > UINT64_MAX >> shift)
		return false;
	*ret_bytes = (uint64_t)number << shift;
	return true;
}

bool hm_parse_seconds(const char *text, double *ret_seconds)
{
	char *end = NULL;

	if (!isdigit((unsigned char)text[0]) && text[0] != '.') /* strtod takes "inf", "nan" and signs */
		return false;

	double seconds = strtod(text, &end);

	if (strcmp(end, "m") == 0)
		seconds *= 60;
	else if (strcmp(end, "h") == 0)
		seconds *= 3600;
	else if (strcmp(end, "") != 0 && strcmp(end, "s") != 0)
		return false;
	if (!(seconds > 0) || !isfinite(seconds))
		return false;
	*ret_seconds = seconds;
	return true;
}

static bool needs_quotes(const char *text)
{
	static const char harmless[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+@%=";

	return text[0] == '\0' || text[strspn(text, harmless)] != '\0';
}

char *hm_shell_quote(const char *path)
{
	/* in the worst case every character becomes '\'' */
	char *const quoted = malloc(4 * strlen(path) + 3);
	char *end = quoted;

	if (quoted == NULL)
		abort();
	if (!needs_quotes(path))
		return strcpy(quoted, path);
	*end++ = '\'';
	for (; *path != '\0'; path++) {
		if (*path == '\'')
			end = stpcpy(end, "'\\''");
		else
			*end++ = *path;
	}
	*end++ = '\'';
	*end = '\0';
	return quoted;
}
