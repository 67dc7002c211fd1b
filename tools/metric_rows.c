// SPDX-License-Identifier: Apache-2.0
#include "tools/metric_rows.h"

#include "proto/text.h"

#include <ctype.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { STAT_BLOCK_BYTES = 512 }; /* whatever the file system's blocks are: stat(2) */

void hm_metric_print_escaped(FILE *stream, const char *text, const char *special)
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
	hm_metric_print_escaped(stream, target->comm, "\"\\");
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

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whatever ours are called in a later version; and what Prometheus itself says of a target. */
static bool is_reserved(const char *name)
{
	return starts_with(name, "process_") || starts_with(name, "heapmark_") ||
	       starts_with(name, "scrape_") || strcmp(name, "up") == 0;
}

static bool add_gauges(struct hm_metric_row *row, const struct hm_snapshot *snapshot)
{
	row->gauges = calloc((size_t)snapshot->gauge_count + 1, sizeof(row->gauges[0]));
	if (row->gauges == NULL)
		return false;
	for (uint32_t i = 0; i < snapshot->gauge_count; i++) {
		struct hm_metric_gauge *const gauge = &row->gauges[row->gauge_count++];

		strcpy(gauge->own_name, snapshot->gauges[i].name);
		gauge->value = snapshot->gauges[i].value;
	}
	return true;
}

static void row_done(struct hm_metric_row *row)
{
	free(row->labels);
	free(row->gauges);
}

static bool append(struct hm_metric_rows *rows, const struct hm_metric_row *row)
{
	if (rows->row_count == rows->row_room) {
		const size_t room = rows->row_room != 0 ? 2 * rows->row_room : 16;
		struct hm_metric_row *const more = reallocarray(rows->rows, room, sizeof(*more));

		if (more == NULL)
			return false;
		rows->rows = more;
		rows->row_room = room;
	}
	rows->rows[rows->row_count++] = *row;
	return true;
}

static void add_row(struct hm_metric_rows *rows, const struct hm_target *target,
		    const struct hm_snapshot *snapshot)
{
	struct stat status;
	struct hm_metric_row row = {
		.labels = rows->has_labels ? make_labels(target) : strdup(""),
		.is_running = target->is_running,
		.is_hidden = target->is_hidden,
		.run_start_ns = target->run_start_ns,
		.totals = hm_snapshot_sum(snapshot),
		.interval_bytes = snapshot->interval_bytes,
	};

	memcpy(row.losses, snapshot->losses, sizeof(row.losses));
	row.has_allocator = hm_allocators_find(rows->allocators, target, &row.allocator);
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
	struct hm_metric_rows *const rows = context;
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
	const struct hm_metric_row *const left = a;
	const struct hm_metric_row *const right = b;
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
static void drop_replaced(struct hm_metric_rows *rows)
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

static int compare_own_names(const void *a, const void *b)
{
	const struct hm_metric_gauge *const *const left = a;
	const struct hm_metric_gauge *const *const right = b;

	return strcmp((*left)->own_name, (*right)->own_name);
}

static int compare_metric_names(const void *a, const void *b)
{
	const struct hm_metric_gauge *const left = a;
	const struct hm_metric_gauge *const right = b;

	return strcmp(left->name, right->name);
}

static void leave_gauge(void *gauge)
{
	(void)gauge; /* the tree owns none of them */
}

/* Names a gauge as no other in `names` is called, and enters it there.  False: there is no memory. */
static bool name_gauge(struct hm_metric_gauge *gauge, void **names)
{
	char name[HM_GAUGE_NAME_MAX + 1];
	const struct hm_metric_gauge **found = NULL;
	unsigned int number = 2;

	make_metric_name(gauge->own_name, name);
	const char *const prefix = is_reserved(name) ? "program_" : "";

	(void)snprintf(gauge->name, sizeof(gauge->name), "%s%s", prefix, name);
	while ((found = tsearch(gauge, names, compare_metric_names)) != NULL && *found != gauge)
		(void)snprintf(gauge->name, sizeof(gauge->name), "%s%s_%u", prefix, name, number++);
	return found != NULL;
}

/*
 * Gives the gauges of all rows their names as metrics.  One own name is one metric in all rows, and of several
 * that come to the same metric the first in the order of their own names has it, whoever published what first.
 */
static bool name_gauges(struct hm_metric_rows *rows)
{
	struct hm_metric_gauge **gauges = NULL;
	void *names = NULL;
	size_t count = 0;
	bool is_done = true;

	for (size_t i = 0; i < rows->row_count; i++)
		count += rows->rows[i].gauge_count;
	gauges = calloc(count + 1, sizeof(struct hm_metric_gauge *));
	if (gauges == NULL)
		return false;
	count = 0;
	for (size_t i = 0; i < rows->row_count; i++)
		for (uint32_t k = 0; k < rows->rows[i].gauge_count; k++)
			gauges[count++] = &rows->rows[i].gauges[k];
	qsort(gauges, count, sizeof(struct hm_metric_gauge *), compare_own_names);
	for (size_t i = 0; i < count && is_done; i++) {
		if (i > 0 && strcmp(gauges[i]->own_name, gauges[i - 1]->own_name) == 0)
			strcpy(gauges[i]->name, gauges[i - 1]->name);
		else
			is_done = name_gauge(gauges[i], &names);
	}
	tdestroy(names, leave_gauge);
	free(gauges);
	return is_done;
}

int hm_metric_rows_collect(struct hm_serve *serve, struct hm_metric_rows *ret_rows,
			   char ret_reason[HM_TARGET_REASON_BYTES])
{
	*ret_rows = (struct hm_metric_rows){
		.allocators = &serve->allocators,
		.has_labels = serve->targets.kind == HM_TARGETS_DIRECTORY,
	};
	hm_allocators_begin(&serve->allocators);

	const int error = hm_targets_visit(&serve->targets, collect, ret_rows, ret_reason);

	ret_rows->put_off_count = serve->allocators.put_off_count;
	drop_replaced(ret_rows);
	if (!name_gauges(ret_rows))
		ret_rows->failed = true;
	return error;
}

void hm_metric_rows_done(struct hm_metric_rows *rows)
{
	for (size_t i = 0; i < rows->row_count; i++)
		row_done(&rows->rows[i]);
	free(rows->rows);
}
