// SPDX-License-Identifier: Apache-2.0
/*
 * /metrics: Prometheus' text format, version 0.0.4.
 *
 * A family stands in one piece with the values of all processes, so the figures of all are collected first.
 * Where a directory is served each value has the labels pid and comm; there the number of series is that of
 * the processes.  One of a process that has ended stays until its ledger is removed, with
 * heapmark_process_running 0 and without process_*.
 *
 * A gauge of the program becomes a family of its name: "hashmap/overflow_ratio" is hashmap_overflow_ratio.
 * One that would be taken for a family of ours gets "program_" before it; one that comes to the same name as
 * another of its process "_2", "_3", ... behind it.
 */
#include "tools/process_usage.h"
#include "tools/serve.h"

#include "proto/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	METRIC_NAME_BYTES = HM_GAUGE_NAME_MAX + 32,
	STAT_BLOCK_BYTES = 512, /* whatever the file system's blocks are: stat(2) */
};

struct gauge {
	char name[METRIC_NAME_BYTES]; /* as a metric */
	char own_name[HM_GAUGE_NAME_MAX];
	double value;
};

/* One process. */
struct row {
	char *labels; /* owned; `pid="1",comm="x"`, or "" */
	bool is_running;
	bool has_usage;
	uint64_t run_start_ns;
	struct hm_process_usage usage;
	struct hm_snapshot_totals totals;
	uint64_t losses[HM_LOSS_KINDS];
	uint64_t interval_bytes;
	uint64_t profiler_bytes;
	struct gauge *gauges; /* owned */
	uint32_t gauge_count;
};

struct rows {
	struct row *rows; /* owned */
	size_t row_count;
	size_t row_room;
	uint64_t unreadable_count; /* ledgers that could not be read */
	uint64_t replaced_count;   /* ledgers that another one has the labels of */
	bool has_labels;
	bool failed; /* there is no memory */
};

/* ---- collecting ------------------------------------------------------------------------------------- */

/* Text out of a ledger, with a backslash before what is in `special`: it may hold anything. */
static void print_escaped(FILE *stream, const char *text, const char *special)
{
	char *const clean = malloc(hm_text_clean_length(text) + 1);

	if (clean == NULL)
		return;
	hm_text_clean(text, clean);
	for (const char *place = clean; *place != '\0'; place++)
		(void)fprintf(stream, strchr(special, *place) != NULL ? "\\%c" : "%c", *place);
	free(clean);
}

static char *make_labels(const struct hm_target *target)
{
	char *text = NULL;
	size_t text_bytes = 0;
	FILE *const stream = open_memstream(&text, &text_bytes);

	if (stream == NULL)
		return NULL;
	(void)fprintf(stream, "pid=\"%d\",comm=\"", (int)target->pid);
	print_escaped(stream, target->comm, "\"\\");
	(void)fputc('"', stream);
	return fclose(stream) == 0 ? text : NULL;
}

/* Lower case is not forced: the program's own names are its own. */
static void make_metric_name(const char *own_name, char *ret_name)
{
	size_t used = 0;

	if (isdigit((unsigned char)own_name[0]))
		ret_name[used++] = '_';
	for (; *own_name != '\0'; own_name++)
		ret_name[used++] =
			(char)(isascii(*own_name) && isalnum((unsigned char)*own_name) ? *own_name : '_');
	ret_name[used] = '\0';
}

static bool is_ours(const char *name)
{
	/* whatever ours are called in a later version */
	return strncmp(name, "process_", strlen("process_")) == 0 ||
	       strncmp(name, "heapmark_", strlen("heapmark_")) == 0;
}

static bool is_taken(const struct row *row, const char *name)
{
	for (uint32_t i = 0; i < row->gauge_count; i++)
		if (strcmp(row->gauges[i].name, name) == 0)
			return true;
	return false;
}

static bool add_gauges(struct row *row, const struct hm_snapshot *snapshot)
{
	row->gauges = calloc((size_t)snapshot->gauge_count + 1, sizeof(row->gauges[0]));
	if (row->gauges == NULL)
		return false;
	for (uint32_t i = 0; i < snapshot->gauge_count; i++) {
		struct gauge gauge = { .value = snapshot->gauges[i].value };
		char name[HM_GAUGE_NAME_MAX + 1];

		make_metric_name(snapshot->gauges[i].name, name);
		strcpy(gauge.own_name, snapshot->gauges[i].name);
		(void)snprintf(gauge.name, sizeof(gauge.name), "%s%s", is_ours(name) ? "program_" : "", name);
		for (unsigned int n = 2; is_taken(row, gauge.name); n++)
			(void)snprintf(gauge.name, sizeof(gauge.name), "%s%s_%u",
				       is_ours(name) ? "program_" : "", name, n);
		row->gauges[row->gauge_count++] = gauge;
	}
	return true;
}

static void row_done(struct row *row)
{
	free(row->labels);
	free(row->gauges);
}

static bool append(struct rows *rows, const struct row *row)
{
	if (rows->row_count == rows->row_room) {
		const size_t room = rows->row_room != 0 ? 2 * rows->row_room : 16;
		struct row *const more = reallocarray(rows->rows, room, sizeof(*more));

		if (more == NULL)
			return false;
		rows->rows = more;
		rows->row_room = room;
	}
	rows->rows[rows->row_count++] = *row;
	return true;
}

static void add_row(struct rows *rows, const struct hm_target *target, const struct hm_snapshot *snapshot)
{
	struct stat status;
	struct row row = {
		.labels = rows->has_labels ? make_labels(target) : strdup(""),
		.is_running = target->is_running,
		.run_start_ns = target->run_start_ns,
		.totals = hm_snapshot_sum(snapshot),
		.interval_bytes = snapshot->interval_bytes,
	};

	memcpy(row.losses, snapshot->losses, sizeof(row.losses));
	row.has_usage = target->is_running && hm_process_read_usage(target->pid, &row.usage) == 0;
	if (fstat(target->descriptor, &status) == 0)
		row.profiler_bytes = (uint64_t)status.st_blocks * STAT_BLOCK_BYTES;
	row.profiler_bytes += row.has_usage ? row.usage.profiler_bytes : 0;
	if (row.labels != NULL && add_gauges(&row, snapshot) && append(rows, &row))
		return;
	row_done(&row);
	rows->failed = true;
}

static void collect(void *context, const struct hm_target *target)
{
	struct rows *const rows = context;
	struct hm_http_job unused = { .kept = NULL };
	struct hm_snapshot snapshot = { 0 };

	if (target->descriptor < 0 || !hm_serve_snapshot(&unused, target, &snapshot)) {
		free(unused.answer.body); /* why it cannot be read: a number is all there is place for */
		rows->unreadable_count++;
		return;
	}
	add_row(rows, target, &snapshot);
	hm_snapshot_done(&snapshot);
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *const left = a;
	const struct row *const right = b;
	const int labels = strcmp(left->labels, right->labels);

	if (labels != 0)
		return labels;
	if (left->is_running != right->is_running)
		return left->is_running ? -1 : 1;
	return left->run_start_ns > right->run_start_ns ? -1 : left->run_start_ns < right->run_start_ns;
}

/*
 * Several ledgers may have one pid and name: of what a process was before an exec, of a number used again.
 * One series twice would make Prometheus refuse all; so the one that runs, or the latest, stands for them.
 */
static void drop_replaced(struct rows *rows)
{
	size_t count = 0;

	if (rows->row_count > 0)
		qsort(rows->rows, rows->row_count, sizeof(rows->rows[0]), compare_rows);
	for (size_t i = 0; i < rows->row_count; i++) {
		if (count > 0 && strcmp(rows->rows[count - 1].labels, rows->rows[i].labels) == 0) {
			row_done(&rows->rows[i]);
			rows->replaced_count++;
		} else {
			rows->rows[count++] = rows->rows[i];
		}
	}
	rows->row_count = count;
}

/* ---- printing --------------------------------------------------------------------------------------- */

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

static double resident(const struct row *row)
{
	return (double)row->usage.resident_bytes;
}
static double virtual(const struct row *row)
{
	return (double)row->usage.virtual_bytes;
}
static double data(const struct row *row)
{
	return (double)row->usage.data_bytes;
}
static double cpu(const struct row *row)
{
	return row->usage.cpu_seconds;
}
static double start(const struct row *row)
{
	return row->usage.start_seconds;
}
static double threads(const struct row *row)
{
	return row->usage.thread_count;
}
static double files(const struct row *row)
{
	return (double)row->usage.file_count;
}
static double files_max(const struct row *row)
{
	return (double)row->usage.file_count_max;
}
static double alloc_bytes(const struct row *row)
{
	return bytes_of(&row->totals.alloc);
}
static double alloc_objects(const struct row *row)
{
	return objects_of(&row->totals.alloc);
}
static double inuse_bytes(const struct row *row)
{
	return bytes_of(&row->totals.inuse);
}
static double inuse_objects(const struct row *row)
{
	return objects_of(&row->totals.inuse);
}
static double inuse_peak(const struct row *row)
{
	return fmax(bytes_of(&row->totals.peak), bytes_of(&row->totals.inuse)); /* the mark lags behind */
}

static double free_bytes(const struct row *row)
{
	return alloc_bytes(row) - inuse_bytes(row);
}
static double free_objects(const struct row *row)
{
	return alloc_objects(row) - inuse_objects(row);
}
static double deviation(const struct row *row)
{
	return sqrt(row->totals.inuse.bytes_variance);
}
static double samples(const struct row *row)
{
	return (double)row->totals.sample_count;
}
static double interval(const struct row *row)
{
	return (double)row->interval_bytes;
}
static double profiler(const struct row *row)
{
	return (double)row->profiler_bytes;
}
static double running(const struct row *row)
{
	return row->is_running;
}

static double dropped(const struct row *row)
{
	return (double)(row->losses[HM_LOSS_STACKS] + row->losses[HM_LOSS_LIVE]);
}

enum need { ALWAYS, USAGE, FILES };

static const struct metric {
	const char *name;
	const char *type;
	const char *help;
	double (*value)(const struct row *row);
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
	  "1 while the process runs, 0 when its ledger is all that is left.", running, ALWAYS },
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
	{ "heapmark_profiler_overhead_bytes", "gauge",
	  "Memory of the profiler: its ledger and its own tables.", profiler, ALWAYS },
};

static bool has_value(const struct row *row, enum need need)
{
	return need == ALWAYS || (row->has_usage && (need == USAGE || row->usage.has_files));
}

static void print_metric(FILE *stream, const struct metric *metric, const struct rows *rows)
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

static void print_losses(FILE *stream, const struct rows *rows)
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
	const struct gauge *gauge; /* borrowed; so is the next */
	const struct row *row;
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
static struct gauge_value *sort_gauges(const struct rows *rows, size_t *ret_count)
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

static void print_gauge_family(FILE *stream, const struct gauge *gauge)
{
	(void)fprintf(stream, "# HELP %s The program's own ", gauge->name);
	print_escaped(stream, gauge->own_name, "\\"); /* quotes are not special here */
	(void)fprintf(stream, ".\n# TYPE %s %s\n", gauge->name,
		      has_reserved_ending(gauge->name) ? "untyped" : "gauge");
}

static bool print_gauges(FILE *stream, const struct rows *rows)
{
	size_t count = 0;
	struct gauge_value *const values = sort_gauges(rows, &count);

	for (size_t i = 0; values != NULL && i < count; i++) {
		const struct gauge *const gauge = values[i].gauge;

		if (i == 0 || strcmp(gauge->name, values[i - 1].gauge->name) != 0)
			print_gauge_family(stream, gauge);
		print_value(stream, gauge->name, values[i].row->labels, "", gauge->value);
	}
	free(values);
	return values != NULL;
}

static void print_server(FILE *stream, const struct hm_serve *serve, const struct rows *rows)
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
}

static void rows_done(struct rows *rows)
{
	for (size_t i = 0; i < rows->row_count; i++)
		row_done(&rows->rows[i]);
	free(rows->rows);
}

static bool print_all(const struct hm_serve *serve, const struct rows *rows, char **ret_text,
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
	struct rows rows = { .has_labels = serve->targets.kind == HM_TARGETS_DIRECTORY };
	char *text = NULL;
	size_t text_bytes = 0;
	const int error = hm_targets_visit(&serve->targets, collect, &rows);

	drop_replaced(&rows);
	if (error != 0) {
		hm_http_say(&job->answer,
			    error == -EACCES                       ? 403
			    : error == -ESTALE || error == -ENOENT ? 404
								   : 503,
			    "%s: %s", serve->targets.argument, strerror(-error));
	} else if (rows.failed || !print_all(serve, &rows, &text, &text_bytes)) {
		free(text);
		hm_http_say(&job->answer, 503, "%s", strerror(ENOMEM));
	} else {
		hm_http_give(&job->answer, "text/plain; version=0.0.4; charset=utf-8", text, text_bytes);
	}
	rows_done(&rows);
	return 0;
}
