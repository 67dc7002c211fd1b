// SPDX-License-Identifier: Apache-2.0
/*
 * /debug/vars, as Go's expvar: one JSON object with `cmdline`, `memstats` and everything that the program
 * publishes, by its own names.
 *
 * memstats has those of Go's numbers that mean something here, under their names: Alloc and HeapAlloc are
 * what is in use, TotalAlloc what was ever allocated, Mallocs and Frees count objects, Sys is resident
 * memory. What only heapmark knows is under `heapmark`.
 */
#include "proto/text.h"
#include "tools/process_usage.h"
#include "tools/serve.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *make_text(const char *text)
{
	char *const clean = malloc(hm_text_clean_length(text) + 1); /* jansson takes valid UTF-8 only */
	json_t *value = NULL;

	if (clean != NULL) {
		hm_text_clean(text, clean);
		value = json_string(clean);
	}
	free(clean);
	return value;
}

/* JSON has no NaN and no infinity. */
static json_t *make_real(double number)
{
	if (!isfinite(number))
		return json_null();
	if (number == rint(number) && fabs(number) < 0x1p53)
		return json_integer((json_int_t)number);
	return json_real(number);
}

static void add_number(json_t *object, const char *key, uint64_t number)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)number));
}

static json_t *make_command(const struct hm_target *target, const struct hm_snapshot *snapshot)
{
	json_t *const list = json_array();
	char *text = NULL;
	size_t size_bytes = 0;

	if (!target->is_running || hm_process_read_command(target->pid, &text, &size_bytes) != 0) {
		(void)json_array_append_new(list, make_text(snapshot->command));
		return list;
	}
	for (size_t i = 0; i < size_bytes;) {
		const size_t length = strnlen(text + i, size_bytes - i);
		char *const argument = strndup(text + i, length);

		(void)json_array_append_new(list, argument != NULL ? make_text(argument) : NULL);
		free(argument);
		i += length + 1;
	}
	free(text);
	return list;
}

/* Go's names: HeapSys is what the heap has of the system, HeapIdle what of that is not live. */
static void add_allocator(json_t *memstats, struct hm_serve *serve, const struct hm_target *target)
{
	struct hm_allocator_figures figures;

	if (!hm_allocators_find_alone(&serve->allocators, target, &figures))
		return;
	add_number(memstats, "HeapSys", figures.mapped_bytes);
	add_number(memstats, "HeapIdle", figures.free_bytes);
}

static json_t *make_memstats(const struct hm_snapshot_totals *totals, const struct hm_process_usage *usage)
{
	const struct hm_figures freed = hm_snapshot_freed(totals);
	const uint64_t inuse_bytes = (uint64_t)hm_bytes_round(totals->inuse.bytes_fixed);
	json_t *const object = json_object();

	add_number(object, "Alloc", inuse_bytes);
	add_number(object, "TotalAlloc", (uint64_t)hm_bytes_round(totals->alloc.bytes_fixed));
	add_number(object, "Sys", usage->resident_bytes);
	add_number(object, "Mallocs", (uint64_t)hm_objects_round(totals->alloc.objects_fixed));
	add_number(object, "Frees", (uint64_t)hm_objects_round(freed.objects_fixed));
	add_number(object, "HeapAlloc", inuse_bytes);
	add_number(object, "HeapInuse", inuse_bytes);
	add_number(object, "HeapObjects", (uint64_t)hm_objects_round(totals->inuse.objects_fixed));
	return object;
}

static json_t *make_own(const struct hm_target *target, const struct hm_snapshot *snapshot,
			const struct hm_snapshot_totals *totals, const struct hm_process_usage *usage)
{
	json_t *const object = json_object();
	json_t *const losses = json_object();

	(void)json_object_set_new(object, "comm", make_text(target->comm));
	(void)json_object_set_new(object, "executable", make_text(snapshot->executable));
	add_number(object, "pid", (uint64_t)target->pid);
	(void)json_object_set_new(object, "running",
				  target->is_hidden ? json_null() : json_boolean(target->is_running));
	add_number(object, "sampling_interval_bytes", snapshot->interval_bytes);
	add_number(object, "samples", totals->sample_count);
	(void)json_object_set_new(object, "inuse_bytes_stddev",
				  make_real(sqrt(totals->inuse.bytes_variance)));
	add_number(object, "inuse_peak_bytes",
		   (uint64_t)fmax((double)hm_bytes_round(totals->peak.bytes_fixed),
				  (double)hm_bytes_round(totals->inuse.bytes_fixed)));
	add_number(object, "ledger_bytes", snapshot->ledger_bytes);
	add_number(object, "resident_bytes", usage->resident_bytes);
	add_number(object, "virtual_bytes", usage->virtual_bytes);
	add_number(object, "threads", usage->thread_count);
	for (uint32_t i = 0; i < HM_LOSS_KINDS; i++)
		add_number(losses, hm_loss_word((enum hm_loss)i), snapshot->losses[i]);
	(void)json_object_set_new(object, "losses", losses);
	return object;
}

/* The program's numbers; ours, which come after, win where names are the same. */
static json_t *make_vars(struct hm_serve *serve, const struct hm_target *target,
			 const struct hm_snapshot *snapshot)
{
	const struct hm_snapshot_totals totals = hm_snapshot_sum(snapshot);
	struct hm_process_usage usage = { 0 };
	json_t *const vars = json_object();

	if (target->is_running)
		(void)hm_process_read_usage(target->pid, &usage);
	for (uint32_t i = 0; i < snapshot->gauge_count; i++) {
		char clean[4 * HM_GAUGE_NAME_MAX]; /* at worst each byte becomes \xNN */

		hm_text_clean(snapshot->gauges[i].name, clean);
		(void)json_object_set_new(vars, clean, make_real(snapshot->gauges[i].value));
	}
	(void)json_object_set_new(vars, "cmdline", make_command(target, snapshot));
	json_t *const memstats = make_memstats(&totals, &usage);

	add_allocator(memstats, serve, target);
	(void)json_object_set_new(vars, "memstats", memstats);
	(void)json_object_set_new(vars, "heapmark", make_own(target, snapshot, &totals, &usage));
	return vars;
}

uint64_t hm_serve_vars(void *context, struct hm_http_job *job)
{
	struct hm_snapshot snapshot = { 0 };
	struct hm_target target;

	if (!hm_serve_open(context, job, &target))
		return 0;
	if (hm_serve_snapshot(job, &target, &snapshot)) {
		json_t *const vars = make_vars(context, &target, &snapshot);
		char *const text =
			json_dumps(vars, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));

		json_decref(vars);
		if (text != NULL)
			hm_http_give(&job->answer, "application/json; charset=utf-8", text, strlen(text));
		else
			hm_http_say(&job->answer, 503, "%s", strerror(ENOMEM));
		hm_snapshot_done(&snapshot);
	}
	hm_target_close(&target);
	return 0;
}
