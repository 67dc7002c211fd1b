// SPDX-License-Identifier: Apache-2.0
#include "proto/profile_comments.h"

#include "proto/text.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 512 };

static const char key_prefix[] = "#heapmark.";
static const char loss_prefix[] = "loss.";
static const char longest_key[] = "longest_interval_bytes";
static const char slept_key[] = "slept";
static const char age_prefix[] = "age_ms.";

struct commenting {
	hm_comment_add *add;
	void *context;
	char line[LINE_BYTES];
	struct hm_text text;
};

static struct hm_text *begin_line(struct commenting *commenting)
{
	commenting->text = hm_text_begin(commenting->line, sizeof(commenting->line));
	return &commenting->text;
}

static void end_line(const struct commenting *commenting)
{
	commenting->add(commenting->context, commenting->line);
}

static void say_who(struct commenting *commenting, const struct hm_snapshot *snapshot, const char *producer,
		    uint64_t sample_count)
{
	struct hm_text *const text = begin_line(commenting);

	hm_text_add(text, producer);
	hm_text_add(text, ": ");
	hm_text_add(text, snapshot->comm);
	hm_text_add(text, "[");
	hm_text_add_number(text, snapshot->pid);
	hm_text_add(text, "], ");
	if (snapshot->interval_bytes == 0) {
		hm_text_add(text, "asleep when this was taken");
	} else if (snapshot->interval_bytes == 1) {
		hm_text_add(text, "every allocation counted");
		if (snapshot->longest_interval_bytes > 1)
			hm_text_add(text, " since the rate was changed");
	} else {
		hm_text_add(text, "one sample per ");
		hm_text_add_size(text, snapshot->interval_bytes);
		hm_text_add(text, " allocated on average");
	}
	hm_text_add(text, ", ");
	hm_text_add_number(text, sample_count);
	hm_text_add(text, sample_count == 1 ? " sample" : " samples");
	end_line(commenting);
}

/* ", 12.4 s after the start"; nothing where it is not known when. */
static void add_peak_time(struct hm_text *text, const struct hm_snapshot *snapshot)
{
	enum { NS_PER_TENTH = 100000000 };

	if (snapshot->peak_realtime_ns < snapshot->start_realtime_ns)
		return;

	const uint64_t tenths = (snapshot->peak_realtime_ns - snapshot->start_realtime_ns) / NS_PER_TENTH;

	hm_text_add(text, ", ");
	hm_text_add_number(text, tenths / 10);
	hm_text_add(text, ".");
	hm_text_add_number(text, tenths % 10);
	hm_text_add(text, " s after the start");
}

static void say_peak(struct commenting *commenting, const struct hm_snapshot *snapshot,
		     const struct hm_figures *peak)
{
	struct hm_text *const text = begin_line(commenting);

	hm_text_add(text,
		    snapshot->at_peak ? "in use: as at the high-water mark, " : "most in use at once: ");
	hm_text_add_size(text, (uint64_t)hm_bytes_round(peak->bytes_fixed));
	add_peak_time(text, snapshot);
	if (snapshot->at_peak)
		hm_text_add(text, "; allocated: until this was taken");
	end_line(commenting);
}

/* Things that cannot be told from the figures and without which they mislead. */
static uint64_t count_skipped(const struct hm_snapshot_skipped *skipped)
{
	return skipped->references + skipped->late + skipped->records + skipped->counters + skipped->modules +
	       skipped->strings;
}

/* What the rate has been: a tool may have changed it. */
static void say_intervals(struct commenting *commenting, const struct hm_snapshot *snapshot)
{
	if (snapshot->longest_interval_bytes > snapshot->interval_bytes) {
		struct hm_text *const text = begin_line(commenting);

		hm_text_add(text, snapshot->longest_interval_bytes == 1
					  ? "before that, every allocation counted"
					  : "before that, up to ");
		if (snapshot->longest_interval_bytes > 1) {
			hm_text_add_size(text, snapshot->longest_interval_bytes);
			hm_text_add(text, " to a sample on average: the figures are estimates");
		}
		end_line(commenting);
	}
	if (snapshot->slept) {
		hm_text_add(begin_line(commenting),
			    "asleep at times: what was allocated meanwhile is not among the figures");
		end_line(commenting);
	}
}

static void say_state(struct commenting *commenting, const struct hm_snapshot *snapshot)
{
	struct hm_text *text;

	if (!snapshot->finished) {
		hm_text_add(begin_line(commenting),
			    "taken before the process came to a normal end: it was running, or was killed");
		end_line(commenting);
	}
	if (snapshot->cut_off) {
		hm_text_add(begin_line(commenting),
			    "the ledger was cut off: what lay behind its end is missing");
		end_line(commenting);
	}
	if (count_skipped(&snapshot->skipped) != 0) {
		text = begin_line(commenting);
		hm_text_add_number(text, count_skipped(&snapshot->skipped));
		hm_text_add(text,
			    " places in the ledger could not be read: it was damaged, or being written to");
		end_line(commenting);
	}
	for (enum hm_loss kind = 0; kind < HM_LOSS_KINDS; kind++) {
		if (snapshot->losses[kind] == 0)
			continue;
		text = begin_line(commenting);
		hm_text_add_number(text, snapshot->losses[kind]);
		hm_text_add(text, " ");
		hm_text_add(text, hm_loss_text(kind));
		end_line(commenting);
	}
}

static struct hm_text *begin_key(struct commenting *commenting, const char *key)
{
	struct hm_text *const text = begin_line(commenting);

	hm_text_add(text, key_prefix);
	hm_text_add(text, key);
	return text;
}

static void tell_number(struct commenting *commenting, const char *key, uint64_t number)
{
	struct hm_text *const text = begin_key(commenting, key);

	hm_text_add(text, "=");
	hm_text_add_number(text, number);
	end_line(commenting);
}

static void tell_text(struct commenting *commenting, const char *key, const char *value)
{
	struct hm_text *const text = begin_key(commenting, key);

	hm_text_add(text, "=");
	hm_text_add(text, value);
	end_line(commenting);
}

/*
 * "#heapmark.age_ms.600=1234567": the mean age, each byte counted alike, of what is labelled 600 seconds.  Of
 * a label alone a reader would have to guess where between two bounds the ages lie.
 */
static void tell_ages(struct commenting *commenting, const struct hm_snapshot *snapshot)
{
	double byte_seconds[HM_AGE_COUNT] = { 0 };
	double bytes[HM_AGE_COUNT] = { 0 };

	for (uint32_t i = 0; i < snapshot->age_count; i++) {
		const struct hm_age_sum *const sum = &snapshot->ages[i];

		byte_seconds[sum->age] += sum->byte_seconds;
		bytes[sum->age] += (double)sum->bytes_fixed / (1 << HM_BYTES_FRACTION_BITS);
	}
	for (uint32_t age = 0; age < HM_AGE_COUNT; age++) {
		const double mean_ms = bytes[age] > 0 ? 1000 * byte_seconds[age] / bytes[age] : -1;

		if (!(mean_ms >= 0 && mean_ms < 0x1p63))
			continue;

		struct hm_text *const text = begin_key(commenting, age_prefix);

		hm_text_add_number(text, hm_age_seconds[age]);
		hm_text_add(text, "=");
		hm_text_add_number(text, (uint64_t)(mean_ms + 0.5));
		end_line(commenting);
	}
}

static void tell_peak(struct commenting *commenting, const struct hm_snapshot *snapshot,
		      const struct hm_figures *peak)
{
	tell_number(commenting, "peak_objects", (uint64_t)hm_objects_round(peak->objects_fixed));
	tell_number(commenting, "peak_bytes", (uint64_t)hm_bytes_round(peak->bytes_fixed));
	if (snapshot->peak_realtime_ns != 0)
		tell_number(commenting, "peak_time_ns", snapshot->peak_realtime_ns);
	if (snapshot->at_peak)
		tell_text(commenting, "inuse", "peak");
}

void hm_profile_comment_snapshot(const struct hm_snapshot *snapshot, const char *producer,
				 hm_comment_add *add, void *context)
{
	struct commenting commenting = { .add = add, .context = context };
	const struct hm_snapshot_totals totals = hm_snapshot_sum(snapshot);
	const uint64_t sample_count = totals.sample_count;

	say_who(&commenting, snapshot, producer, sample_count);
	say_intervals(&commenting, snapshot);
	say_peak(&commenting, snapshot, &totals.peak);
	say_state(&commenting, snapshot);

	tell_text(&commenting, "comm", snapshot->comm);
	tell_number(&commenting, "pid", snapshot->pid);
	if (snapshot->run_id != 0) {
		hm_text_add(begin_key(&commenting, "run_id"), "=");
		hm_text_add_hex(&commenting.text, snapshot->run_id);
		end_line(&commenting);
	}
	tell_number(&commenting, "start_time_ns", snapshot->start_realtime_ns);
	tell_text(&commenting, "state", snapshot->finished ? "finished" : "recording");
	tell_number(&commenting, "interval_bytes", snapshot->interval_bytes);
	if (snapshot->longest_interval_bytes > snapshot->interval_bytes)
		tell_number(&commenting, longest_key, snapshot->longest_interval_bytes);
	if (snapshot->slept)
		tell_number(&commenting, slept_key, 1);
	if (snapshot->woken_realtime_ns != 0)
		tell_number(&commenting, "woken_time_ns", snapshot->woken_realtime_ns);
	tell_number(&commenting, "samples", sample_count);
	tell_number(&commenting, "frames_max", snapshot->frames_kept_max);
	tell_peak(&commenting, snapshot, &totals.peak);
	for (enum hm_loss kind = 0; kind < HM_LOSS_KINDS; kind++) {
		if (snapshot->losses[kind] == 0)
			continue;
		struct hm_text *const text = begin_key(&commenting, loss_prefix);
		hm_text_add(text, hm_loss_word(kind));
		hm_text_add(text, "=");
		hm_text_add_number(text, snapshot->losses[kind]);
		end_line(&commenting);
	}
	if (count_skipped(&snapshot->skipped) != 0)
		tell_number(&commenting, "skipped", count_skipped(&snapshot->skipped));
	tell_ages(&commenting, snapshot);
}

/* The text behind `prefix`, or NULL where it begins otherwise. */
static const char *behind(const char *text, const char *prefix)
{
	const size_t length = strlen(prefix);

	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

/* What the comment says of `key`; NULL where it says something else. */
static const char *value_of(const char *comment, const char *key)
{
	const char *const name = behind(comment, key_prefix);
	const char *const rest = name != NULL ? behind(name, key) : NULL;

	return rest != NULL && *rest == '=' ? rest + 1 : NULL;
}

static void read_loss(const char *comment, uint64_t losses[HM_LOSS_KINDS])
{
	const char *const key = behind(comment, key_prefix);
	const char *const name = key != NULL ? behind(key, loss_prefix) : NULL;

	if (name == NULL)
		return;
	for (enum hm_loss kind = 0; kind < HM_LOSS_KINDS; kind++) {
		const char *const rest = behind(name, hm_loss_word(kind));

		if (rest != NULL && *rest == '=')
			losses[kind] = strtoull(rest + 1, NULL, 10);
	}
}

void hm_profile_comment_losses(const struct hm_profile *profile, uint64_t ret_losses[HM_LOSS_KINDS])
{
	memset(ret_losses, 0, HM_LOSS_KINDS * sizeof(*ret_losses));
	for (uint32_t index = 0; index < profile->comment_count; index++)
		read_loss(hm_profile_string(profile, profile->comments[index]), ret_losses);
}

const char *hm_profile_comment_value(const struct hm_profile *profile, const char *key)
{
	const char *value = NULL;

	for (uint32_t index = 0; index < profile->comment_count; index++) {
		const char *const found = value_of(hm_profile_string(profile, profile->comments[index]), key);

		if (found == NULL)
			continue;
		if (value != NULL && strcmp(value, found) != 0)
			return NULL;
		value = found;
	}
	return value;
}

void hm_profile_comment_ages(const struct hm_profile *profile, double ret_means_seconds[HM_AGE_COUNT])
{
	for (uint32_t age = 0; age < HM_AGE_COUNT; age++) {
		char key[32];
		struct hm_text text = hm_text_begin(key, sizeof(key));

		hm_text_add(&text, age_prefix);
		hm_text_add_number(&text, hm_age_seconds[age]);

		const char *const value = hm_profile_comment_value(profile, key);

		ret_means_seconds[age] = value != NULL ? (double)strtoull(value, NULL, 10) / 1000 : -1;
	}
}

struct hm_profile_intervals hm_profile_comment_intervals(const struct hm_profile *profile)
{
	struct hm_profile_intervals intervals = {
		.longest_bytes = profile->period > 0 ? (uint64_t)profile->period : 0,
	};

	for (uint32_t index = 0; index < profile->comment_count; index++) {
		const char *const comment = hm_profile_string(profile, profile->comments[index]);
		const char *const longest = value_of(comment, longest_key);
		const uint64_t longest_bytes = longest != NULL ? strtoull(longest, NULL, 10) : 0;

		if (longest_bytes > intervals.longest_bytes)
			intervals.longest_bytes = longest_bytes;
		intervals.slept |= value_of(comment, slept_key) != NULL;
	}
	return intervals;
}
