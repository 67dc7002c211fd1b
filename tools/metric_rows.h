// SPDX-License-Identifier: Apache-2.0
/*
 * What /metrics tells, collected: a row for each process.
 *
 * A gauge of the program becomes a family of its name: "hashmap/overflow_ratio" is hashmap_overflow_ratio.
 * One that would be taken for a family of ours, or for what Prometheus adds itself ("up", "scrape_..."), gets
 * "program_" before it; of several own names that come to the same one, all but the first in alphabetical order
 * get "_2", "_3", ... behind it, the same in all rows.
 */
#ifndef HM_TOOLS_METRIC_ROWS_H
#define HM_TOOLS_METRIC_ROWS_H

#include "proto/snapshot.h"
#include "tools/allocator_figures.h"
#include "tools/process_usage.h"
#include "tools/serve.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { HM_METRIC_NAME_BYTES = HM_GAUGE_NAME_MAX + 32 };

struct hm_metric_gauge {
	char name[HM_METRIC_NAME_BYTES]; /* as a metric */
	char own_name[HM_GAUGE_NAME_MAX];
	double value;
};

/* One process. */
struct hm_metric_row {
	char *labels; /* owned; `pid="1",comm="x"`, or "" */
	bool is_running;
	bool is_hidden; /* it is not known */
	bool has_usage;
	bool has_allocator;
	uint64_t run_start_ns;
	struct hm_process_usage usage;
	struct hm_allocator_figures allocator;
	struct hm_snapshot_totals totals;
	uint64_t losses[HM_LOSS_KINDS];
	uint64_t interval_bytes;
	uint64_t profiler_bytes;
	struct hm_metric_gauge *gauges; /* owned */
	uint32_t gauge_count;
};

struct hm_metric_rows {
	struct hm_allocators *allocators; /* borrowed */
	struct hm_metric_row *rows;       /* owned */
	size_t row_count;
	size_t row_room;
	uint64_t unreadable_count; /* ledgers that could not be read */
	uint64_t replaced_count;   /* ledgers that another one has the labels of */
	uint64_t put_off_count;    /* processes whose allocator is to be looked at in a later scrape */
	bool has_labels;
	bool failed; /* there is no memory */
};

/* Returns 0, or what hm_targets_visit says where the directory or the ledger cannot be read. */
int hm_metric_rows_collect(struct hm_serve *serve, struct hm_metric_rows *ret_rows,
			   char ret_reason[HM_TARGET_REASON_BYTES]);
void hm_metric_rows_done(struct hm_metric_rows *rows);

/* Text out of a ledger, with a backslash before what is in `special`: it may hold anything. */
void hm_metric_print_escaped(FILE *stream, const char *text, const char *special);

#endif
