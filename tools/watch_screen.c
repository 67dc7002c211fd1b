// SPDX-License-Identifier: Apache-2.0
#include "tools/watch_screen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	COLUMNS_UNKNOWN = 80,
	ROWS_UNKNOWN = 24,
	LABEL_COLUMNS = 9,
	VALUE_COLUMNS = 24, /* "1023M ±>999% (-1023M)" */
	RANGE_COLUMNS = 14, /* "  9.9M..1023M" */
	BARS_MIN = 5,       /* fewer say nothing */
};

bool hm_watch_has_screen(void)
{
	const char *const term = getenv("TERM");

	return isatty(STDOUT_FILENO) == 1 && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

static void push(double *values, size_t count, double value)
{
	if (count == HM_WATCH_HISTORY) {
		memmove(values, values + 1, (HM_WATCH_HISTORY - 1) * sizeof(*values));
		count--;
	}
	values[count] = value;
}

void hm_watch_screen_add(struct hm_watch_screen *screen, const struct hm_watch_figures *figures)
{
	push(screen->resident, screen->count, figures->resident_bytes);
	push(screen->inuse, screen->count, figures->inuse_bytes);
	push(screen->alloc, screen->count, figures->alloc_bytes_per_second);
	push(screen->free, screen->count, figures->free_bytes_per_second);
	push(screen->live, screen->count, figures->live_objects);
	screen->count += screen->count < HM_WATCH_HISTORY;
	screen->last = *figures;
}

/* What is left of the screen while it is drawn. */
struct sheet {
	size_t columns;
	size_t row_count; /* that are there */
	size_t rows_used;
};

static struct sheet begin_sheet(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
		size = (struct winsize){ .ws_col = 0 };
	return (struct sheet){
		.columns = size.ws_col > 0 ? size.ws_col : COLUMNS_UNKNOWN,
		.row_count = size.ws_row > 0 ? size.ws_row : ROWS_UNKNOWN,
	};
}

/* How many bytes of UTF-8 text take so many columns, one a character. */
static size_t cut(const char *text, size_t columns)
{
	size_t length = 0;

	for (; text[length] != '\0'; length++) {
		const bool begins =
			(text[length] & 0xc0) != 0x80; /* else it belongs to the character before */

		if (begins && columns-- == 0)
			break;
	}
	return length;
}

/*
 * Puts a row below the others, cut where the screen ends.  Where there is no row left, it is left out: the
 * screen would move up, and the first rows would be lost; for the same reason a line feed is before a row and
 * not behind it.  What was there is erased before: behind a row that fills the screen's width the cursor
 * stands on its last character.
 */
static void put_row(struct sheet *sheet, enum hm_style style, const char *text)
{
	if (sheet->rows_used == sheet->row_count)
		return;
	(void)printf("%s\033[K%s%.*s%s", sheet->rows_used++ > 0 ? "\r\n" : "\033[H", hm_style(stdout, style),
		     (int)cut(text, sheet->columns), text, hm_style(stdout, HM_STYLE_PLAIN));
}

/* Erases the rows below, of a taller screen before. */
static void end_sheet(const struct sheet *sheet)
{
	if (sheet->rows_used < sheet->row_count)
		(void)fputs("\r\n\033[J", stdout);
	(void)fflush(stdout);
}

/* "alloc    120M/s                  ▁▂▃▅▇  1.1M..120M" */
static void draw_row(struct sheet *sheet, const char *label, const char *value, const double *history,
		     size_t count, struct hm_shown (*show)(double))
{
	const size_t taken = LABEL_COLUMNS + VALUE_COLUMNS + RANGE_COLUMNS;
	const size_t bar_count = sheet->columns > taken + BARS_MIN ? sheet->columns - taken : 0;
	const size_t first = count > bar_count ? count - bar_count : 0;
	char bars[3 * HM_WATCH_HISTORY + 1];
	char row[sizeof(bars) + 256];
	double low = INFINITY;
	double high = -INFINITY;

	if (bar_count == 0 || count == 0) {
		(void)snprintf(row, sizeof(row), "%-*s%s", LABEL_COLUMNS, label, value);
		put_row(sheet, HM_STYLE_PLAIN, row);
		return;
	}
	for (size_t i = first; i < count; i++) {
		low = fmin(low, history[i]);
		high = fmax(high, history[i]);
	}
	hm_watch_bars(history, count, bar_count, bars);
	/* printf would count the two bytes of "±" as two columns */
	(void)snprintf(row, sizeof(row), "%-*s%-*s%s  %s..%s", LABEL_COLUMNS, label,
		       VALUE_COLUMNS + (strstr(value, "±") != NULL), value, bars, show(low).text,
		       show(high).text);
	put_row(sheet, HM_STYLE_PLAIN, row);
}

static void draw_rates(struct sheet *sheet, const struct hm_watch_screen *screen)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%s/s",
		       hm_show_short_bytes(screen->last.alloc_bytes_per_second).text);
	draw_row(sheet, "alloc", text, screen->alloc, screen->count, hm_show_short_bytes);
	(void)snprintf(text, sizeof(text), "%s/s",
		       hm_show_short_bytes(screen->last.free_bytes_per_second).text);
	draw_row(sheet, "free", text, screen->free, screen->count, hm_show_short_bytes);
}

void hm_watch_screen_draw(struct hm_watch_screen *screen)
{
	const struct hm_watch_figures *const last = &screen->last;
	struct sheet sheet = begin_sheet();
	char text[128];

	if (!screen->is_shown)
		(void)fputs("\033[?1049h\033[?25l", stdout); /* another screen, no cursor */
	screen->is_shown = true;
	put_row(&sheet, HM_STYLE_BOLD, screen->title);
	(void)snprintf(text, sizeof(text), "@%.1fs", last->age_seconds);
	draw_row(&sheet, "", text, NULL, 0, NULL);
	draw_row(&sheet, "rss", hm_show_short_bytes(last->resident_bytes).text, screen->resident,
		 screen->count, hm_show_short_bytes);
	(void)snprintf(text, sizeof(text), "%s %s (%s)", hm_show_short_bytes(last->inuse_bytes).text,
		       hm_show_watch_interval(last).text,
		       hm_show_short_change(last->inuse_change_bytes).text);
	draw_row(&sheet, "inuse", text, screen->inuse, screen->count, hm_show_short_bytes);
	draw_rates(&sheet, screen);
	draw_row(&sheet, "live", hm_show_short_count(last->live_objects).text, screen->live, screen->count,
		 hm_show_short_count);
	(void)snprintf(text, sizeof(text), "%u", (unsigned int)last->thread_count);
	draw_row(&sheet, "threads", text, NULL, 0, NULL);
	end_sheet(&sheet);
}

void hm_watch_screen_leave(struct hm_watch_screen *screen)
{
	if (!screen->is_shown)
		return;
	screen->is_shown = false;
	(void)fputs("\033[?25h\033[?1049l", stdout);
	(void)fflush(stdout);
}
