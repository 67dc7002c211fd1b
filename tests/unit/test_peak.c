// SPDX-License-Identifier: Apache-2.0
/*
 * The high-water mark, one thread: figures of stacks at the mark, and how near the mark is to the truth.
 *
 * A model counts beside the code what each stack has in use, and keeps a copy of that whenever the mark has
 * been raised.  At the end, what a snapshot says of the peak must be that copy, to the unit, and its sum
 * within the bounds of preload/peak.h of the most that the model has ever had.
 */
#include "preload/float.h"
#include "preload/ledger_file.h"
#include "preload/peak.h"
#include "preload/stacks.h"
#include "proto/snapshot.h"

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>

enum { STACKS = 40, BLOCKS = 4000 };

struct figures {
	uint64_t objects;
	uint64_t bytes;
};

struct model {
	struct hm_ledger_file ledger;
	uint32_t units[STACKS];
	struct figures now[STACKS];
	struct figures at_mark[STACKS];
	uint64_t mark;       /* as last seen in the header */
	uint64_t mark_count; /* how often it was raised */
	uint64_t bytes;
	uint64_t bytes_at_mark; /* may differ from it by what is in the shards */
	uint64_t bytes_max;
};

static void begin(struct model *model, const char *directory, bool is_alone)
{
	memset(model, 0, sizeof(*model));
	__libc_single_threaded = is_alone ? 1 : 0;
	CHECK_EQ(hm_ledger_create(directory, "peak", 1, 16 << 20, &model->ledger), 0);
	for (uint32_t i = 0; i < STACKS; i++) {
		const uint64_t frame = hm_frame_make(0, 0x400000 + i);

		model->units[i] = hm_stack_intern(&model->ledger, &frame, 1, 0);
	}
	hm_ledger_header(&model->ledger)->state = HM_LEDGER_RECORDING;
	hm_peak_reset();
}

static void end(struct model *model)
{
	hm_ledger_remove(&model->ledger);
	hm_ledger_close_descriptor(&model->ledger);
}

static struct hm_ledger_stack *stack_of(const struct model *model, uint32_t which)
{
	return hm_ledger_unit(&model->ledger, model->units[which]);
}

static void look_at_mark(struct model *model)
{
	const uint64_t mark = atomic_load(&hm_ledger_header(&model->ledger)->peak_mark);

	if (mark == model->mark)
		return;
	CHECK(mark > model->mark);
	CHECK_EQ(mark % 2, 0);
	model->mark = mark;
	model->mark_count++;
	model->bytes_at_mark = model->bytes;
	memcpy(model->at_mark, model->now, sizeof(model->now));
}

static void allocate(struct model *model, uint32_t which, uint64_t size_bytes)
{
	struct hm_ledger_header *const header = hm_ledger_header(&model->ledger);

	hm_peak_before_alloc(header, stack_of(model, which));
	hm_stack_add_alloc(stack_of(model, which), size_bytes, 1.0F);
	model->now[which].objects++;
	model->now[which].bytes += size_bytes;
	model->bytes += size_bytes;
	if (model->bytes > model->bytes_max)
		model->bytes_max = model->bytes;
	hm_peak_after_alloc(header, hm_stack_bytes_fixed(size_bytes, 1.0F));
	look_at_mark(model);
}

static void release(struct model *model, uint32_t which, uint64_t size_bytes)
{
	struct hm_ledger_header *const header = hm_ledger_header(&model->ledger);

	hm_peak_before_free(header, stack_of(model, which), hm_stack_bytes_fixed(size_bytes, 1.0F));
	look_at_mark(model); /* a free may settle what was pending, before it changes the stack */
	hm_stack_add_freed(stack_of(model, which), size_bytes, 1.0F);
	model->now[which].objects--;
	model->now[which].bytes -= size_bytes;
	model->bytes -= size_bytes;
}

static bool take(const struct model *model, struct hm_snapshot *ret_snapshot)
{
	const struct hm_source source =
		hm_source_from_memory(model->ledger.base, hm_ledger_header(&model->ledger)->granted_bytes);
	const struct hm_snapshot_options options = { 0 };

	return CHECK_EQ(hm_snapshot_take(&source, &options, ret_snapshot, NULL), 0);
}

static const struct hm_snapshot_stack *find(const struct hm_snapshot *snapshot, uint32_t unit)
{
	for (uint32_t i = 0; i < snapshot->stack_count; i++)
		if (snapshot->stacks[i].unit == unit)
			return &snapshot->stacks[i];
	CHECK(!"the stack is in the snapshot");
	abort();
}

/* Each stack as the model had it; all together no less than `share` of the most there was, and no more. */
static void expect_peak(const struct model *model, double share)
{
	/* Where there is more in use now than at the mark, now is the peak. */
	const struct figures *const expected =
		model->bytes > model->bytes_at_mark ? model->now : model->at_mark;
	struct hm_snapshot snapshot;
	uint64_t bytes = 0;

	if (!take(model, &snapshot))
		return;
	for (uint32_t i = 0; i < STACKS; i++) {
		const struct hm_snapshot_stack *const stack = find(&snapshot, model->units[i]);

		CHECK_EQ(hm_objects_round(stack->peak.objects_fixed), (int64_t)expected[i].objects);
		CHECK_EQ(hm_bytes_round(stack->peak.bytes_fixed), (int64_t)expected[i].bytes);
		CHECK_EQ(hm_bytes_round(stack->inuse.bytes_fixed), (int64_t)model->now[i].bytes);
		bytes += (uint64_t)hm_bytes_round(stack->peak.bytes_fixed);
	}
	CHECK(bytes <= model->bytes_max);
	CHECK((double)bytes >= share * (double)model->bytes_max);
	CHECK_EQ(snapshot.skipped.counters, 0);
	hm_snapshot_done(&snapshot);
}

static const double alone_share = 64.0 / 65.0;
static const double threads_share = (1 - 1.0 / 128) / (1 + 1.0 / 64 + 1.0 / 128);

static void test_ramp(const char *directory)
{
	struct model model;

	begin(&model, directory, true);
	expect_peak(&model, 1.0); /* of nothing */
	for (uint32_t i = 0; i < BLOCKS; i++) {
		allocate(&model, i % STACKS, 1000);
		expect_peak(&model, 1.0); /* still growing: now is the peak */
	}
	for (uint32_t i = 0; i < BLOCKS; i++)
		release(&model, i % STACKS, 1000);
	expect_peak(&model, alone_share);
	/* 64 steps to 64 blocks, then each at least 1/64 higher. */
	CHECK(model.mark_count > 64 && model.mark_count < 64 + 64 * 5);

	/* The same height again is no new mark; a higher one is. */
	const uint64_t mark = model.mark;

	for (uint32_t i = 0; i < BLOCKS; i++)
		allocate(&model, (i * 7) % STACKS, 1000);
	CHECK_EQ(model.mark, mark);
	allocate(&model, 3, 1000 * BLOCKS);
	release(&model, 3, 1000 * BLOCKS);
	CHECK_EQ(model.mark, 2 * UINT64_C(2000) * BLOCKS);
	expect_peak(&model, 1.0);
	end(&model);
}

/* The most that the mark may miss: growth that stops one byte short of the hysteresis. */
static void test_bound(const char *directory)
{
	struct model model;

	begin(&model, directory, true);
	allocate(&model, 0, 64 << 20);
	CHECK_EQ(model.mark, UINT64_C(128) << 20);
	allocate(&model, 1, 1 << 20); /* to exactly 65/64 */
	CHECK_EQ(model.mark, UINT64_C(128) << 20);
	release(&model, 1, 1 << 20);
	expect_peak(&model, alone_share); /* which it just meets */
	allocate(&model, 2, (1 << 20) + 1);
	CHECK_EQ(model.mark, 2 * ((UINT64_C(65) << 20) + 1));
	release(&model, 2, (1 << 20) + 1);
	expect_peak(&model, 1.0);
	end(&model);

	/* A shard may keep 1/8192 of the mark, and no byte more. */
	begin(&model, directory, false);
	allocate(&model, 0, 64 << 20);
	allocate(&model, 1, 1 << 20);
	allocate(&model, 2, 8192);
	CHECK_EQ(model.mark, UINT64_C(128) << 20);
	allocate(&model, 2, 1);
	CHECK_EQ(model.mark, 2 * ((UINT64_C(65) << 20) + 8193));
	end(&model);
}

/* A mark, then churn in other stacks that never gets so high, and stacks that rest. */
static void test_churn(const char *directory)
{
	struct model model;

	begin(&model, directory, true);
	for (uint32_t i = 0; i < STACKS; i++)
		allocate(&model, i, 100 * (i + 1));
	allocate(&model, 5, 1 << 20);
	release(&model, 5, 1 << 20);
	for (uint32_t i = 0; i < 100000; i++) {
		allocate(&model, i % (STACKS / 2), 5000);
		release(&model, i % (STACKS / 2), 5000);
	}
	expect_peak(&model, 1.0);
	CHECK_EQ(model.at_mark[5].bytes, 600 + (1 << 20));
	end(&model);
}

/* Marks that get higher by a tenth each, each with another stack on top. */
static void test_sawtooth(const char *directory)
{
	struct model model;
	uint64_t size_bytes = 10000;

	begin(&model, directory, true);
	for (uint32_t tooth = 0; tooth < 60; tooth++) {
		allocate(&model, tooth % STACKS, size_bytes);
		expect_peak(&model, 1.0);
		release(&model, tooth % STACKS, size_bytes);
		expect_peak(&model, 1.0);
		size_bytes += size_bytes / 10;
	}
	CHECK_EQ(model.mark_count, 60);
	end(&model);
}

static uint64_t draw(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* Blocks come and go by chance, with a tide; as one thread, and as one of several. */
static void test_walk(const char *directory, bool is_alone, double share)
{
	static struct {
		uint64_t size_bytes;
		uint32_t which;
	} blocks[BLOCKS];

	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct model model;
		uint64_t state = seed;
		uint32_t count = 0;

		begin(&model, directory, is_alone);
		for (uint32_t i = 0; i < 60000; i++) {
			const uint64_t tide = i / 3000 % 2 == 0 ? 40 : 60;

			if (count > 0 && (count == BLOCKS || draw(&state) % 100 < tide)) {
				const uint32_t victim = (uint32_t)(draw(&state) % count);

				release(&model, blocks[victim].which, blocks[victim].size_bytes);
				blocks[victim] = blocks[--count];
			} else {
				blocks[count].size_bytes = UINT64_C(1) << draw(&state) % 14;
				blocks[count].which = (uint32_t)(draw(&state) % STACKS);
				allocate(&model, blocks[count].which, blocks[count].size_bytes);
				count++;
			}
			if (i % 5000 == 0)
				expect_peak(&model,
					    share - (double)(256.0 / (1.0 + (double)model.bytes_max)));
		}
		while (count-- > 0)
			release(&model, blocks[count].which, blocks[count].size_bytes);
		expect_peak(&model, share);
		end(&model);
	}
}

/* Every stack freed, the sum over all counters is nothing, whatever the weights. */
static void test_weights(const char *directory)
{
	struct model model;
	struct hm_snapshot snapshot;
	uint64_t sum_fixed = 0;

	begin(&model, directory, false);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 1000; i++) {
			const float weight = 1.0F + (float)i / 7.0F;
			const uint64_t fixed = hm_stack_bytes_fixed(100 + i, weight);
			struct hm_ledger_header *const header = hm_ledger_header(&model.ledger);
			struct hm_ledger_stack *const stack = stack_of(&model, i % STACKS);

			if (round == 0) {
				hm_peak_before_alloc(header, stack);
				hm_stack_add_alloc(stack, 100 + i, weight);
				hm_peak_after_alloc(header, fixed);
			} else {
				hm_peak_before_free(header, stack, fixed);
				hm_stack_add_freed(stack, 100 + i, weight);
			}
		}
		if (!take(&model, &snapshot))
			return;
		const struct hm_snapshot_totals totals = hm_snapshot_sum(&snapshot);
		CHECK(totals.peak.bytes_variance > 0.9 * totals.alloc.bytes_variance);
		CHECK(totals.peak.objects_variance > 0.9 * totals.alloc.objects_variance);
		CHECK((double)totals.peak.bytes_fixed >= threads_share * (double)totals.alloc.bytes_fixed);
		CHECK(totals.peak.bytes_fixed <= totals.alloc.bytes_fixed);
		if (round == 1)
			CHECK(snapshot.peak_realtime_ns != 0);
		hm_snapshot_turn_to_peak(&snapshot);
		CHECK(snapshot.at_peak);
		CHECK_EQ(hm_snapshot_sum(&snapshot).inuse.bytes_fixed, totals.peak.bytes_fixed);
		hm_snapshot_done(&snapshot);
	}
	for (uint32_t i = 0; i < HM_PEAK_SHARDS; i++)
		sum_fixed += atomic_load(&hm_peak_shards[i].bytes_fixed);
	CHECK_EQ(sum_fixed + atomic_load(&hm_peak_sum.bytes_fixed), 0);
	end(&model);
}

/* What others leave behind: claimed and never published; kept for a mark that this thread has not seen. */
static void test_claims(const char *directory)
{
	struct model model;

	begin(&model, directory, true);
	allocate(&model, 0, 1000);
	allocate(&model, 1, 1000);

	struct hm_ledger_stack *const stack = stack_of(&model, 0);
	const uint64_t mark = model.mark;

	atomic_store(&stack->peak_mark, mark | 1); /* a thread died while it kept it */
	release(&model, 0, 400);                   /* does not wait, and takes nothing over */
	CHECK_EQ(atomic_load(&stack->peak_mark), mark | 1);
	allocate(&model, 1, 5000); /* the next mark is kept as ever */
	release(&model, 0, 100);
	CHECK_EQ(atomic_load(&stack->peak_mark), model.mark);
	CHECK_EQ(atomic_load(&stack->peak_bytes) >> HM_BYTES_FRACTION_BITS, 600);

	hm_peak_keep_now(stack, mark); /* by one who has read the mark long ago */
	CHECK_EQ(atomic_load(&stack->peak_mark), model.mark);
	CHECK_EQ(atomic_load(&stack->peak_bytes) >> HM_BYTES_FRACTION_BITS, 600);
	end(&model);
}

/* Sizes that nobody has, but that a program may report: the mark does not fall. */
static void test_absurd(const char *directory)
{
	const uint64_t absurd_bytes = (UINT64_C(1) << 57) - 1;
	struct model model;

	begin(&model, directory, true);
	allocate(&model, 0, absurd_bytes);
	CHECK_EQ(model.mark, 2 * absurd_bytes);
	release(&model, 0, absurd_bytes);
	for (uint32_t i = 0; i < STACKS; i++)
		allocate(&model, i, 1000);
	CHECK_EQ(model.mark, 2 * absurd_bytes);
	expect_peak(&model, 1.0);
	end(&model);
}

int main(void)
{
	char directory[PATH_MAX];

	scratch_make(directory);
	test_ramp(directory);
	test_bound(directory);
	test_churn(directory);
	test_sawtooth(directory);
	test_walk(directory, true, alone_share);
	test_walk(directory, false, threads_share);
	test_weights(directory);
	test_claims(directory);
	test_absurd(directory);
	scratch_remove(directory);
	return check_result();
}
