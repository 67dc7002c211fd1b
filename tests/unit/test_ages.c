// SPDX-License-Identifier: Apache-2.0
/* Live samples added up by age, and stacks taken apart by it: in the snapshot and in the profile. */
#include "proto/ages.h"
#include "proto/profile_check.h"
#include "proto/profile_comments.h"
#include "proto/profile_read.h"
#include "proto/profile_write.h"
#include "tests/unit/check.h"
#include "tests/unit/ledger_build.h"

#include <math.h>
#include <stdlib.h>

/* The ledgers began at 1700000000; all is seen from 100,000 seconds later. */
enum { NOW_SECONDS = 100000 };

static struct hm_snapshot take(const struct ledger_build *build, bool ages)
{
	const struct hm_source source = hm_source_from_memory(build->bytes, ledger_build_length(build));
	const struct hm_snapshot_options options = {
		.realtime_ns = (UINT64_C(1700000000) + NOW_SECONDS) * 1000000000,
		.ages = ages,
	};
	struct hm_snapshot snapshot = { 0 };

	CHECK_EQ(hm_snapshot_take(&source, &options, &snapshot, NULL), 0);
	return snapshot;
}

static uint64_t objects(uint64_t count)
{
	return count << HM_OBJECTS_FRACTION_BITS;
}

static uint64_t bytes(uint64_t count)
{
	return count << HM_BYTES_FRACTION_BITS;
}

static void add_live(struct ledger_build *build, uint32_t unit, uint64_t size_bytes, float weight,
		     double age_seconds)
{
	static uint64_t address = 0x10000;

	ledger_build_live(build, address += 16, unit, size_bytes, weight,
			  (uint32_t)((NOW_SECONDS - age_seconds) * HM_TICKS_PER_SECOND));
}

static void test_bounds(void)
{
	static const struct {
		uint64_t age_ns;
		uint32_t seconds;
	} rows[] = {
		{ 0, 0 },
		{ 999999999, 0 },
		{ 1000000000, 1 },
		{ UINT64_C(9999999999), 1 },
		{ UINT64_C(10000000000), 10 },
		{ UINT64_C(59999999999), 10 },
		{ UINT64_C(60000000000), 60 },
		{ UINT64_C(599999999999), 60 },
		{ UINT64_C(600000000000), 600 },
		{ UINT64_C(3599999999999), 600 },
		{ UINT64_C(3600000000000), 3600 },
		{ UINT64_C(86399999999999), 3600 },
		{ UINT64_C(86400000000000), 86400 },
		{ UINT64_MAX, 86400 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(hm_age_seconds[hm_age_of(rows[i].age_ns)], rows[i].seconds);
}

/* Two stacks with objects of known ages, at rate 1. */
static void test_sums(void)
{
	struct ledger_build build;

	ledger_build_begin(&build, 1 << 20);

	const uint32_t a = ledger_build_stack(&build, &(uint64_t){ 0x1000 }, 1, 0);
	const uint32_t b = ledger_build_stack(&build, &(uint64_t){ 0x2000 }, 1, 0);

	ledger_build_count(&build, a, &(struct ledger_counts){ 10, 10, 5000, 6, 2600, 0, 0 });
	ledger_build_count(&build, b, &(struct ledger_counts){ 1, 1, 7, 0, 0, 0, 0 });
	add_live(&build, a, 1000, 1.0F, 700);
	add_live(&build, a, 1000, 1.0F, 900);
	add_live(&build, b, 7, 1.0F, 90000);
	add_live(&build, a, 300, 1.0F, 0.5);
	add_live(&build, 12345, 300, 1.0F, 0.5); /* of a stack that is not there */

	struct hm_snapshot snapshot = take(&build, true);

	CHECK(snapshot.live == NULL);
	if (!CHECK_EQ(snapshot.age_count, 3))
		return;
	CHECK_EQ(snapshot.stacks[snapshot.ages[0].stack_index].unit, a);
	CHECK_EQ(hm_age_seconds[snapshot.ages[0].age], 0);
	CHECK_EQ(snapshot.ages[0].objects_fixed, objects(1));
	CHECK_EQ(hm_age_seconds[snapshot.ages[1].age], 600);
	CHECK_EQ(snapshot.ages[1].objects_fixed, objects(2));
	CHECK_EQ(snapshot.ages[1].bytes_fixed, bytes(2000));
	CHECK(snapshot.ages[1].byte_seconds == 1000.0 * 700 + 1000.0 * 900);
	CHECK(snapshot.ages[1].variance == 0);
	CHECK_EQ(snapshot.stacks[snapshot.ages[2].stack_index].unit, b);
	CHECK_EQ(hm_age_seconds[snapshot.ages[2].age], 86400);

	struct hm_part parts[HM_PARTS_MAX];

	if (CHECK_EQ(hm_ages_split(&snapshot, snapshot.ages[0].stack_index, parts), 3)) {
		/* One of 100 bytes came after the live table was copied: in use, without an age. */
		CHECK_EQ(parts[0].age, HM_AGE_NONE);
		CHECK_EQ(parts[0].alloc_objects, 7);
		CHECK_EQ(parts[0].alloc_bytes, 2700);
		CHECK_EQ(parts[0].inuse_objects, 1);
		CHECK_EQ(parts[0].inuse_bytes, 100);
		CHECK_EQ(parts[1].alloc_bytes, 300);
		CHECK_EQ(parts[1].inuse_bytes, 300);
		CHECK_EQ(parts[2].alloc_objects, 2);
		CHECK_EQ(parts[2].inuse_objects, 2);
		CHECK_EQ(parts[2].inuse_bytes, 2000);
	}
	if (CHECK_EQ(hm_ages_split(&snapshot, snapshot.ages[2].stack_index, parts), 1))
		CHECK_EQ(hm_age_seconds[parts[0].age], 86400); /* nothing of it is gone */
	hm_snapshot_done(&snapshot);

	snapshot = take(&build, false);
	CHECK_EQ(snapshot.age_count, 0);
	CHECK_EQ(hm_ages_split(&snapshot, 2, parts), 1);
	CHECK_EQ(parts[0].age, HM_AGE_NONE);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* Samples that were freed between the two copies: the counters rule, and the youngest go. */
static void test_trim(void)
{
	struct ledger_build build;

	ledger_build_begin(&build, 1 << 20);

	const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 }, 1, 0);

	ledger_build_count(&build, unit, &(struct ledger_counts){ 9, 9, 900, 6, 600, 0, 0 });
	for (int i = 0; i < 2; i++) {
		add_live(&build, unit, 100, 1.0F, 0.5);
		add_live(&build, unit, 100, 1.0F, 20);
		add_live(&build, unit, 100, 1.0F, 4000);
	}

	struct hm_snapshot snapshot = take(&build, true);

	if (CHECK_EQ(snapshot.age_count, 2)) {
		CHECK_EQ(hm_age_seconds[snapshot.ages[0].age], 10);
		CHECK_EQ(snapshot.ages[0].objects_fixed, objects(1));
		CHECK_EQ(snapshot.ages[0].bytes_fixed, bytes(100));
		CHECK(snapshot.ages[0].byte_seconds == 100.0 * 20);
		CHECK_EQ(hm_age_seconds[snapshot.ages[1].age], 3600);
		CHECK_EQ(snapshot.ages[1].objects_fixed, objects(2));
	}
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* Fractions of objects and bytes, in every age: what is rounded still adds up. */
static void test_rounding(void)
{
	static const double ages[] = { 0.5, 2, 30, 100, 1000, 5000, 90000 };
	struct ledger_build build;

	ledger_build_begin(&build, 1 << 20);
	for (uint32_t i = 0; i < 100; i++) {
		const float weight = 1.0F + (float)i / 37;
		const uint64_t size_bytes = 1 + i;
		const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 + i }, 1, 0);
		struct hm_ledger_stack *const stack = ledger_build_stack_at(&build, unit);

		for (size_t k = 0; k < sizeof(ages) / sizeof(ages[0]); k++) {
			add_live(&build, unit, size_bytes, weight, ages[k]);
			stack->alloc_objects += hm_sample_objects_fixed(weight);
			stack->alloc_bytes += hm_sample_bytes_fixed(size_bytes, weight);
		}
	}

	struct hm_snapshot snapshot = take(&build, true);

	CHECK_EQ(snapshot.age_count, 700);
	for (uint32_t i = 0; i < snapshot.stack_count; i++) {
		struct hm_part parts[HM_PARTS_MAX];
		const uint32_t count = hm_ages_split(&snapshot, i, parts);
		int64_t sums[4] = { 0 };

		for (uint32_t k = 0; k < count; k++) {
			CHECK(parts[k].age != HM_AGE_NONE); /* no remainder, not a single byte */
			CHECK(parts[k].inuse_objects >= 0 && parts[k].inuse_bytes >= 0);
			sums[0] += parts[k].alloc_objects;
			sums[1] += parts[k].alloc_bytes;
			sums[2] += parts[k].inuse_objects;
			sums[3] += parts[k].inuse_bytes;
		}
		CHECK_EQ(sums[0], hm_objects_round(snapshot.stacks[i].alloc.objects_fixed));
		CHECK_EQ(sums[1], hm_bytes_round(snapshot.stacks[i].alloc.bytes_fixed));
		CHECK_EQ(sums[2], hm_objects_round(snapshot.stacks[i].inuse.objects_fixed));
		CHECK_EQ(sums[3], hm_bytes_round(snapshot.stacks[i].inuse.bytes_fixed));
	}
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* A weight of w adds size^2 w(w-1), as to the counters of a stack. */
static void test_variance(void)
{
	struct ledger_build build;

	ledger_build_begin(&build, 1 << 20);

	const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 }, 1, 0);

	ledger_build_count(&build, unit, &(struct ledger_counts){ 2, 9, 900, 0, 0, 0, 0 });
	add_live(&build, unit, 100, 2.5F, 20);
	add_live(&build, unit, 100, 2.5F, 40);

	struct hm_snapshot snapshot = take(&build, true);

	if (CHECK_EQ(snapshot.age_count, 1)) {
		const struct hm_age_sum *const sum = &snapshot.ages[0];

		CHECK(sum->byte_seconds == 250.0 * 20 + 250.0 * 40);
		CHECK(sum->variance == 2 * 37500.0);
		CHECK(sum->variance_seconds == 37500.0 * 60);
		CHECK(sum->variance_seconds2 == 37500.0 * (400 + 1600));
	}
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* More stacks than the table has room for at first. */
static void test_growth(void)
{
	enum { STACKS = 3000 };
	struct ledger_build build;

	ledger_build_begin(&build, 4 << 20);
	for (uint32_t i = 0; i < STACKS; i++) {
		const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 + i }, 1, 0);

		ledger_build_count(&build, unit, &(struct ledger_counts){ 2, 2, 2 * i, 0, 0, 0, 0 });
		add_live(&build, unit, i, 1.0F, 3);
		add_live(&build, unit, i, 1.0F, 3);
	}

	struct hm_snapshot snapshot = take(&build, true);

	if (CHECK_EQ(snapshot.age_count, STACKS)) {
		for (uint32_t i = 0; i < snapshot.stack_count; i++) {
			uint32_t count = 0;
			const struct hm_age_sum *const sums = hm_ages_of_stack(&snapshot, i, &count);

			if (snapshot.stacks[i].kind != HM_STACK_ORDINARY)
				CHECK_EQ(count, 0);
			else if (CHECK_EQ(count, 1))
				CHECK(sums->objects_fixed == objects(2) &&
				      sums->bytes_fixed == snapshot.stacks[i].inuse.bytes_fixed);
		}
	}
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

struct buffer {
	uint8_t *bytes;
	size_t size_bytes;
};

static int append(void *context, const void *data, size_t size_bytes)
{
	struct buffer *const buffer = context;

	buffer->bytes = realloc(buffer->bytes, buffer->size_bytes + size_bytes);
	memcpy(buffer->bytes + buffer->size_bytes, data, size_bytes);
	buffer->size_bytes += size_bytes;
	return 0;
}

static void print_finding(void *context, const struct hm_profile_finding *finding)
{
	(void)context;
	if (finding->is_broken)
		fprintf(stderr, "\t%s\n", finding->sentence);
}

/* In the profile: labels, which stack a sample is of, the mean ages, and the same bytes each time. */
static void test_profile(void)
{
	struct ledger_build build;
	struct buffer buffers[2] = { 0 };
	struct hm_profile profile = { 0 };
	double means[HM_AGE_COUNT];

	ledger_build_sample(&build);
	struct hm_snapshot snapshot = take(&build, true);
	uint32_t *const stacks = calloc(snapshot.stack_count + snapshot.age_count, sizeof(stacks[0]));
	const struct hm_profile_options options = { .producer = "heapmark 1.2.3", .ret_stacks = stacks };

	for (int i = 0; i < 2; i++) {
		const struct hm_sink sink = { append, &buffers[i] };

		CHECK_EQ(hm_profile_write(&snapshot, &options, &sink, NULL), 0);
	}
	CHECK(buffers[0].size_bytes == buffers[1].size_bytes &&
	      memcmp(buffers[0].bytes, buffers[1].bytes, buffers[0].size_bytes) == 0);
	CHECK_EQ(hm_profile_read(buffers[0].bytes, buffers[0].size_bytes, &profile, NULL), 0);
	CHECK_EQ(hm_profile_check(&profile, print_finding, NULL), 0);

	uint32_t labelled_count = 0;

	for (uint32_t i = 0; i < profile.sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile.samples[i];
		const struct hm_snapshot_stack *const stack = &snapshot.stacks[stacks[i]];

		CHECK(stack->kind != HM_STACK_ORDINARY || sample->location_count >= stack->frame_count);
		CHECK(sample->values[1] <= hm_bytes_round(stack->alloc.bytes_fixed));
		if (sample->label_count == 0)
			continue;
		labelled_count++;
		CHECK_EQ(sample->label_count, 1);
		CHECK_STR(hm_profile_string(&profile, sample->labels[0].key), "age");
		CHECK_STR(hm_profile_string(&profile, sample->labels[0].unit), "seconds");
		CHECK_EQ(sample->labels[0].text, 0);
		CHECK_EQ(sample->labels[0].number, 86400);
		CHECK(sample->values[0] == sample->values[2] && sample->values[1] == sample->values[3]);
	}
	/* 60 samples of 1.5 * 100 bytes, born from 1 s to 89 s, all older than a day. */
	CHECK_EQ(labelled_count, snapshot.age_count);
	hm_profile_comment_ages(&profile, means);
	CHECK(means[0] < 0);
	CHECK(fabs(means[HM_AGE_COUNT - 1] - (NOW_SECONDS - 45)) < 0.001);

	hm_profile_done(&profile);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
	free(stacks);
	free(buffers[0].bytes);
	free(buffers[1].bytes);
}

/* A profile that pprof has merged has the comments of both. */
static void test_comments(void)
{
	struct hm_profile_text strings[] = {
		{ "", 0 },
		{ "#heapmark.pid=12", 16 },
		{ "#heapmark.pid=13", 16 },
		{ "#heapmark.pidgin=1", 18 },
		{ "#heapmark.age_ms.600=700500", 27 },
		{ "#heapmark.comm=a", 16 },
	};
	uint32_t comments[] = { 3, 1, 4, 1, 5, 2 };
	struct hm_profile profile = {
		.strings = strings, .string_count = 6, .comments = comments, .comment_count = 5
	};
	double means[HM_AGE_COUNT];

	CHECK_STR(hm_profile_comment_value(&profile, "pid"), "12");
	CHECK_STR(hm_profile_comment_value(&profile, "comm"), "a");
	CHECK(hm_profile_comment_value(&profile, "co") == NULL);
	hm_profile_comment_ages(&profile, means);
	CHECK(means[4] == 700.5 && means[3] < 0);
	profile.comment_count = 6;
	CHECK(hm_profile_comment_value(&profile, "pid") == NULL);
}

int main(void)
{
	test_comments();
	test_bounds();
	test_sums();
	test_trim();
	test_rounding();
	test_variance();
	test_growth();
	test_profile();
	return check_result();
}
