// SPDX-License-Identifier: Apache-2.0
#include "tools/watch_line.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct hm_shown show(double number, double step, const char *const *units, size_t unit_count)
{
	struct hm_shown shown;
	size_t unit = 0;

	/* what would be printed as 1024 or 1000 of one unit is 1 of the next */
	while (number >= step - 0.5 && unit + 1 < unit_count) {
		number /= step;
		unit++;
	}
	/* 9.95 would be printed as 10.0 */
	(void)snprintf(shown.text, sizeof(shown.text), "%.*f%s", unit > 0 && number < 9.95 ? 1 : 0, number,
		       units[unit]);
	return shown;
}

struct hm_shown hm_show_short_bytes(double bytes)
{
	static const char *const units[] = { "B", "K", "M", "G", "T", "P", "E" };

	return show(bytes, 1024, units, sizeof(units) / sizeof(units[0]));
}

struct hm_shown hm_show_short_count(double count)
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P", "E" };

	return show(count, 1000, units, sizeof(units) / sizeof(units[0]));
}

struct hm_shown hm_show_short_change(double bytes)
{
	struct hm_shown shown;

	(void)snprintf(shown.text, sizeof(shown.text), "%c%.20s", bytes < 0 ? '-' : '+',
		       hm_show_short_bytes(fabs(bytes)).text);
	return shown;
}

struct hm_shown hm_show_watch_interval(const struct hm_watch_figures *figures)
{
	struct hm_shown shown = hm_show_interval(figures->inuse_bytes, figures->inuse_variance);

	if (shown.text[0] == '\0')
		strcpy(shown.text, "±0%");
	return shown;
}

void hm_watch_line(const struct hm_watch_figures *figures, char ret_line[HM_WATCH_LINE_BYTES])
{
	(void)snprintf(ret_line, HM_WATCH_LINE_BYTES,
		       "@%.1fs rss %s inuse %s %s (%s) alloc %s/s free %s/s live %s threads %u",
		       figures->age_seconds, hm_show_short_bytes(figures->resident_bytes).text,
		       hm_show_short_bytes(figures->inuse_bytes).text, hm_show_watch_interval(figures).text,
		       hm_show_short_change(figures->inuse_change_bytes).text,
		       hm_show_short_bytes(figures->alloc_bytes_per_second).text,
		       hm_show_short_bytes(figures->free_bytes_per_second).text,
		       hm_show_short_count(figures->live_objects).text, (unsigned int)figures->thread_count);
}

void hm_watch_bars(const double *values, size_t count, size_t columns, char *ret_text)
{
	static const char *const bars[] = { "▁", "▂", "▃", "▅", "▇" };
	enum { BAR_COUNT = sizeof(bars) / sizeof(bars[0]) };
	const size_t first = count > columns ? count - columns : 0;
	double low = INFINITY;
	double high = -INFINITY;

	for (size_t i = first; i < count; i++) {
		low = fmin(low, values[i]);
		high = fmax(high, values[i]);
	}
	ret_text[0] = '\0';
	for (size_t i = first; i < count; i++) {
		const double height = high > low ? (values[i] - low) / (high - low) * (BAR_COUNT - 1) : 0;

		ret_text = stpcpy(ret_text, bars[(size_t)(height + 0.5)]);
	}
}
