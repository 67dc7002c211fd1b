// SPDX-License-Identifier: Apache-2.0
/* /debug/pprof/heap, allocs and delta_heap. */
#include "tools/heap_text.h"
#include "tools/ledger.h"
#include "tools/profile_delta.h"
#include "tools/profile_file.h"
#include "tools/serve.h"

#include "proto/profile_read.h"
#include "proto/profile_rewrite.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	NS_PER_SECOND = 1000000000,
	SECONDS_MAX = 3600, /* of a delta: who wants to look longer takes two profiles */
	BASELINE_BYTES_MAX = 256 << 20,
	BASELINE_IDLE_SECONDS = 3600, /* after which one makes room for others */
};

static const char octets[] = "application/octet-stream";

/* What a path serves. */
struct kind {
	const char *name;       /* of the file that a client saves */
	const char *delta_name; /* with ?seconds=N */
	const char *default_type;
};
static const struct kind heap = { "heap", "heap-delta", "inuse_space" };
static const struct kind allocs = { "allocs", "allocs-delta", "alloc_space" };
static const struct kind delta_heap = { "delta_heap", NULL, "inuse_space" };

/* The first of the two profiles of a delta, while the seconds go by. */
struct pending {
	struct hm_target target; /* owned: the ledger stays open, whatever becomes of its file */
	struct hm_bytes older;
	struct hm_serve *serve; /* borrowed */
};

static void release_pending(void *kept)
{
	struct pending *const pending = kept;

	(void)atomic_fetch_sub_explicit(&pending->serve->pending_count, 1, memory_order_relaxed);
	hm_target_close(&pending->target);
	hm_bytes_done(&pending->older);
	free(pending);
}

static void count_dump(struct hm_serve *serve, bool is_done)
{
	(void)atomic_fetch_add_explicit(is_done ? &serve->dump_count : &serve->dump_failed_count, 1,
					memory_order_relaxed);
}

/*
 * The profile of a process now, in the form of a file.  Without labels of age: collectors that subtract
 * successive profiles would take a block that grows older for one that is freed and another allocated.
 * False: the answer says why there is none.
 */
static bool make_profile(struct hm_serve *serve, struct hm_http_job *job, const struct hm_target *target,
			 bool is_named, const char *default_type, struct hm_bytes *ret_profile)
{
	const char *comments[HM_PROFILE_COMMENTS + 1];
	char fate[128];
	struct hm_profile_plan plan;
	struct hm_snapshot snapshot = { 0 };
	struct hm_bytes profile = { 0 };
	const struct hm_sink sink = hm_bytes_sink(&profile);

	if (!hm_serve_snapshot(job, target, &snapshot))
		return false;
	hm_profile_plan(&plan, is_named ? &serve->symbols : NULL, &snapshot, target->descriptor,
			target->is_running ? target->pid : 0);
	plan.options.default_sample_type = default_type;
	if (!target->is_running) {
		memcpy(comments, plan.options.comments, plan.options.comment_count * sizeof(comments[0]));
		(void)snprintf(fate, sizeof(fate), "the process %s", hm_target_fate(target));
		comments[plan.options.comment_count++] = fate;
		plan.options.comments = comments;
	}

	const int error = hm_profile_write(&snapshot, &plan.options, &sink, NULL);

	serve->symbols.note_count = 0; /* nobody is there to be told */
	hm_snapshot_done(&snapshot);
	if (error == 0) {
		*ret_profile = profile;
		return true;
	}
	hm_bytes_done(&profile);
	hm_http_say(&job->answer, 503, "no profile could be made: %s", strerror(-error));
	return false;
}

static void answer_profile(struct hm_http_job *job, const char *file_name, struct hm_bytes *profile)
{
	hm_http_give(&job->answer, octets, profile->data, profile->size_bytes);
	job->answer.file_name = file_name;
	*profile = (struct hm_bytes){ 0 };
}

/* ---- the text -------------------------------------------------------------------------------------- */

static bool answer_text(struct hm_http_job *job, const struct hm_bytes *bytes)
{
	struct hm_profile profile;
	char *text = NULL;
	size_t text_bytes = 0;
	int error = hm_profile_read(bytes->data, bytes->size_bytes, &profile, NULL);

	if (error == 0) {
		FILE *const stream = open_memstream(&text, &text_bytes);

		error = stream != NULL ? hm_heap_text_print(&profile, stream) : -ENOMEM;
		if (stream != NULL && fclose(stream) != 0)
			error = -ENOMEM;
		hm_profile_done(&profile);
	}
	if (error == 0) {
		hm_http_give(&job->answer, "text/plain; charset=utf-8", text, text_bytes);
		return true;
	}
	free(text);
	hm_http_say(&job->answer, 503, "no text could be made: %s", strerror(-error));
	return false;
}

/* ---- differences ----------------------------------------------------------------------------------- */

/* Writes `profile` (already read, its values changed) as it is. */
static int rewrite(const struct hm_profile *profile, struct hm_bytes *ret_bytes)
{
	const struct hm_location_name **const names =
		calloc((size_t)profile->location_count + 1, sizeof(*names)); /* none: each keeps its own */
	struct hm_bytes bytes = { 0 };
	const struct hm_sink sink = hm_bytes_sink(&bytes);
	const int error = names != NULL ? hm_profile_rewrite(profile, names, &sink) : -ENOMEM;

	free(names);
	if (error == 0)
		*ret_bytes = bytes;
	else
		hm_bytes_done(&bytes);
	return error;
}

/* Replaces *newer by its difference to `older`; an empty `older`: since the start, start_ns. */
static int subtract(struct hm_bytes *newer, const struct hm_bytes *older, uint64_t start_ns,
		    enum hm_delta_inuse inuse)
{
	struct hm_profile from = { 0 };
	struct hm_profile to = { 0 };
	struct hm_bytes difference = { 0 };
	int error = hm_profile_read(newer->data, newer->size_bytes, &to, NULL);

	if (error == 0 && older->size_bytes > 0) {
		error = hm_profile_read(older->data, older->size_bytes, &from, NULL);
		if (error == 0)
			error = hm_profile_subtract(&to, &from, inuse);
	} else if (error == 0) {
		to.duration_ns = to.time_ns > (int64_t)start_ns ? to.time_ns - (int64_t)start_ns : 0;
	}
	if (error == 0)
		error = rewrite(&to, &difference);
	hm_profile_done(&from);
	hm_profile_done(&to);
	if (error != 0)
		return error;
	hm_bytes_done(newer);
	*newer = difference;
	return 0;
}

static void explain_subtract(struct hm_http_job *job, int error)
{
	hm_http_say(&job->answer, 503, "the two profiles cannot be subtracted: %s",
		    error == -ESTALE ? "the ledger has lost something in between" : strerror(-error));
}

/* The second half of ?seconds=N. */
static void end_delta(struct hm_serve *serve, struct hm_http_job *job, const struct kind *kind)
{
	struct pending *const pending = job->kept;
	struct hm_bytes newer = { 0 };

	hm_target_look_again(&pending->target);
	bool is_done = make_profile(serve, job, &pending->target, true, kind->default_type, &newer);

	if (is_done) {
		const int error = subtract(&newer, &pending->older, 0, HM_DELTA_INUSE_DIFFERENCE);

		if (error == 0)
			answer_profile(job, kind->delta_name, &newer);
		else
			explain_subtract(job, error);
		is_done = error == 0;
		hm_bytes_done(&newer);
	}
	count_dump(serve, is_done);
	release_pending(pending);
	job->kept = NULL;
}

/* The first half.  Returns how long to wait; 0: the answer says why there is nothing to wait for. */
static uint64_t begin_delta(struct hm_serve *serve, struct hm_http_job *job, int64_t seconds, bool has_debug)
{
	struct pending *pending = NULL;
	struct hm_target target;

	if (seconds <= 0) {
		hm_http_say(&job->answer, 400, "invalid value for \"seconds\" - must be a positive integer");
		return 0;
	}
	if (seconds > SECONDS_MAX) {
		hm_http_say(&job->answer, 400, "invalid value for \"seconds\" - must be at most %d",
			    SECONDS_MAX);
		return 0;
	}
	if (has_debug) {
		hm_http_say(&job->answer, 400, "seconds and debug params are incompatible");
		return 0;
	}
	if (!hm_serve_open(serve, job, &target))
		return 0;
	pending = calloc(1, sizeof(*pending));
	if (pending == NULL) {
		hm_target_close(&target);
		hm_http_say(&job->answer, 503, "%s", strerror(ENOMEM));
		return 0;
	}
	pending->target = target;
	pending->serve = serve;
	(void)atomic_fetch_add_explicit(&serve->pending_count, 1, memory_order_relaxed);
	if (!make_profile(serve, job, &target, false, NULL, &pending->older)) {
		release_pending(pending);
		return 0;
	}
	job->kept = pending;
	job->release = release_pending;
	return (uint64_t)seconds * NS_PER_SECOND;
}

static uint64_t serve_profile(struct hm_serve *serve, struct hm_http_job *job, const struct kind *kind)
{
	bool has_seconds = false;
	bool is_given = false;
	const int64_t seconds = hm_serve_number(job, "seconds", &has_seconds);
	const bool is_text = hm_serve_number(job, "debug", &is_given) != 0;
	struct hm_target target;
	struct hm_bytes profile = { 0 };

	if (job->kept != NULL) {
		end_delta(serve, job, kind);
		return 0;
	}
	if (has_seconds)
		return begin_delta(serve, job, seconds, is_text);
	if (!hm_serve_open(serve, job, &target))
		return 0;

	bool is_done = make_profile(serve, job, &target, true, kind->default_type, &profile);

	if (is_done && is_text)
		is_done = answer_text(job, &profile);
	else if (is_done)
		answer_profile(job, kind->name, &profile);
	count_dump(serve, is_done);
	hm_bytes_done(&profile);
	hm_target_close(&target);
	return 0;
}

uint64_t hm_serve_heap(void *context, struct hm_http_job *job)
{
	return serve_profile(context, job, &heap);
}

uint64_t hm_serve_allocs(void *context, struct hm_http_job *job)
{
	return serve_profile(context, job, &allocs);
}

/* ---- delta_heap ------------------------------------------------------------------------------------ */

static time_t now_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void drop_baseline(struct hm_serve *serve, size_t index)
{
	serve->baseline_bytes -= serve->baselines[index].profile.size_bytes;
	hm_bytes_done(&serve->baselines[index].profile);
	serve->baselines[index] = serve->baselines[--serve->baseline_count];
}

void hm_serve_baselines_done(struct hm_serve *serve)
{
	while (serve->baseline_count > 0)
		drop_baseline(serve, serve->baseline_count - 1);
	free(serve->baselines);
	serve->baselines = NULL;
}

static void drop_idle_baselines(struct hm_serve *serve)
{
	const time_t now = now_seconds();

	for (size_t i = serve->baseline_count; i > 0; i--)
		if (now - serve->baselines[i - 1].used_seconds > BASELINE_IDLE_SECONDS)
			drop_baseline(serve, i - 1);
}

/* The baseline of a ledger, made where there is none; NULL where there is no room for another. */
static struct hm_serve_baseline *find_baseline(struct hm_serve *serve, const struct hm_target *target)
{
	struct stat status;

	if (fstat(target->descriptor, &status) != 0)
		return NULL;
	for (size_t i = 0; i < serve->baseline_count; i++) {
		struct hm_serve_baseline *const baseline = &serve->baselines[i];

		if (baseline->device == status.st_dev && baseline->inode == status.st_ino &&
		    baseline->run_start_ns == target->run_start_ns)
			return baseline;
	}
	drop_idle_baselines(serve);
	if (serve->baseline_bytes > BASELINE_BYTES_MAX)
		return NULL;

	struct hm_serve_baseline *const baselines =
		reallocarray(serve->baselines, serve->baseline_count + 1, sizeof(*baselines));

	if (baselines == NULL)
		return NULL;
	serve->baselines = baselines;
	baselines[serve->baseline_count] = (struct hm_serve_baseline){
		.device = status.st_dev,
		.inode = status.st_ino,
		.run_start_ns = target->run_start_ns,
	};
	return &baselines[serve->baseline_count++];
}

static bool copy_bytes(const struct hm_bytes *bytes, struct hm_bytes *ret_copy)
{
	const struct hm_sink sink = hm_bytes_sink(ret_copy);

	return sink.write(sink.context, bytes->data, bytes->size_bytes) == 0;
}

/* The profile as it is becomes the baseline of the next call; *profile becomes the difference to the last. */
static int move_baseline(struct hm_serve *serve, struct hm_serve_baseline *baseline,
			 const struct hm_http_job *job, struct hm_bytes *profile)
{
	struct hm_bytes whole = { 0 };
	int error = copy_bytes(profile, &whole) ? 0 : -ENOMEM;

	if (error == 0)
		error = subtract(profile, &baseline->profile, baseline->run_start_ns, HM_DELTA_INUSE_NOW);
	if (error != 0 || job->request.method == HM_HTTP_HEAD) { /* who only looks takes nothing away */
		hm_bytes_done(&whole);
		return error;
	}
	serve->baseline_bytes += whole.size_bytes - baseline->profile.size_bytes;
	hm_bytes_done(&baseline->profile);
	baseline->profile = whole;
	baseline->used_seconds = now_seconds();
	return 0;
}

static bool answer_delta_heap(struct hm_serve *serve, struct hm_http_job *job, const struct hm_target *target)
{
	struct hm_serve_baseline *const baseline = find_baseline(serve, target);
	struct hm_bytes profile = { 0 };

	if (baseline == NULL) {
		hm_http_say(
			&job->answer, 503,
			"the last profiles of %zu processes are kept already, %d MiB: there is no room for "
			"another one's",
			serve->baseline_count, BASELINE_BYTES_MAX >> 20);
		return false;
	}
	if (!make_profile(serve, job, target, true, delta_heap.default_type, &profile))
		return false;

	const int error = move_baseline(serve, baseline, job, &profile);

	if (error == 0)
		answer_profile(job, delta_heap.name, &profile);
	else
		explain_subtract(job, error);
	hm_bytes_done(&profile);
	return error == 0;
}

uint64_t hm_serve_delta_heap(void *context, struct hm_http_job *job)
{
	struct hm_serve *const serve = context;
	struct hm_target target;

	if (!hm_serve_open(serve, job, &target))
		return 0;
	count_dump(serve, answer_delta_heap(serve, job, &target));
	hm_target_close(&target);
	return 0;
}
