// SPDX-License-Identifier: Apache-2.0
/* The line of heapmark watch, as documents and users have it. */
#include "tests/unit/check.h"
#include "tools/watch_line.h"

#include <math.h>

static const double M = 1 << 20;

static void test_line(void)
{
	char line[HM_WATCH_LINE_BYTES];
	struct hm_watch_figures figures = {
		.age_seconds = 12.04,
		.resident_bytes = 812 * M,
		.inuse_bytes = 301 * M,
		.inuse_variance = 301 * M * 301 * M * 0.0153 * 0.0153, /* 1.96 of it are 3 % */
		.inuse_change_bytes = 1.2 * M,
		.alloc_bytes_per_second = 120 * M,
		.free_bytes_per_second = 118 * M,
		.live_objects = 412300,
		.thread_count = 16,
	};

	hm_watch_line(&figures, line);
	CHECK_STR(line,
		  "@12.0s rss 812M inuse 301M ±3% (+1.2M) alloc 120M/s free 118M/s live 412k threads 16");
	figures.inuse_variance = 0;
	figures.inuse_change_bytes = -300 * 1024;
	figures.live_objects = 0;
	hm_watch_line(&figures, line);
	CHECK_STR(line, "@12.0s rss 812M inuse 301M ±0% (-300K) alloc 120M/s free 118M/s live 0 threads 16");
}

static void test_figures(void)
{
	static const struct {
		double number;
		const char *bytes;
		const char *count;
	} rows[] = {
		{ 0, "0B", "0" },
		{ 912, "912B", "912" },
		{ 999.4, "999B", "999" },
		{ 1000, "1000B", "1.0k" },
		{ 1023.4, "1023B", "1.0k" },
		{ 1023.6, "1.0K", "1.0k" },
		{ 9.94 * 1024, "9.9K", "10k" },
		{ 9.96 * 1024, "10K", "10k" },
		{ 0x1p20 - 1, "1.0M", "1.0M" },
		{ 0x1p63, "8.0E", "9.2E" },
		{ 0x1p80, "1048576E", "1208926E" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_STR(hm_show_short_bytes(rows[i].number).text, rows[i].bytes);
		CHECK_STR(hm_show_short_count(rows[i].number).text, rows[i].count);
	}
	CHECK_STR(hm_show_short_change(0).text, "+0B");
	CHECK_STR(hm_show_short_change(-1536).text, "-1.5K");
}

static void test_bars(void)
{
	char text[3 * 8 + 1];

	hm_watch_bars((double[]){ 1, 2, 3, 4, 5 }, 5, 8, text);
	CHECK_STR(text, "▁▂▃▅▇");
	hm_watch_bars((double[]){ 900, 5, 1, 5 }, 4, 3, text); /* what is not shown does not count */
	CHECK_STR(text, "▇▁▇");
	hm_watch_bars((double[]){ 7, 7 }, 2, 8, text);
	CHECK_STR(text, "▁▁");
	hm_watch_bars(NULL, 0, 8, text);
	CHECK_STR(text, "");
	hm_watch_bars((double[]){ 7, 8 }, 2, 0, text);
	CHECK_STR(text, "");
}

int main(void)
{
	test_line();
	test_figures();
	test_bars();
	return check_result();
}
