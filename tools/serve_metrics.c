// SPDX-License-Identifier: Apache-2.0
/*
 * /metrics: Prometheus' text format, version 0.0.4.
 *
 * A family stands in one piece with the values of all processes, so the figures of all are collected first
 * (metric_rows.h).  Where a directory is served each value has the labels pid and comm; there the number of
 * series is that of the processes.  One of a process that has ended stays until its ledger is removed, with
 * heapmark_process_running 0 and without process_*.
 */
#include "tools/metric_rows.h"
#include "tools/serve.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As short as it reads back the same. */
static void print_number(FILE *stream, double number)
{
	char text[32];

	if (isnan(number)) {
		(void)fputs("NaN", stream);
	} else if (isinf(number)) {
		(void)fputs(number < 0 ? "-Inf" : "+Inf", stream);
	} else {
		(void)snprintf(text, sizeof(text), "%.15g", number);
		if (strtod(text, NULL) != number)
			(void)snprintf(text, sizeof(text), "%.17g", number);
		(void)fputs(text, stream);
	}
}

/* `label` is one more, or "". */
static void print_value(FILE *stream, const char *name, const char *labels, const char *label, double number)
{
	const bool has_any = labels[0] != '\0' || label[0] != '\0';

	(void)fprintf(stream, "%s%s%s%s%s%s ", name, has_any ? "{" : "", labels,
		      labels[0] != '\0' && label[0] != '\0' ? "," : "", label, has_any ? "}" : "");
	print_number(stream, number);
	(void)fputc('\n', stream);
}

static void print_family(FILE *stream, const char *name, const char *type, const char *help)
{
	(void)fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static double bytes_of(const struct hm_figures *figures)
{
	return (double)hm_bytes_round(figures->bytes_fixed);
}

static double objects_of(const struct hm_figures *figures)
{
	return (double)hm_objects_round(figures->objects_fixed);
}

static double resident(const struct hm_metric_row *row)
{
	return (double)row->usage.resident_bytes;
}
static double virtual(const struct hm_metric_row *row)
{
	return (double)row->usage.virtual_bytes;
}
static double data(const struct hm_metric_row *row)
{
	return (double)row->usage.data_bytes;
}
static double cpu(const struct hm_metric_row *row)
{
	return row->usage.cpu_seconds;
}
static double start(const struct hm_metric_row *row)
{
	return row->usage.start_seconds;
}
static double threads(const struct hm_metric_row *row)
{
	return row->usage.thread_count;
}
static double files(const struct hm_metric_row *row)
{
	return (double)row->usage.file_count;
}
static double files_max(const struct hm_metric_row *row)
{
	return (double)row->usage.file_count_max;
}
static double alloc_bytes(const struct hm_metric_row *row)
{
	return bytes_of(&row->totals.alloc);
}
static double alloc_objects(const struct hm_metric_row *row)
{
	return objects_of(&row->totals.alloc);
}
static double inuse_bytes(const struct hm_metric_row *row)
{
	return bytes_of(&row->totals.inuse);
}
static double inuse_objects(const struct hm_metric_row *row)
{
	return objects_of(&row->totals.inuse);
}
static double inuse_peak(const struct hm_metric_row *row)
{
	return fmax(bytes_of(&row->totals.peak), bytes_of(&row->totals.inuse)); /* the mark lags behind */
}

static double free_bytes(const struct hm_metric_row *row)
{
	const struct hm_figures freed = hm_snapshot_freed(&row->totals);

	return bytes_of(&freed);
}
static double free_objects(const struct hm_metric_row *row)
{
	const struct hm_figures freed = hm_snapshot_freed(&row->totals);

	return objects_of(&freed);
}
static double deviation(const struct hm_metric_row *row)
{
	return sqrt(row->totals.inuse.bytes_variance);
}
static double samples(const struct hm_metric_row *row)
{
	return (double)row->totals.sample_count;
}
static double interval(const struct hm_metric_row *row)
{
	return (double)row->interval_bytes;
}
static double profiler(const struct hm_metric_row *row)
{
	return (double)row->profiler_bytes;
}
static double running(const struct hm_metric_row *row)
{
	return row->is_running;
}

static double dropped(const struct hm_metric_row *row)
{
	return (double)(row->losses[HM_LOSS_STACKS] + row->losses[HM_LOSS_LIVE]);
}

static double allocator_mapped(const struct hm_metric_row *row)
{
	return (double)row->allocator.mapped_bytes;
}
static double allocator_free(const struct hm_metric_row *row)
{
	return (double)row->allocator.free_bytes;
}

enum need { ALWAYS, STATE, USAGE, FILES, ALLOCATOR };

static const struct metric {
	const char *name;
	const char *type;
	const char *help;
	double (*value)(const struct hm_metric_row *row);
	enum need need;
} metrics[] = {
	{ "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident, USAGE },
	{ "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", virtual, USAGE },
	{ "process_heap_bytes", "gauge",
	  "Private memory that can be written to (VmData of /proc/PID/status) in bytes.", data, USAGE },
	{ "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu,
	  USAGE },
	{ "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
	  start, USAGE },
	{ "process_threads", "gauge", "Number of threads.", threads, USAGE },
	{ "process_open_fds", "gauge", "Number of open file descriptors.", files, FILES },
	{ "process_max_fds", "gauge", "Maximum number of open file descriptors.", files_max, FILES },
	{ "heapmark_process_running", "gauge",
	  "1 while the process runs, 0 when its ledger is all that is left.", running, STATE },
	{ "heapmark_alloc_bytes_total", "counter", "Bytes allocated since the start, estimated.", alloc_bytes,
	  ALWAYS },
	{ "heapmark_alloc_objects_total", "counter", "Objects allocated since the start, estimated.",
	  alloc_objects, ALWAYS },
	{ "heapmark_free_bytes_total", "counter", "Bytes freed since the start, estimated.", free_bytes,
	  ALWAYS },
	{ "heapmark_free_objects_total", "counter", "Objects freed since the start, estimated.", free_objects,
	  ALWAYS },
	{ "heapmark_inuse_bytes", "gauge", "Bytes allocated and not freed, estimated.", inuse_bytes, ALWAYS },
	{ "heapmark_inuse_peak_bytes", "gauge", "The most that was ever in use, to within 5 %.", inuse_peak,
	  ALWAYS },
	{ "heapmark_inuse_objects", "gauge", "Objects allocated and not freed, estimated.", inuse_objects,
	  ALWAYS },
	{ "heapmark_inuse_stddev_bytes", "gauge",
	  "Standard deviation of the estimate heapmark_inuse_bytes; 0 where it is exact.", deviation,
	  ALWAYS },
	{ "heapmark_samples_total", "counter", "Allocations that were sampled.", samples, ALWAYS },
	{ "heapmark_samples_dropped_total", "counter",
	  "Samples without a stack or without a place in the table of live ones: their weight is kept.",
	  dropped, ALWAYS },
	{ "heapmark_sampling_interval_bytes", "gauge",
	  "Mean number of bytes between samples; 1: every allocation; 0: dormant.", interval, ALWAYS },
	{ "heapmark_allocator_mapped_bytes", "gauge",
	  "Resident memory of the mappings that hold malloc'd blocks; looked at every 10 s at most.",
	  allocator_mapped, ALLOCATOR },
	{ "heapmark_allocator_free_bytes", "gauge",
	  "Of these, what is not live: free lists, fragmentation, bookkeeping; with the error of "
	  "heapmark_inuse_bytes.",
	  allocator_free, ALLOCATOR },
	{ "heapmark_profiler_overhead_bytes", "gauge",
	  "Memory of the profiler: its ledger and its own tables.", profiler, ALWAYS },
};

static bool has_value(const struct hm_metric_row *row, enum need need)
{
	switch (need) {
	case STATE:
		return !row->is_hidden;
	case USAGE:
		return row->has_usage;
	case FILES:
		return row->has_usage && row->usage.has_files;
	case ALLOCATOR:
		return row->has_allocator;
	case ALWAYS:
		break;
	}
	return true;
}

static void print_metric(FILE *stream, const struct metric *metric, const struct hm_metric_rows *rows)
{
	bool has_family = false;

	for (size_t i = 0; i < rows->row_count; i++) {
		if (!has_value(&rows->rows[i], metric->need))
			continue;
		if (!has_family)
			print_family(stream, metric->name, metric->type, metric->help);
		has_family = true;
		print_value(stream, metric->name, rows->rows[i].labels, "", metric->value(&rows->rows[i]));
	}
}

static void print_losses(FILE *stream, const struct hm_metric_rows *rows)
{
	char label[32];

	if (rows->row_count == 0)
		return;
	print_family(stream, "heapmark_losses_total", "counter",
		     "What is missing from the figures, by its kind.");
	for (size_t i = 0; i < rows->row_count; i++) {
		for (uint32_t kind = 0; kind < HM_LOSS_KINDS; kind++) {
			(void)snprintf(label, sizeof(label), "kind=\"%s\"", hm_loss_word((enum hm_loss)kind));
			print_value(stream, "heapmark_losses_total", rows->rows[i].labels, label,
				    (double)rows->rows[i].losses[kind]);
		}
	}
}

/* A gauge of some row. */
struct gauge_value {
	const struct hm_metric_gauge *gauge; /* borrowed; so is the next */
	const struct hm_metric_row *row;
};

/* By name, then as the rows stand. */
static int compare_gauges(const void *a, const void *b)
{
	const struct gauge_value *const left = a;
	const struct gauge_value *const right = b;
	const int names = strcmp(left->gauge->name, right->gauge->name);

	return names != 0 ? names : (left->row < right->row ? -1 : left->row > right->row);
}

/* The caller frees; NULL where there is no memory. */
static struct gauge_value *sort_gauges(const struct hm_metric_rows *rows, size_t *ret_count)
{
	struct gauge_value *values = NULL;
	size_t count = 0;

	for (size_t i = 0; i < rows->row_count; i++)
		count += rows->rows[i].gauge_count;
	values = calloc(count + 1, sizeof(*values));
	if (values == NULL)
		return NULL;
	count = 0;
	for (size_t i = 0; i < rows->row_count; i++)
		for (uint32_t k = 0; k < rows->rows[i].gauge_count; k++)
			values[count++] = (struct gauge_value){ &rows->rows[i].gauges[k], &rows->rows[i] };
	qsort(values, count, sizeof(*values), compare_gauges);
	*ret_count = count;
	return values;
}

/* Endings that stand for another type of metric: one of these names is of no type, rather than a gauge. */
static bool has_reserved_ending(const char *name)
{
	static const char *const endings[] = { "_total", "_count", "_sum", "_bucket", "_created", "_info" };
	const size_t length = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		if (length > strlen(endings[i]) &&
		    strcmp(name + length - strlen(endings[i]), endings[i]) == 0)
			return true;
	return false;
}

static void print_gauge_family(FILE *stream, const struct hm_metric_gauge *gauge)
{
	(void)fprintf(stream, "# HELP %s The program's own ", gauge->name);
	hm_metric_print_escaped(stream, gauge->own_name, "\\"); /* quotes are not special here */
	(void)fprintf(stream, ".\n# TYPE %s %s\n", gauge->name,
		      has_reserved_ending(gauge->name) ? "untyped" : "gauge");
}

static bool print_gauges(FILE *stream, const struct hm_metric_rows *rows)
{
	size_t count = 0;
	struct gauge_value *const values = sort_gauges(rows, &count);

	for (size_t i = 0; values != NULL && i < count; i++) {
		const struct hm_metric_gauge *const gauge = values[i].gauge;

		if (i == 0 || strcmp(gauge->name, values[i - 1].gauge->name) != 0)
			print_gauge_family(stream, gauge);
		print_value(stream, gauge->name, values[i].row->labels, "", gauge->value);
	}
	free(values);
	return values != NULL;
}

static void print_server(FILE *stream, const struct hm_serve *serve, const struct hm_metric_rows *rows)
{
	print_family(stream, "heapmark_dumps_total", "counter", "Profiles that were asked of this server.");
	print_value(stream, "heapmark_dumps_total", "", "result=\"ok\"",
		    (double)atomic_load_explicit(&serve->dump_count, memory_order_relaxed));
	print_value(stream, "heapmark_dumps_total", "", "result=\"error\"",
		    (double)atomic_load_explicit(&serve->dump_failed_count, memory_order_relaxed));
	print_family(stream, "heapmark_deltas_pending", "gauge",
		     "Requests with ?seconds=N that are waiting.");
	print_value(stream, "heapmark_deltas_pending", "", "",
		    (double)atomic_load_explicit(&serve->pending_count, memory_order_relaxed));
	print_family(stream, "heapmark_processes", "gauge", "Processes that have a ledger here.");
	print_value(stream, "heapmark_processes", "", "", (double)rows->row_count);
	print_family(stream, "heapmark_ledgers_unreadable", "gauge",
		     "Ledgers that could not be read: of other users, damaged, or just being made.");
	print_value(stream, "heapmark_ledgers_unreadable", "", "", (double)rows->unreadable_count);
	print_family(stream, "heapmark_ledgers_replaced", "gauge",
		     "Ledgers of which a later one has the same pid and comm, and is shown.");
	print_value(stream, "heapmark_ledgers_replaced", "", "", (double)rows->replaced_count);
	print_family(stream, "heapmark_allocator_looks_put_off", "gauge",
		     "Processes for whose heapmark_allocator_* this scrape had no time: they are older, or "
		     "missing.");
	print_value(stream, "heapmark_allocator_looks_put_off", "", "", (double)rows->put_off_count);
}

static bool print_all(const struct hm_serve *serve, const struct hm_metric_rows *rows, char **ret_text,
		      size_t *ret_text_bytes)
{
	FILE *const stream = open_memstream(ret_text, ret_text_bytes);
	bool is_done = stream != NULL;

	if (stream == NULL)
		return false;
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		print_metric(stream, &metrics[i], rows);
	print_losses(stream, rows);
	is_done = print_gauges(stream, rows);
	print_server(stream, serve, rows);
	return fclose(stream) == 0 && is_done;
}

uint64_t hm_serve_metrics(void *context, struct hm_http_job *job)
{
	struct hm_serve *const serve = context;
	struct hm_metric_rows rows;
	char *text = NULL;
	size_t text_bytes = 0;
	char reason[HM_TARGET_REASON_BYTES];
	const int error = hm_metric_rows_collect(serve, &rows, reason);

	if (error != 0) {
		hm_http_say(&job->answer,
			    error == -EACCES                       ? 403
			    : error == -ESTALE || error == -ENOENT ? 404
								   : 503,
			    "%s", reason);
	} else if (rows.failed || !print_all(serve, &rows, &text, &text_bytes)) {
		free(text);
		hm_http_say(&job->answer, 503, "%s", strerror(ENOMEM));
	} else {
		hm_http_give(&job->answer, "text/plain; version=0.0.4; charset=utf-8", text, text_bytes);
	}
	hm_metric_rows_done(&rows);
	return 0;
}
