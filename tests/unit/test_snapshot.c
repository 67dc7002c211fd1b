// SPDX-License-Identifier: Apache-2.0
/* Ledgers built by hand, whole and damaged, against what the snapshot makes of them. */
#include "proto/snapshot.h"
#include "tests/unit/check.h"
#include "tests/unit/ledger_build.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

static const struct hm_snapshot_options with_live = {
	.realtime_ns = UINT64_C(1700000100) * 1000000000, /* 100 s after the start */
	.live_samples = true,
};

static int take(const struct ledger_build *build, struct hm_snapshot *ret_snapshot)
{
	const struct hm_source source = hm_source_from_memory(build->bytes, ledger_build_length(build));

	return hm_snapshot_take(&source, &with_live, ret_snapshot, NULL);
}

static uint64_t count_skipped(const struct hm_snapshot *snapshot)
{
	const struct hm_snapshot_skipped *const skipped = &snapshot->skipped;

	return skipped->references + skipped->late + skipped->records + skipped->counters + skipped->live +
	       skipped->modules + skipped->strings;
}

static const struct hm_snapshot_stack *find(const struct hm_snapshot *snapshot, uint32_t unit)
{
	static const struct hm_snapshot_stack none;

	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		if (snapshot->stacks[i].unit == unit)
			return &snapshot->stacks[i];
	}
	CHECK(!"the stack is in the snapshot");
	return &none;
}

static uint64_t objects(uint64_t number)
{
	return number << HM_OBJECTS_FRACTION_BITS;
}

static uint64_t bytes(uint64_t number)
{
	return number << HM_BYTES_FRACTION_BITS;
}

static void test_identity(void)
{
	struct ledger_build build;
	struct hm_snapshot snapshot;

	ledger_build_sample(&build);
	ledger_build_header(&build)->own_ranges[1] = (struct hm_ledger_range){ 0x7000000, 4096 };
	ledger_build_header(&build)->own_ranges[2] = (struct hm_ledger_range){ 0x8000000, 0 };
	ledger_build_header(&build)->own_ranges[30] = (struct hm_ledger_range){ UINT64_MAX - 8, 4096 };
	ledger_build_header(&build)->own_untold_bytes = 8192;
	ledger_build_header(&build)->control_supervised = 1;
	if (!CHECK_EQ(take(&build, &snapshot), 0))
		return;
	CHECK_EQ(snapshot.pid, 4242);
	CHECK_STR(snapshot.comm, "subject");
	CHECK_STR(snapshot.executable, "/usr/bin/subject");
	CHECK_STR(snapshot.command, "subject --secret");
	CHECK_EQ(snapshot.process_start_ticks, 777);
	CHECK_EQ(snapshot.start_realtime_ns, UINT64_C(1700000000) * 1000000000);
	CHECK_EQ(snapshot.start_boottime_ns, 5000000000);
	CHECK_EQ(snapshot.run_id, 0xabcdef);
	CHECK(!snapshot.finished);
	CHECK(snapshot.supervised);
	CHECK(!snapshot.cut_off);
	CHECK_EQ(snapshot.realtime_ns, with_live.realtime_ns);
	CHECK_EQ(snapshot.interval_bytes, 512 << 10);
	CHECK_EQ(snapshot.frames_kept_max, 128);
	CHECK_EQ(snapshot.losses[HM_LOSS_LIVE], 7);
	CHECK_EQ(snapshot.losses[HM_LOSS_CUT], 0);
	CHECK_EQ(snapshot.gauge_count, 1);
	CHECK_STR(snapshot.gauges[0].name, "hashmap/overflow_ratio");
	CHECK(snapshot.gauges[0].value == 0.25);
	/* of what lies where, as a table of another process may hold it, what can be is kept */
	CHECK_EQ(snapshot.own_range_count, 1);
	CHECK_EQ(snapshot.own_ranges[0].start_address, 0x7000000);
	CHECK_EQ(snapshot.own_ranges[0].size_bytes, 4096);
	CHECK_EQ(snapshot.own_untold_bytes, 8192);
	CHECK_EQ(count_skipped(&snapshot), 0);
	hm_snapshot_done(&snapshot);

	ledger_build_header(&build)->state = HM_LEDGER_FINISHED;
	ledger_build_header(&build)->end_realtime_ns = UINT64_C(1700000007) * 1000000000;
	CHECK_EQ(take(&build, &snapshot), 0);
	CHECK(snapshot.finished);
	CHECK_EQ(snapshot.realtime_ns, UINT64_C(1700000007) * 1000000000);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

static void test_figures(void)
{
	struct ledger_build build;
	struct hm_snapshot snapshot;
	const uint64_t frames[3] = { hm_frame_make(1, 0x1000), hm_frame_make(2, 0x2000), 0x3000 };

	ledger_build_begin(&build, 1 << 20);
	const uint32_t unit = ledger_build_stack(&build, frames, 3, HM_STACK_CUT);
	const uint32_t all_freed = ledger_build_stack(&build, frames, 2, HM_STACK_TRUNCATED);
	ledger_build_count(&build, unit, &(struct ledger_counts){ 5, 50, 5000, 20, 2000, 900.0, 300.0 });
	ledger_build_count(&build, all_freed, &(struct ledger_counts){ 3, 7, 70, 7, 70, 1.0, 0.75 });
	ledger_build_stack_at(&build, unit)->alloc_objects += 1; /* a fraction of 2^-16 */
	ledger_build_count(&build, ledger_build_header(&build)->overflow_unit,
			   &(struct ledger_counts){ 2, 11, 110, 1, 10, 0.0, 0.0 });
	if (!CHECK_EQ(take(&build, &snapshot), 0))
		return;
	CHECK_EQ(snapshot.stack_count, 4);
	for (uint32_t i = 1; i < snapshot.stack_count; i++)
		CHECK(snapshot.stacks[i - 1].unit < snapshot.stacks[i].unit);

	const struct hm_snapshot_stack *stack = find(&snapshot, unit);
	CHECK_EQ(stack->kind, HM_STACK_ORDINARY);
	CHECK_EQ(stack->flags, HM_STACK_CUT);
	CHECK_EQ(stack->sample_count, 5);
	if (CHECK_EQ(stack->frame_count, 3))
		CHECK_EQ(memcmp(stack->frames, frames, sizeof(frames)), 0);
	CHECK_EQ(stack->alloc.objects_fixed, objects(50) + 1);
	CHECK_EQ(stack->alloc.bytes_fixed, bytes(5000));
	CHECK_EQ(stack->inuse.objects_fixed, objects(30) + 1);
	CHECK_EQ(stack->inuse.bytes_fixed, bytes(3000));
	CHECK(stack->alloc.bytes_variance == 900.0);
	CHECK(stack->inuse.bytes_variance == 600.0);

	stack = find(&snapshot, all_freed);
	CHECK_EQ(stack->inuse.objects_fixed, 0);
	CHECK(stack->inuse.bytes_variance == 0.0); /* of nothing, whatever was left by rounding */

	const struct hm_snapshot_totals totals = hm_snapshot_sum(&snapshot);
	CHECK_EQ(totals.sample_count, 10);
	CHECK_EQ(hm_objects_round(totals.alloc.objects_fixed), 68);
	CHECK_EQ(hm_bytes_round(totals.alloc.bytes_fixed), 5180);
	CHECK_EQ(hm_objects_round(totals.inuse.objects_fixed), 40);
	CHECK_EQ(hm_bytes_round(totals.inuse.bytes_fixed), 3100);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);

	CHECK_EQ(hm_objects_round(0x7fff), 0);
	CHECK_EQ(hm_objects_round(0x8000), 1);
	CHECK_EQ(hm_bytes_round(31), 0);
	CHECK_EQ(hm_bytes_round(32), 1);
	CHECK_EQ(hm_bytes_round(UINT64_MAX), INT64_C(1) << 58);
}

/* Records that the trie reaches by every way: nodes many levels deep, chains of equal hashes. */
static void set_peak(struct hm_ledger_stack *record, uint64_t mark, uint64_t peak_objects,
		     uint64_t peak_bytes)
{
	record->peak_mark = mark;
	record->peak_objects = objects(peak_objects);
	record->peak_bytes = bytes(peak_bytes);
	record->peak_bytes_variance = UINT64_C(0x4059000000000000); /* 100.0 */
}

/* Which figures stand for a stack at the high-water mark. */
static void test_peak(void)
{
	enum { MARK = 2 * 9000 };
	static const struct {
		uint64_t mark;
		int64_t bytes;
		double variance;
	} cases[] = {
		{ MARK, 4000, 100.0 },     /* has changed since the mark */
		{ MARK + 2, 4000, 100.0 }, /* or since one that was raised while this was read */
		{ MARK - 2, 3000, 600.0 }, /* has not: what is in use now was then */
		{ 0, 3000, 600.0 },
		{ MARK | 1, 3000, 600.0 },       /* was not kept in time */
		{ (MARK - 2) | 1, 3000, 600.0 }, /* by a thread that never came back */
		{ UINT64_MAX, 3000, 600.0 },
	};
	enum { CASES = sizeof(cases) / sizeof(cases[0]) };
	const uint64_t second_ns = 1000000000;
	struct ledger_build build;
	struct hm_snapshot snapshot;
	uint32_t units[CASES];

	ledger_build_begin(&build, 1 << 20);
	struct hm_ledger_header *const header = ledger_build_header(&build);
	for (uint32_t i = 0; i < CASES; i++) {
		const uint64_t frame = 0x1000 + i;

		units[i] = ledger_build_stack(&build, &frame, 1, 0);
		ledger_build_count(&build, units[i],
				   &(struct ledger_counts){ 5, 50, 5000, 20, 2000, 900.0, 300.0 });
		set_peak(ledger_build_stack_at(&build, units[i]), cases[i].mark, 40, 4000);
	}
	header->peak_mark = MARK;
	header->peak_realtime_ns = header->start_realtime_ns + 7 * second_ns;
	if (!CHECK_EQ(take(&build, &snapshot), 0))
		return;
	for (uint32_t i = 0; i < CASES; i++) {
		const struct hm_snapshot_stack *const stack = find(&snapshot, units[i]);

		CHECK_EQ(hm_bytes_round(stack->peak.bytes_fixed), cases[i].bytes);
		CHECK_EQ(hm_objects_round(stack->peak.objects_fixed), cases[i].bytes / 100);
		CHECK(stack->peak.bytes_variance == cases[i].variance);
		CHECK_EQ(hm_bytes_round(stack->inuse.bytes_fixed), 3000);
	}
	CHECK_EQ(snapshot.peak_realtime_ns, header->start_realtime_ns + 7 * second_ns);
	CHECK_EQ(count_skipped(&snapshot), 0);

	hm_snapshot_turn_to_peak(&snapshot);
	CHECK(snapshot.at_peak);
	CHECK_EQ(snapshot.live_count, 0);
	for (uint32_t i = 0; i < CASES; i++)
		CHECK_EQ(hm_bytes_round(find(&snapshot, units[i])->inuse.bytes_fixed), cases[i].bytes);
	hm_snapshot_done(&snapshot);

	/* More is in use now than at the mark: now is the peak, of every stack. */
	ledger_build_count(&build, units[0], &(struct ledger_counts){ 5, 900, 90000, 0, 0, 0.0, 0.0 });
	header->peak_realtime_ns = 1; /* before the start */
	CHECK_EQ(take(&build, &snapshot), 0);
	CHECK_EQ(hm_bytes_round(find(&snapshot, units[0])->peak.bytes_fixed), 90000);
	CHECK_EQ(hm_bytes_round(find(&snapshot, units[1])->peak.bytes_fixed), 3000);
	CHECK_EQ(snapshot.peak_realtime_ns, snapshot.realtime_ns);
	hm_snapshot_done(&snapshot);

	ledger_build_count(&build, units[0], &(struct ledger_counts){ 5, 50, 5000, 20, 2000, 900.0, 300.0 });
	CHECK_EQ(take(&build, &snapshot), 0);
	CHECK_EQ(snapshot.peak_realtime_ns, header->start_realtime_ns);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

static void test_trie(void)
{
	enum { DEEP = 40, CHAIN = 10, SPREAD = 5000 };
	struct ledger_build build;
	struct hm_snapshot snapshot;
	uint64_t frame = 0x1000;

	ledger_build_begin(&build, 8 << 20);
	for (uint64_t i = 0; i < DEEP; i++) /* all digits equal but the last two */
		ledger_build_stack_hashed(&build, &(uint64_t){ frame++ }, 1, 0, UINT64_C(0xabc) << 52 | i);
	for (uint64_t i = 0; i < CHAIN; i++)
		ledger_build_stack_hashed(&build, &(uint64_t){ frame++ }, 1, 0, 0x1234);
	for (uint64_t i = 0; i < SPREAD; i++)
		ledger_build_stack(&build, &(uint64_t){ frame++ }, 1, 0);
	if (!CHECK_EQ(take(&build, &snapshot), 0))
		return;
	CHECK_EQ(count_skipped(&snapshot), 0);
	CHECK_EQ(snapshot.stack_count, 2 + DEEP + CHAIN + SPREAD);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < snapshot.stack_count; i++)
		sum += snapshot.stacks[i].frame_count == 1 ? snapshot.stacks[i].frames[0] : 0;
	CHECK_EQ(sum, (UINT64_C(0x1000) + frame - 1) * (DEEP + CHAIN + SPREAD) / 2);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

static void test_modules(void)
{
	enum { MODULES = 100 }; /* segments of 32 and 64, and part of the next */
	struct ledger_build build;
	struct hm_snapshot snapshot;
	char path[64];

	ledger_build_begin(&build, 1 << 20);
	for (uint32_t i = 1; i <= MODULES; i++) {
		const struct hm_ledger_module module = {
			.start_address = 0x10000ul * i,
			.end_address = 0x10000ul * i + 0x2000,
			.file_offset = 0x3000,
			.load_bias = 0x5000,
			.flags = i == 7 ? HM_MODULE_MAIN : 0,
			.build_id_size = 20,
			.build_id = { (uint8_t)i, 0xfe },
		};

		snprintf(path, sizeof(path), "/lib/lib%u.so", i);
		ledger_build_module(&build, &module, path);
	}
	if (!CHECK_EQ(take(&build, &snapshot), 0))
		return;
	CHECK_EQ(count_skipped(&snapshot), 0);
	if (!CHECK_EQ(snapshot.module_count, MODULES))
		return;
	for (uint32_t i = 1; i <= MODULES; i++) {
		const struct hm_snapshot_module *const module = &snapshot.modules[i - 1];

		snprintf(path, sizeof(path), "/lib/lib%u.so", i);
		CHECK_STR(module->path, path);
		CHECK_EQ(module->start_address, 0x10000ul * i);
		CHECK_EQ(module->build_id[0], (uint8_t)i);
	}
	CHECK_EQ(snapshot.modules[6].flags, HM_MODULE_MAIN);
	CHECK_EQ(snapshot.modules[6].file_offset, 0x3000);
	CHECK_EQ(snapshot.modules[6].load_bias, 0x5000);
	CHECK_EQ(snapshot.modules[6].build_id_size, 20);
	CHECK(hm_snapshot_module_of(&snapshot, hm_frame_make(3, 0x31fff)) == &snapshot.modules[2]);
	CHECK(hm_snapshot_module_of(&snapshot, hm_frame_make(3, 0x32000)) == NULL);
	CHECK(hm_snapshot_module_of(&snapshot, hm_frame_make(3, 0x2ffff)) == NULL);
	CHECK(hm_snapshot_module_of(&snapshot, hm_frame_make(0, 0x31000)) == NULL);
	CHECK(hm_snapshot_module_of(&snapshot, hm_frame_make(MODULES + 1, 0x31000)) == NULL);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

static void test_live(void)
{
	enum { LIVE = 5000 }; /* segments of 2048 and 4096 */
	struct ledger_build build;
	struct hm_snapshot snapshot;

	ledger_build_begin(&build, 2 << 20);
	const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 }, 1, 0);
	for (uint32_t i = 0; i < LIVE; i++)
		ledger_build_live(&build, 0x10000 + i, unit, 64 + i, 2.5f, HM_TICKS_PER_SECOND * (i % 100));
	/* The high bit of an address marks one that the program reported. */
	ledger_build_live(&build, UINT64_C(1) << 63 | 0x77, unit, 1, 1.0f, UINT32_C(3) << 30 | 16);
	if (!CHECK_EQ(take(&build, &snapshot), 0))
		return;
	CHECK_EQ(count_skipped(&snapshot), 0);
	if (!CHECK_EQ(snapshot.live_count, LIVE + 1))
		return;
	for (uint32_t i = 0; i < LIVE; i++) {
		const struct hm_snapshot_live *const live = &snapshot.live[i];

		CHECK_EQ(live->address, 0x10000 + i);
		CHECK_EQ(live->size_bytes, 64 + i);
		CHECK_EQ(live->age_ns, (100 - i % 100) * INT64_C(1000000000));
		CHECK(live->weight == 2.5f && !live->reported);
		CHECK_EQ(snapshot.stacks[live->stack_index].unit, unit);
	}
	CHECK_EQ(snapshot.live[LIVE].address, 0x77);
	CHECK(snapshot.live[LIVE].reported);
	CHECK_EQ(snapshot.live[LIVE].age_ns, INT64_C(99000000000));
	hm_snapshot_done(&snapshot);

	/* By the clock that does not jump, where the caller knows it. */
	const struct hm_source source = hm_source_from_memory(build.bytes, ledger_build_length(&build));
	struct hm_snapshot_options options = with_live;
	options.monotonic_ticks = 1000 + HM_TICKS_PER_SECOND * 50;
	CHECK_EQ(hm_snapshot_take(&source, &options, &snapshot, NULL), 0);
	CHECK_EQ(snapshot.live[10].age_ns, INT64_C(40000000000));
	CHECK_EQ(snapshot.live[60].age_ns, 0); /* born after "now": never negative */
	hm_snapshot_done(&snapshot);

	options.live_samples = false;
	CHECK_EQ(hm_snapshot_take(&source, &options, &snapshot, NULL), 0);
	CHECK(snapshot.live == NULL && snapshot.live_count == 0);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

static void expect_fault(const struct ledger_build *build, uint64_t length, int error,
			 enum hm_snapshot_fault fault)
{
	const struct hm_source source = hm_source_from_memory(build->bytes, length);
	struct hm_snapshot snapshot;
	enum hm_snapshot_fault got = HM_SNAPSHOT_NO_MEMORY;

	CHECK_EQ(hm_snapshot_take(&source, &with_live, &snapshot, &got), error);
	CHECK_EQ(got, fault);
	CHECK(hm_snapshot_fault_text(fault)[0] != '\0');
}

static void test_faults(void)
{
	struct ledger_build build;

	ledger_build_sample(&build);
	struct hm_ledger_header *const header = ledger_build_header(&build);
	const uint64_t length = ledger_build_length(&build);

	expect_fault(&build, 0, -EAGAIN, HM_SNAPSHOT_NOT_READY);
	expect_fault(&build, 5, -EBADMSG, HM_SNAPSHOT_NOT_A_LEDGER);
	expect_fault(&build, 100, -EBADMSG, HM_SNAPSHOT_TOO_SHORT);
	expect_fault(&build, HM_LEDGER_HEADER_BYTES, -EBADMSG, HM_SNAPSHOT_TOO_SHORT);
	header->state = HM_LEDGER_EMPTY;
	expect_fault(&build, length, -EAGAIN, HM_SNAPSHOT_NOT_READY);
	header->state = 99;
	expect_fault(&build, length, -EAGAIN, HM_SNAPSHOT_NOT_READY);
	header->state = HM_LEDGER_RECORDING;
	header->version = HM_LEDGER_VERSION + 1;
	expect_fault(&build, length, -EPROTO, HM_SNAPSHOT_VERSION);
	header->version = HM_LEDGER_VERSION;
	header->byte_order = __builtin_bswap32(HM_LEDGER_BYTE_ORDER);
	expect_fault(&build, length, -EPROTO, HM_SNAPSHOT_BYTE_ORDER);
	header->magic[3] = 'x';
	expect_fault(&build, length, -EBADMSG, HM_SNAPSHOT_NOT_A_LEDGER);
	memset(build.bytes, 0, sizeof(*header));
	expect_fault(&build, length, -EAGAIN, HM_SNAPSHOT_NOT_READY);
	/* Killed while it wrote the first zeros. */
	expect_fault(&build, 4096, -EAGAIN, HM_SNAPSHOT_NOT_READY);
	expect_fault(&build, 3, -EAGAIN, HM_SNAPSHOT_NOT_READY);
	ledger_build_end(&build);

	struct hm_source source;
	int ends[2];
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(hm_source_from_descriptor(ends[0], &source), -EINVAL);
	close(ends[0]);
	close(ends[1]);
	CHECK_EQ(hm_source_from_descriptor(ends[0], &source), -EBADF);
}

/* A file, read by descriptor, whole and cut at many places. */
static void test_file(void)
{
	struct ledger_build build;
	struct hm_snapshot whole;
	struct hm_snapshot cut;
	struct hm_source source;
	char directory[PATH_MAX];
	char path[PATH_MAX + 16];

	ledger_build_sample(&build);
	scratch_make(directory);
	snprintf(path, sizeof(path), "%s/a.ledger", directory);
	CHECK(ledger_build_save(&build, path));
	const int descriptor = open(path, O_RDWR);
	CHECK_EQ(hm_source_from_descriptor(descriptor, &source), 0);
	CHECK_EQ(hm_snapshot_take(&source, &with_live, &whole, NULL), 0);
	CHECK_EQ(whole.stack_count, 202);
	CHECK_EQ(whole.live_count, 60);
	CHECK_EQ(whole.ledger_bytes, ledger_build_length(&build));

	/* Cut after it was opened: the source believes in the old length. */
	CHECK_EQ(ftruncate(descriptor, (off_t)ledger_build_length(&build) / 2), 0);
	CHECK_EQ(hm_snapshot_take(&source, &with_live, &cut, NULL), 0);
	CHECK(cut.skipped.late > 0);
	CHECK(cut.stack_count > 0 && cut.stack_count < whole.stack_count);
	hm_snapshot_done(&cut);

	for (uint64_t length = HM_LEDGER_ARENA_OFFSET; length < ledger_build_length(&build); length += 1777) {
		const struct hm_source part = hm_source_from_memory(build.bytes, length);

		CHECK_EQ(hm_snapshot_take(&part, &with_live, &cut, NULL), 0);
		CHECK(cut.cut_off);
		CHECK(cut.stack_count <= whole.stack_count && cut.live_count <= whole.live_count);
		CHECK(cut.stack_count + cut.skipped.late + cut.skipped.records > 0);
		hm_snapshot_done(&cut);
	}
	hm_snapshot_done(&whole);
	close(descriptor);
	unlink(path);
	scratch_remove(directory);
	ledger_build_end(&build);
}

/* A ledger with one of everything that can lie. */
struct scene {
	struct ledger_build build;
	struct hm_ledger_header *header;
	uint32_t node;
	hm_trie_reference *children; /* of the node */
	uint32_t unit;
	struct hm_ledger_stack *record;
	struct hm_ledger_live_value *live;
	struct hm_ledger_module *module;
};

static void set_scene(struct scene *scene)
{
	static const struct hm_ledger_module plain = { .start_address = 0x1000, .end_address = 0x2000 };
	struct ledger_build *const build = &scene->build;
	const uint64_t frame = 0x1000;

	ledger_build_begin(build, 1 << 20);
	ledger_build_module(build, &plain, "/lib/a.so");
	scene->header = ledger_build_header(build);
	scene->node = ledger_build_allocate(build, sizeof(struct hm_trie_node));
	scene->children = (hm_trie_reference *)(build->bytes + scene->node * (uint64_t)HM_UNIT);
	hm_trie_reference *const roots = (hm_trie_reference *)(build->bytes + HM_LEDGER_HEADER_BYTES);
	roots[7] = scene->node << 1 | 1;
	scene->unit = ledger_build_stack_hashed(build, &frame, 1, 0, 0x1000);
	scene->record = ledger_build_stack_at(build, scene->unit);
	ledger_build_live(build, 0x5000, scene->unit, 10, 1.0f, 0);
	scene->live = ledger_build_live_value(build, 0, 0);
	scene->module = (struct hm_ledger_module *)(build->bytes + scene->header->module_segments[0].offset);
}

/* Tells lie number `lie`; returns the counter that has to notice it, or NULL behind the last. */
static const uint64_t *lie_in_trie(struct scene *scene, const struct hm_snapshot_skipped *skipped,
				   uint32_t lie)
{
	switch (lie) {
	case 0: /* a cycle of nodes */
		scene->children[3] = scene->node << 1 | 1;
		return &skipped->references;
	case 1: /* a record reached twice */
		scene->children[3] = scene->unit << 1;
		return &skipped->references;
	case 2: /* a chain that ends in itself */
		scene->record->next_same_hash = scene->unit;
		return &skipped->references;
	case 3: /* into the header */
		scene->children[0] = 5 << 1;
		return &skipped->references;
	case 4: /* beyond the end */
		scene->children[0] = UINT32_MAX;
		return &skipped->late;
	case 5: /* more frames than there can be */
		scene->record->frame_count = HM_FRAMES_MAX + 1;
		return &skipped->records;
	case 6: /* a record that runs into the live table */
		scene->record->frame_count = 60;
		scene->children[1] = (scene->unit + 2) << 1;
		return &skipped->records;
	case 7: /* a special record in the trie */
		scene->record->kind = HM_STACK_DROPPED;
		return &skipped->records;
	case 8: /* an ordinary one in a special place */
		scene->header->dropped_unit = scene->unit;
		return &skipped->records;
	default:
		return NULL;
	}
}

static const uint64_t *lie_in_tables(struct scene *scene, const struct hm_snapshot_skipped *skipped,
				     uint32_t lie)
{
	switch (lie) {
	case 0: /* freed more than allocated */
		scene->record->freed_bytes = 64;
		return &skipped->counters;
	case 1: /* a variance that is not a number */
		scene->record->alloc_bytes_variance = UINT64_C(0x7ff4000000000001);
		return &skipped->counters;
	case 2: /* a weight that is not a number */
		scene->live->weight = 0x7fa00001;
		return &skipped->live;
	case 3: /* a live sample of no stack */
		scene->live->stack_unit = scene->unit + 1;
		return &skipped->live;
	case 4: /* half written by a process that was killed */
		scene->live->generation = 3;
		return &skipped->live;
	case 5: /* a module that ends before it starts */
		scene->module->end_address = 0x1000;
		return &skipped->modules;
	case 6: /* a path longer than the file */
		((struct hm_ledger_string *)(scene->build.bytes +
					     scene->module->path_unit * (uint64_t)HM_UNIT))
			->length_bytes = UINT32_MAX;
		return &skipped->strings;
	case 7: /* in use at the peak more than was ever allocated */
		scene->record->peak_bytes = 64;
		return &skipped->counters;
	case 8:
		scene->record->peak_objects = UINT64_MAX;
		return &skipped->counters;
	case 9:
		scene->record->peak_objects_variance = UINT64_MAX;
		return &skipped->counters;
	default:
		return NULL;
	}
}

static bool test_lie(uint32_t group, uint32_t lie)
{
	struct scene scene;
	struct hm_snapshot snapshot;

	set_scene(&scene);
	const uint64_t *const seen = group == 0 ? lie_in_trie(&scene, &snapshot.skipped, lie)
						: lie_in_tables(&scene, &snapshot.skipped, lie);
	if (seen != NULL && CHECK_EQ(take(&scene.build, &snapshot), 0)) {
		if (!CHECK(*seen > 0))
			fprintf(stderr, "\tlie %u of group %u was not noticed\n", lie, group);
		for (uint32_t i = 0; i < snapshot.stack_count; i++)
			CHECK(snapshot.stacks[i].inuse.bytes_variance >= 0.0 &&
			      snapshot.stacks[i].peak.bytes_fixed <= snapshot.stacks[i].alloc.bytes_fixed);
		hm_snapshot_done(&snapshot);
	}
	ledger_build_end(&scene.build);
	return seen != NULL;
}

/* One lie after the other, each told to a fresh ledger. */
static void test_lies(void)
{
	enum { LIES = 19 };
	uint32_t count = 0;

	for (uint32_t group = 0; group < 2; group++) {
		for (uint32_t lie = 0; test_lie(group, lie); lie++)
			count++;
	}
	CHECK_EQ(count, LIES);
}

/* Places and counts in the header that are not true. */
static void test_header_lies(void)
{
	struct ledger_build build;
	struct hm_snapshot snapshot;

	ledger_build_sample(&build);
	struct hm_ledger_header *const header = ledger_build_header(&build);
	const uint64_t length = ledger_build_length(&build);
	const struct hm_source source = hm_source_from_memory(build.bytes, length);
	header->module_count = UINT32_MAX;
	header->live_segments[1].offset = 12345; /* not a unit */
	header->live_segments[2].offset = UINT64_MAX - 63;
	header->live_segments[3].offset = 64; /* the header itself */
	header->module_segments[1].offset = length - 64;
	header->executable_unit = UINT32_MAX;
	header->command_unit = 1;
	header->overflow_unit = UINT32_MAX;
	header->granted_bytes = UINT64_MAX;
	header->start_realtime_ns = UINT64_MAX;
	CHECK_EQ(hm_snapshot_take(&source, &with_live, &snapshot, NULL), 0);
	CHECK(snapshot.cut_off);
	CHECK_STR(snapshot.executable, "");
	CHECK_STR(snapshot.command, "");
	CHECK_EQ(snapshot.skipped.strings, 2);
	CHECK(snapshot.skipped.references >= 3); /* two segments, the module count */
	CHECK(snapshot.skipped.late >= 3);       /* two segments, [overflow] */
	CHECK_EQ(snapshot.live_count, 60);
	CHECK_EQ(snapshot.module_count, 32);
	CHECK_STR(snapshot.modules[0].path, "/usr/lib/libsubject.so.1");
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* A path that many modules share, of a length that the file has but once: memory stays in proportion. */
static void test_text_budget(void)
{
	enum { MODULES = 3000 };
	struct ledger_build build;
	struct hm_snapshot snapshot;
	char path[4000];

	memset(path, 'x', sizeof(path));
	ledger_build_begin(&build, 2 << 20);
	const uint32_t path_unit = ledger_build_string(&build, path, sizeof(path));
	for (uint32_t i = 0; i < MODULES; i++) {
		const struct hm_ledger_module module = { .start_address = 0x1000, .end_address = 0x2000 };
		const uint32_t index = ledger_build_module(&build, &module, NULL);
		const struct hm_ledger_header *const header = ledger_build_header(&build);
		uint64_t position = index - 1;
		uint32_t k = 0;

		for (; position >= hm_module_segment_count(k); k++)
			position -= hm_module_segment_count(k);
		((struct hm_ledger_module *)(build.bytes + header->module_segments[k].offset))[position]
			.path_unit = path_unit;
	}
	CHECK_EQ(take(&build, &snapshot), 0);
	CHECK_EQ(snapshot.module_count, MODULES);
	CHECK(snapshot.skipped.strings > 0);
	CHECK(snapshot.arena.mapped_bytes < 4 * ledger_build_length(&build) + (8 << 20));
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* --- A ledger that is written to while it is read ------------------------------------------------------ */

/* What a source borrows it does not write to; those below are their own writers. */
static void *writable(const void *borrowed)
{
	union {
		const void *borrowed;
		void *writable;
	} context = { .borrowed = borrowed };

	return context.writable;
}

/* Before each read, the next step of a writer's work. */
struct busy {
	struct hm_source memory;
	struct hm_ledger_stack *record;
	struct hm_ledger_live_value *restless; /* changes at every read */
	struct hm_ledger_live_value *settling; /* stops changing after some reads */
	uint64_t reads;
};

static int64_t read_busy(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	struct busy *const busy = writable(source->context);

	busy->reads++;
	busy->record->alloc_objects += objects(1);
	busy->record->alloc_bytes += bytes(100);
	busy->record->freed_objects += objects(1);
	busy->record->freed_bytes += bytes(100);
	busy->restless->generation += 2;
	if (busy->reads < 6) {
		busy->settling->generation++; /* claimed, or published */
		busy->settling->size_bytes++;
	}
	return busy->memory.read(&busy->memory, offset, buffer, size_bytes);
}

static void test_busy(void)
{
	struct ledger_build build;
	struct hm_snapshot snapshot;

	ledger_build_sample(&build);
	const uint32_t unit = ledger_build_live_value(&build, 0, 5)->stack_unit;
	struct busy busy = {
		.memory = hm_source_from_memory(build.bytes, ledger_build_length(&build)),
		.record = ledger_build_stack_at(&build, unit),
		.restless = ledger_build_live_value(&build, 0, 10),
		.settling = ledger_build_live_value(&build, 0, 20),
	};
	const struct hm_source source = {
		.read = read_busy,
		.length_bytes = busy.memory.length_bytes,
		.context = &busy,
	};
	busy.record->freed_objects = busy.record->alloc_objects;
	busy.record->freed_bytes = busy.record->alloc_bytes;
	busy.settling->generation = 1;

	CHECK_EQ(hm_snapshot_take(&source, &with_live, &snapshot, NULL), 0);
	CHECK(busy.reads > 6);
	CHECK_EQ(snapshot.skipped.counters, 0);
	const struct hm_snapshot_stack *const stack = find(&snapshot, unit);
	/* The writer frees all that it allocates; what we saw freed is older than what we saw allocated. */
	CHECK(stack->inuse.objects_fixed >= objects(1));
	CHECK(stack->inuse.objects_fixed <= objects(busy.reads));
	CHECK_EQ(snapshot.skipped.live, 1); /* the restless one */
	CHECK_EQ(snapshot.live_count, 59);
	CHECK_EQ(snapshot.stack_count, 202);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* Before each read, a stack's program allocates and frees: as many as it says here. */
struct churning {
	struct hm_source memory;
	struct hm_ledger_stack *record;
	uint64_t offset;
	const uint64_t *counts; /* before each copy of the record alone; none after the last */
	uint32_t count;
	uint32_t copies;
};

static int64_t read_churning(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	struct churning *const churning = writable(source->context);
	uint64_t count = 1000; /* where all records are copied, it is long since the last time */

	if (offset == churning->offset && size_bytes == sizeof(struct hm_ledger_stack)) {
		count = churning->copies < churning->count ? churning->counts[churning->copies] : 0;
		churning->copies++;
	}
	churning->record->alloc_objects += objects(count);
	churning->record->alloc_bytes += bytes(100 * count);
	churning->record->freed_objects += objects(count);
	churning->record->freed_bytes += bytes(100 * count);
	return churning->memory.read(&churning->memory, offset, buffer, size_bytes);
}

/* What is in use is not what was allocated while all the other stacks were read. */
static void test_churning(void)
{
	static const uint64_t restless[] = { 9, 7, 5, 3, 8, 6, 4, 7, 5 };
	static const uint64_t resting[] = { 9, 7, 0 };
	static const struct {
		const uint64_t *counts;
		uint32_t count;
		uint64_t inuse_objects; /* beside the ten that are */
		uint32_t copies;
	} cases[] = {
		{ restless, sizeof(restless) / sizeof(*restless), 3, 8 }, /* the best of all tries */
		{ resting, sizeof(resting) / sizeof(*resting), 0, 3 },    /* and no more tries than needed */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ledger_build build;
		struct hm_snapshot snapshot;
		const uint64_t frames[] = { 0x1000, 0x2000 };

		ledger_build_begin(&build, 1 << 20);
		const uint32_t quiet_unit = ledger_build_stack(&build, &frames[0], 1, 0);
		const uint32_t unit = ledger_build_stack(&build, &frames[1], 1, 0);
		struct churning churning = {
			.memory = hm_source_from_memory(build.bytes, ledger_build_length(&build)),
			.record = ledger_build_stack_at(&build, unit),
			.offset = (uint64_t)unit * HM_UNIT,
			.counts = cases[i].counts,
			.count = cases[i].count,
		};
		const struct hm_source source = {
			.read = read_churning,
			.length_bytes = churning.memory.length_bytes,
			.context = &churning,
		};
		const struct ledger_counts counts = { 5, 500, 50000, 490, 49000, 900.0, 300.0 };

		ledger_build_count(&build, quiet_unit, &counts);
		ledger_build_count(&build, unit, &counts);
		CHECK_EQ(hm_snapshot_take(&source, &with_live, &snapshot, NULL), 0);
		CHECK_EQ(hm_objects_round(find(&snapshot, quiet_unit)->inuse.objects_fixed), 10);
		CHECK_EQ(hm_objects_round(find(&snapshot, unit)->inuse.objects_fixed),
			 10 + cases[i].inuse_objects);
		CHECK_EQ(hm_bytes_round(find(&snapshot, unit)->inuse.bytes_fixed),
			 1000 + 100 * cases[i].inuse_objects);
		CHECK_EQ(churning.copies, cases[i].copies);
		CHECK_EQ(snapshot.skipped.counters, 0);
		hm_snapshot_done(&snapshot);
		ledger_build_end(&build);
	}
}

/* Before each read, a stack is kept for another mark, or half kept. */
struct keeping {
	struct hm_source memory;
	struct hm_ledger_stack *record;
	uint64_t reads;
	uint64_t reads_max; /* after so many it rests */
};

static int64_t read_keeping(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	struct keeping *const keeping = writable(source->context);

	if (keeping->reads++ < keeping->reads_max) {
		keeping->record->peak_mark++;
		keeping->record->peak_bytes += bytes(10);
		if (keeping->reads % 2 == 0)
			keeping->record->peak_objects += objects(1);
	}
	return keeping->memory.read(&keeping->memory, offset, buffer, size_bytes);
}

static void test_keeping(void)
{
	enum { READS_MAX = 60 };

	for (uint64_t reads_max = 0; reads_max < READS_MAX; reads_max++) {
		struct ledger_build build;
		struct hm_snapshot snapshot;
		const uint64_t frame = 0x1000;

		ledger_build_begin(&build, 1 << 20);
		const uint32_t unit = ledger_build_stack(&build, &frame, 1, 0);
		struct keeping keeping = {
			.memory = hm_source_from_memory(build.bytes, ledger_build_length(&build)),
			.record = ledger_build_stack_at(&build, unit),
			.reads_max = reads_max,
		};
		const struct hm_source source = {
			.read = read_keeping,
			.length_bytes = keeping.memory.length_bytes,
			.context = &keeping,
		};
		ledger_build_count(&build, unit,
				   &(struct ledger_counts){ 5, 500, 50000, 490, 49000, 900.0, 300.0 });
		ledger_build_header(&build)->peak_mark = 200000;
		set_peak(keeping.record, 200000, 100, 2000);
		CHECK_EQ(hm_snapshot_take(&source, &with_live, &snapshot, NULL), 0);

		/* Twenty bytes more for each object more, or else what is in use now. */
		const struct hm_figures *const peak = &find(&snapshot, unit)->peak;
		const int64_t more = hm_objects_round(peak->objects_fixed) - 100;
		CHECK(more >= 0 ? hm_bytes_round(peak->bytes_fixed) == 2000 + 20 * more
				: hm_bytes_round(peak->bytes_fixed) == 1000 && more == -90);
		/* One that comes to rest is never lost, unless it is half kept for good.  (The last two reads
		 * are the header's.) */
		if (reads_max + 2 < keeping.reads)
			CHECK_EQ(more >= 0, reads_max % 2 == 0);
		CHECK_EQ(snapshot.skipped.counters, 0);
		hm_snapshot_done(&snapshot);
		ledger_build_end(&build);
	}
}

/* A ledger so small that one copy would hold all of it: what was freed and what was allocated still come from
 * two. */
static void test_busy_small(void)
{
	struct ledger_build build;
	struct hm_snapshot snapshot;
	struct hm_ledger_live_value nowhere[2] = { 0 };

	ledger_build_begin(&build, 1 << 20);
	const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 }, 1, 0);
	struct busy busy = {
		.memory = hm_source_from_memory(build.bytes, ledger_build_length(&build)),
		.record = ledger_build_stack_at(&build, unit),
		.restless = &nowhere[0],
		.settling = &nowhere[1],
	};
	const struct hm_source source = {
		.read = read_busy,
		.length_bytes = busy.memory.length_bytes,
		.context = &busy,
	};

	CHECK_EQ(hm_snapshot_take(&source, &with_live, &snapshot, NULL), 0);
	CHECK(find(&snapshot, unit)->inuse.objects_fixed >= objects(1));
	CHECK_EQ(snapshot.skipped.counters, 0);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* A source that fails, or ends, at the n-th read. */
struct failing {
	struct hm_source memory;
	uint64_t reads;
	uint64_t good_reads;
	int64_t answer;
};

static int64_t read_failing(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	struct failing *const failing = writable(source->context);

	if (failing->reads++ >= failing->good_reads)
		return failing->answer;
	return failing->memory.read(&failing->memory, offset, buffer, size_bytes);
}

static void test_failing(void)
{
	struct ledger_build build;

	ledger_build_sample(&build);
	for (uint32_t ends = 0; ends < 2; ends++) {
		int error = -1;

		for (uint64_t good_reads = 0; error != 0 && good_reads < 1000; good_reads++) {
			struct failing failing = {
				.memory = hm_source_from_memory(build.bytes, ledger_build_length(&build)),
				.good_reads = good_reads,
				.answer = ends ? 0 : -EIO,
			};
			const struct hm_source source = {
				.read = read_failing,
				.length_bytes = failing.memory.length_bytes,
				.context = &failing,
			};
			struct hm_snapshot snapshot;
			enum hm_snapshot_fault fault = HM_SNAPSHOT_NO_MEMORY;

			error = hm_snapshot_take(&source, &with_live, &snapshot, &fault);
			if (error == 0)
				hm_snapshot_done(&snapshot);
			else if (!ends)
				CHECK(error == -EIO && fault == HM_SNAPSHOT_UNREADABLE);
		}
		CHECK_EQ(error, 0); /* with enough good reads it succeeds */
	}
	ledger_build_end(&build);
}

/* A real writer on another thread: adds, then frees, without a pause. */
struct writer {
	struct hm_ledger_stack *record;
	_Atomic bool stop;
};

static void *write_on(void *argument)
{
	struct writer *const writer = argument;

	while (!atomic_load_explicit(&writer->stop, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&writer->record->alloc_objects, objects(1), memory_order_relaxed);
		atomic_fetch_add_explicit(&writer->record->alloc_bytes, bytes(8), memory_order_relaxed);
		atomic_fetch_add_explicit(&writer->record->freed_objects, objects(1), memory_order_release);
		atomic_fetch_add_explicit(&writer->record->freed_bytes, bytes(8), memory_order_release);
	}
	return NULL;
}

static void test_concurrent(void)
{
	struct ledger_build build;
	pthread_t thread;

	ledger_build_begin(&build, 1 << 20);
	const uint32_t unit = ledger_build_stack(&build, &(uint64_t){ 0x1000 }, 1, 0);
	struct writer writer = { .record = ledger_build_stack_at(&build, unit) };
	CHECK_EQ(pthread_create(&thread, NULL, write_on, &writer), 0);
	for (uint32_t i = 0; i < 200; i++) {
		struct hm_snapshot snapshot;

		if (!CHECK_EQ(take(&build, &snapshot), 0))
			break;
		CHECK_EQ(snapshot.skipped.counters, 0);
		hm_snapshot_done(&snapshot);
	}
	atomic_store_explicit(&writer.stop, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	ledger_build_end(&build);
}

/* --- Mutations ---------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	uint64_t z = random_state;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void mutate(uint8_t *ledger, uint64_t length)
{
	static const uint64_t interesting[] = {
		0, 1, 2, 3, 63, 64, 0xffff, 0x7fffffff, 0xffffffff, UINT64_MAX
	};

	for (uint64_t i = 1 + next_random() % 8; i > 0; i--) {
		const uint64_t size = UINT64_C(1) << next_random() % 4;
		/* A third each in the header, the roots, and the tables. */
		const uint64_t limits[] = { 768, HM_LEDGER_ARENA_OFFSET, length };
		const uint64_t offset = next_random() % (limits[next_random() % 3] - 8) / size * size;
		uint64_t value = next_random();

		if (next_random() % 2 == 0)
			value = interesting[next_random() % 10];
		else if (next_random() % 2 == 0)
			value %= 2 * length / HM_UNIT; /* a plausible reference */
		memcpy(ledger + offset, &value, size);
	}
}

static void test_mutations(void)
{
	enum { ROUNDS = 1000 };
	struct ledger_build build;
	uint64_t read_anyway = 0;

	ledger_build_sample(&build);
	const uint64_t length = ledger_build_length(&build);
	uint8_t *const mutated = aligned_alloc(64, (length + 63) / 64 * 64);
	random_state = 20240229;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		/* Cut a little, so that the sanitizer guards the very end. */
		const uint64_t shorter = length - next_random() % 3 * 7;
		const struct hm_source source = hm_source_from_memory(mutated, shorter);
		struct hm_snapshot snapshot;

		memcpy(mutated, build.bytes, length);
		mutate(mutated, length);
		if (hm_snapshot_take(&source, &with_live, &snapshot, NULL) != 0)
			continue;
		read_anyway++;
		CHECK(snapshot.arena.mapped_bytes < 4 * length + (8 << 20));
		for (uint32_t i = 0; i < snapshot.stack_count; i++) {
			const struct hm_snapshot_stack *const stack = &snapshot.stacks[i];

			if (stack->inuse.objects_fixed > stack->alloc.objects_fixed ||
			    stack->inuse.bytes_fixed > stack->alloc.bytes_fixed ||
			    stack->frame_count > HM_FRAMES_MAX)
				CHECK(!"a stack is in order");
			for (uint32_t k = 0; k < stack->frame_count; k++)
				hm_snapshot_module_of(&snapshot, stack->frames[k]);
		}
		for (uint64_t i = 0; i < snapshot.live_count; i++)
			CHECK(snapshot.live[i].stack_index < snapshot.stack_count);
		for (uint32_t i = 0; i < snapshot.module_count; i++)
			CHECK(strlen(snapshot.modules[i].path) <= PATH_MAX);
		hm_snapshot_done(&snapshot);
	}
	CHECK(read_anyway > ROUNDS / 2); /* most leave a ledger of which much can be read */
	free(mutated);
	ledger_build_end(&build);
}

int main(void)
{
	test_identity();
	test_figures();
	test_peak();
	test_trie();
	test_modules();
	test_live();
	test_faults();
	test_file();
	test_lies();
	test_header_lies();
	test_text_budget();
	test_busy();
	test_churning();
	test_keeping();
	test_busy_small();
	test_failing();
	test_concurrent();
	test_mutations();
	return check_result();
}
