// SPDX-License-Identifier: Apache-2.0
/* What `heapmark watch` shows of a moment: figures, the line of them, and their history as little bars. */
#ifndef HM_TOOLS_WATCH_LINE_H
#define HM_TOOLS_WATCH_LINE_H

#include "tools/cli.h"

#include <stddef.h>
#include <stdint.h>

/* One look at the process.  Rates and changes are from the one before; at the first, from the start. */
struct hm_watch_figures {
	double age_seconds; /* of the process */
	double resident_bytes;
	double inuse_bytes;
	double inuse_variance;
	double inuse_change_bytes;
	double alloc_bytes; /* since the start */
	double free_bytes;
	double alloc_bytes_per_second;
	double free_bytes_per_second;
	double live_objects;
	uint32_t thread_count;
};

enum { HM_WATCH_LINE_BYTES = 512 };

/*
 * Without a line break:
 *	@12.0s rss 812M inuse 301M ±3% (+1.2M) alloc 120M/s free 118M/s live 412k threads 16
 * An estimate that is exact has ±0%.
 */
void hm_watch_line(const struct hm_watch_figures *figures, char ret_line[HM_WATCH_LINE_BYTES]);

/* "912B", "1.2M", "301M": one decimal below 10; units of 1024. */
struct hm_shown hm_show_short_bytes(double bytes);
/* The same with a sign: "+1.2M", "-300K", "+0B". */
struct hm_shown hm_show_short_change(double bytes);
/* "912", "4.1k", "412k", "1.2M": units of 1000. */
struct hm_shown hm_show_short_count(double count);
/* "±3%", "±0%". */
struct hm_shown hm_show_watch_interval(const struct hm_watch_figures *figures);

/*
 * The last values as bars, "▁▂▃▅▇", the lowest of them the lowest bar and the highest the highest; equal ones
 * are all low.  At most `columns` of them, the newest last; ret_text has room for 3 bytes each and a NUL.
 */
void hm_watch_bars(const double *values, size_t count, size_t columns, char *ret_text);

#endif
