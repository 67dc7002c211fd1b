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

static size_t columns_now(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
									       : COLUMNS_UNKNOWN;
}

/* The end of a row: everything to its right is erased, and so is what was there before. */
static void end_row(void)
{
	(void)fputs("\033[K\r\n", stdout);
}

/* "alloc    120M/s                  ▁▂▃▅▇  1.1M..120M" */
static void draw_row(const char *label, const char *value, const double *history, size_t count,
		     struct hm_shown (*show)(double), size_t columns)
{
	const size_t taken = LABEL_COLUMNS + VALUE_COLUMNS + RANGE_COLUMNS;
	const size_t bar_count = columns > taken + BARS_MIN ? columns - taken : 0;
	const size_t first = count > bar_count ? count - bar_count : 0;
	char bars[3 * HM_WATCH_HISTORY + 1];
	double low = INFINITY;
	double high = -INFINITY;

	(void)printf("%-*s", LABEL_COLUMNS, label);
	if (bar_count == 0 || count == 0) {
		(void)fputs(value, stdout);
		end_row();
		return;
	}
	for (size_t i = first; i < count; i++) {
		low = fmin(low, history[i]);
		high = fmax(high, history[i]);
	}
	hm_watch_bars(history, count, bar_count, bars);
	/* printf would count the two bytes of "±" as two columns */
	(void)printf("%-*s%s  %s..%s", VALUE_COLUMNS + (strstr(value, "±") != NULL), value, bars,
		     show(low).text, show(high).text);
	end_row();
}

static void draw_rates(const struct hm_watch_screen *screen, size_t columns)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%s/s",
		       hm_show_short_bytes(screen->last.alloc_bytes_per_second).text);
	draw_row("alloc", text, screen->alloc, screen->count, hm_show_short_bytes, columns);
	(void)snprintf(text, sizeof(text), "%s/s",
		       hm_show_short_bytes(screen->last.free_bytes_per_second).text);
	draw_row("free", text, screen->free, screen->count, hm_show_short_bytes, columns);
}

void hm_watch_screen_draw(struct hm_watch_screen *screen)
{
	const struct hm_watch_figures *const last = &screen->last;
	const size_t columns = columns_now();
	char text[128];

	if (!screen->is_shown)
		(void)fputs("\033[?1049h\033[?25l", stdout); /* another screen, no cursor */
	screen->is_shown = true;
	(void)printf("\033[H%s%.*s%s", hm_style(stdout, HM_STYLE_BOLD), (int)columns, screen->title,
		     hm_style(stdout, HM_STYLE_PLAIN));
	end_row();
	(void)snprintf(text, sizeof(text), "@%.1fs", last->age_seconds);
	draw_row("", text, NULL, 0, NULL, columns);
	draw_row("rss", hm_show_short_bytes(last->resident_bytes).text, screen->resident, screen->count,
		 hm_show_short_bytes, columns);
	(void)snprintf(text, sizeof(text), "%s %s (%s)", hm_show_short_bytes(last->inuse_bytes).text,
		       hm_show_watch_interval(last).text,
		       hm_show_short_change(last->inuse_change_bytes).text);
	draw_row("inuse", text, screen->inuse, screen->count, hm_show_short_bytes, columns);
	draw_rates(screen, columns);
	draw_row("live", hm_show_short_count(last->live_objects).text, screen->live, screen->count,
		 hm_show_short_count, columns);
	(void)snprintf(text, sizeof(text), "%u", (unsigned int)last->thread_count);
	draw_row("threads", text, NULL, 0, NULL, columns);
	(void)fputs("\033[J", stdout); /* rows of a taller screen */
	(void)fflush(stdout);
}

void hm_watch_screen_leave(struct hm_watch_screen *screen)
{
	if (!screen->is_shown)
		return;
	screen->is_shown = false;
	(void)fputs("\033[?25h\033[?1049l", stdout);
	(void)fflush(stdout);
}
