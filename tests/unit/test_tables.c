// SPDX-License-Identifier: Apache-2.0
/* The ledger's arena, the live table, the stack table and the free filter, one thread. */
#include "preload/filter.h"
#include "preload/float.h"
#include "preload/gauges.h"
#include "preload/ledger_file.h"
#include "preload/live.h"
#include "preload/stacks.h"

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t loss(const struct hm_ledger_file *ledger, enum hm_loss kind)
{
	return atomic_load(&hm_ledger_header(ledger)->losses[kind]);
}

/* A ledger with its special records, as lifecycle makes it. */
static void open_ledger(const char *directory, uint64_t limit_bytes, struct hm_ledger_file *ret_ledger)
{
	memset(ret_ledger, 0, sizeof(*ret_ledger));
	CHECK_EQ(hm_ledger_create(directory, "unit", 4711, limit_bytes, ret_ledger), 0);
	hm_ledger_header(ret_ledger)->overflow_unit = hm_stack_create_special(ret_ledger, HM_STACK_OVERFLOW);
	hm_ledger_header(ret_ledger)->dropped_unit = hm_stack_create_special(ret_ledger, HM_STACK_DROPPED);
	hm_filter_reset();
}

static void test_names(const char *directory)
{
	struct hm_ledger_file first;
	struct hm_ledger_file second;
	struct hm_ledger_file third;
	struct stat status;
	char taken[PATH_MAX + 64];

	open_ledger(directory, 1 << 20, &first);
	CHECK_STR(strrchr(first.path, '/'), "/heapmark.unit.4711.ledger");
	CHECK_EQ(stat(first.path, &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0600);
	CHECK(status.st_size <= 1 << 20);
	CHECK(first.descriptor >= 10);
	CHECK_EQ(fcntl(first.descriptor, F_GETFD), FD_CLOEXEC);

	open_ledger(directory, 1 << 20, &second);
	CHECK_STR(strrchr(second.path, '/'), "/heapmark.unit.4711-2.ledger");

	snprintf(taken, sizeof(taken), "%s/heapmark.unit.4711-3.pb.gz", directory);
	close(open(taken, O_CREAT | O_WRONLY, 0600));
	open_ledger(directory, 1 << 20, &third);
	CHECK_STR(strrchr(third.path, '/'), "/heapmark.unit.4711-4.ledger");

	/* Removed only while it is ours. */
	rename(second.path, first.path);
	hm_ledger_remove(&first);
	CHECK_EQ(access(first.path, F_OK), 0);
	hm_ledger_remove(&third);
	CHECK_EQ(access(third.path, F_OK), -1);
	unlink(first.path);
	unlink(taken);
}

/* The file grows as it is used, up to its limit, whatever has become of the descriptor. */
static void test_growth(const char *directory, bool descriptor_closed, bool number_reused)
{
	enum { LIMIT = 4 << 20, PIECE = 1000 };
	struct hm_ledger_file ledger;
	struct stat status;
	char foreign[PATH_MAX + 64];
	uint64_t granted_bytes = 0;

	open_ledger(directory, LIMIT, &ledger);
	if (descriptor_closed)
		close(ledger.descriptor);
	snprintf(foreign, sizeof(foreign), "%s/foreign", directory);
	if (number_reused) {
		const int other = open(foreign, O_CREAT | O_RDWR, 0600);

		dup2(other, ledger.descriptor);
		close(other);
	}
	for (uint64_t offset; (offset = hm_ledger_allocate(&ledger, PIECE)) != 0;) {
		CHECK_EQ(offset % HM_UNIT, 0);
		memset(hm_ledger_at(&ledger, offset), 1, PIECE);
		granted_bytes += PIECE;
	}
	CHECK(granted_bytes > LIMIT * 9 / 10);
	CHECK_EQ(loss(&ledger, HM_LOSS_GROWTH), 1);
	CHECK_EQ(stat(ledger.path, &status), 0);
	CHECK_EQ(status.st_size, LIMIT);
	if (number_reused) {
		CHECK_EQ(stat(foreign, &status), 0);
		CHECK_EQ(status.st_size, 0);
		close(ledger.descriptor);
		unlink(foreign);
	}
	hm_ledger_remove(&ledger);
}

/* A limit on file sizes makes the ledger stop growing; no SIGXFSZ, which would kill this test. */
static void test_file_size_limit(const char *directory)
{
	struct hm_ledger_file ledger;
	struct rlimit before;
	struct rlimit tight;

	open_ledger(directory, 8 << 20, &ledger);
	getrlimit(RLIMIT_FSIZE, &before);
	tight = before;
	tight.rlim_cur = 512 * 1024;
	setrlimit(RLIMIT_FSIZE, &tight);
	while (hm_ledger_allocate(&ledger, 4096) != 0) {
	}
	CHECK_EQ(loss(&ledger, HM_LOSS_GROWTH), 1);
	CHECK(atomic_load(&hm_ledger_header(&ledger)->arena_next) > 500 * 1024);
	setrlimit(RLIMIT_FSIZE, &before);
	CHECK(atomic_load(&ledger.refused_ticks) != 0);
	atomic_store(&ledger.refused_ticks, 1);        /* long ago: */
	CHECK(hm_ledger_allocate(&ledger, 4096) != 0); /* it goes on when the limit is lifted */
	hm_ledger_remove(&ledger);
}

/* Where there is no room for all that is wanted ahead, there may be for a part of it. */
static void test_growth_ahead(const char *directory)
{
	struct hm_ledger_file ledger;
	struct rlimit before;
	struct rlimit tight;

	open_ledger(directory, 64 << 20, &ledger);
	getrlimit(RLIMIT_FSIZE, &before);
	tight = before;
	tight.rlim_cur = 5 << 20;
	setrlimit(RLIMIT_FSIZE, &tight);
	hm_ledger_grow_ahead(&ledger, 32 << 20);
	CHECK(atomic_load(&hm_ledger_header(&ledger)->granted_bytes) > 4 << 20);
	CHECK(hm_ledger_allocate(&ledger, 4 << 20) != 0);
	setrlimit(RLIMIT_FSIZE, &before);
	hm_ledger_remove(&ledger);
}

/* What is mapped beyond the file can be given up: what is in it stays, and it does not grow any more. */
static void test_cut(const char *directory)
{
	struct hm_ledger_file ledger;
	unsigned char resident;

	open_ledger(directory, 8 << 20, &ledger);

	const uint64_t offset = hm_ledger_allocate(&ledger, 4096);
	const uint64_t granted = atomic_load(&hm_ledger_header(&ledger)->granted_bytes);

	memset(hm_ledger_at(&ledger, offset), 0x5a, 4096);
	CHECK(granted < 8 << 20);
	CHECK_EQ(mincore(ledger.base + granted, 4096, &resident), 0);
	CHECK(hm_ledger_cut(&ledger));
	CHECK(mincore(ledger.base + granted, 4096, &resident) != 0);
	CHECK(!hm_ledger_cut(&ledger)); /* nothing is left to cut off */
	while (hm_ledger_allocate(&ledger, 4096) != 0) {
	}
	CHECK(atomic_load(&hm_ledger_header(&ledger)->arena_next) > granted - 4096);
	CHECK_EQ(atomic_load(&hm_ledger_header(&ledger)->granted_bytes), granted);
	CHECK_EQ(*(uint8_t *)hm_ledger_at(&ledger, offset), 0x5a);
	hm_ledger_remove(&ledger);
}

static void test_no_directory(void)
{
	struct hm_ledger_file ledger = { 0 };

	CHECK_EQ(hm_ledger_create("/nonexistent", "unit", 1, 1 << 20, &ledger), -ENOENT);
	CHECK(ledger.base != NULL);
	CHECK_EQ(ledger.path[0], '\0');
	CHECK(hm_ledger_allocate(&ledger, 100000) != 0);
}

static void test_live(const char *directory)
{
	enum { COUNT = 100000 };
	struct hm_ledger_file ledger;
	struct hm_live_value value;
	struct stat status;

	open_ledger(directory, 64 << 20, &ledger);
	for (uint64_t i = 1; i <= COUNT; i++) {
		const struct hm_live_value in = { .size_bytes = i,
						  .stack_unit = (uint32_t)i * 3,
						  .weight = 1.5F,
						  .birth_ticks = (uint32_t)i };

		CHECK(hm_live_insert(&ledger, 0x550000000000 + i * 48, &in));
	}
	CHECK(!hm_live_take(&ledger, 0x550000000000, &value));
	for (uint64_t i = 1; i <= COUNT; i++) {
		CHECK(hm_filter_may_contain(0x550000000000 + i * 48));
		if (!CHECK(hm_live_take(&ledger, 0x550000000000 + i * 48, &value)))
			continue;
		CHECK_EQ(value.size_bytes, i);
		CHECK_EQ(value.stack_unit, i * 3);
		CHECK_EQ(value.birth_ticks, i);
		CHECK(value.weight == 1.5F);
		CHECK(!hm_live_take(&ledger, 0x550000000000 + i * 48, &value));
	}
	CHECK(!hm_live_take(&ledger, 0, &value)); /* an empty slot is not a block at 0 */
	/* All are gone, and the filter, which has grown meanwhile, knows it. */
	for (uint64_t i = 1; i <= COUNT; i++)
		CHECK(!hm_filter_may_contain(0x550000000000 + i * 48));

	/* Emptied slots are used again: the table does not grow with churn. */
	stat(ledger.path, &status);

	const off_t size_before = status.st_size;

	for (uint64_t i = 1; i <= 3 * COUNT; i++) {
		const struct hm_live_value in = { .size_bytes = i };

		CHECK(hm_live_insert(&ledger, 0x7f0000000000 + i * 16, &in));
		CHECK(i <= 1000 || hm_live_take(&ledger, 0x7f0000000000 + (i - 1000) * 16, &value));
	}
	stat(ledger.path, &status);
	CHECK_EQ(status.st_size, size_before);
	hm_ledger_remove(&ledger);
}

/* False alarms of the filter stay below 5 % with 100,000 live samples. */
static void test_false_alarms(const char *directory)
{
	enum { COUNT = 100000, PROBES = 1000000 };
	struct hm_ledger_file ledger;
	uint64_t alarms = 0;

	open_ledger(directory, 64 << 20, &ledger);
	for (uint64_t i = 1; i <= COUNT; i++) {
		const struct hm_live_value in = { .size_bytes = i };

		CHECK(hm_live_insert(&ledger, 0x550000000000 + i * 4096, &in));
	}
	for (uint64_t i = 0; i < PROBES; i++)
		alarms += hm_filter_may_contain(0x560000000000 + i * 32);
	printf("false alarms with %d live samples: %.2f %%\n", COUNT, 100.0 * (double)alarms / PROBES);
	CHECK(alarms < PROBES * 5 / 100);
	hm_ledger_remove(&ledger);
}

/* However blocks lie, a segment is used to two fifths before the next is made. */
static void test_live_fill(const char *directory)
{
	static const uint64_t strides[] = { 16, 32, 48, 64, 80, 112, 256, 1024, 4096, 65536, 1 << 20 };
	enum { COUNT = 200000, FIRST_SLOTS = 2048 };

	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		struct hm_ledger_file ledger;
		const struct hm_live_value in = { .size_bytes = 1 };
		uint64_t room = FIRST_SLOTS;
		uint32_t segments = 1;

		open_ledger(directory, 64 << 20, &ledger);
		for (uint64_t count = 0; count < COUNT; count++) {
			CHECK(hm_live_insert(&ledger, 0x550000000000 + count * strides[i], &in));
			if (atomic_load(&hm_ledger_header(&ledger)->live_segments[segments].offset) == 0)
				continue;
			CHECK(count > room * 2 / 5);
			room += FIRST_SLOTS << segments++;
		}
		CHECK(segments >= 7);
		hm_ledger_remove(&ledger);
	}
}

static void test_live_full(const char *directory)
{
	struct hm_ledger_file ledger;
	struct hm_live_value value = { .size_bytes = 1 };
	uint64_t inserted = 0;

	open_ledger(directory, 1 << 20, &ledger);
	while (hm_live_insert(&ledger, 0x1000 + inserted * 16, &value))
		inserted++;
	CHECK(inserted > 10000); /* 1 MiB holds some 14 K slots in three segments */
	/* What is in can still be taken, and its place be used. */
	CHECK(hm_live_take(&ledger, 0x1000, &value));
	CHECK(hm_live_insert(&ledger, 0x1000, &value));
	hm_ledger_remove(&ledger);
}

static void test_stacks(const char *directory)
{
	enum { STACKS = 50000, DEPTH = 20 };
	struct hm_ledger_file ledger;
	uint32_t *const units = malloc(STACKS * sizeof(*units));
	uint64_t frames[HM_FRAMES_MAX];

	open_ledger(directory, 64 << 20, &ledger);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < STACKS; i++) {
			for (uint32_t depth = 0; depth < DEPTH; depth++)
				frames[depth] =
					hm_frame_make(depth % 3, 0x550000001000 + (uint64_t)depth * 64);
			frames[i % DEPTH] += i;

			const uint32_t unit = hm_stack_intern(&ledger, frames, DEPTH, 0);

			if (round == 0)
				units[i] = unit;
			CHECK_EQ(unit, units[i]);
		}
	}
	/* Depth, flags and module are part of what a stack is. */
	frames[0] = 0x1000;
	const uint32_t plain = hm_stack_intern(&ledger, frames, 1, 0);

	CHECK(hm_stack_intern(&ledger, frames, 1, HM_STACK_TRUNCATED) != plain);
	frames[0] = hm_frame_make(2, 0x1000);
	CHECK(hm_stack_intern(&ledger, frames, 1, 0) != plain);
	CHECK(hm_stack_intern(&ledger, frames, 0, 0) != plain);
	CHECK_EQ(hm_stack_intern(&ledger, frames, 0, 0), hm_stack_intern(&ledger, frames, 0, 0));

	struct hm_ledger_stack *const record = hm_ledger_unit(&ledger, plain);

	CHECK_EQ(record->frame_count, 1);
	CHECK_EQ(record->frames[0], 0x1000);
	free(units);
	hm_ledger_remove(&ledger);
}

/* Two different stacks of two frames with the same 64-bit hash are kept apart all the same. */
static void test_equal_hashes(const char *directory)
{
	const uint64_t a[2] = { 0x1111, 0x2222 };
	uint64_t b[2] = { 0, 0x3333 };
	struct hm_ledger_file ledger;

	/* Frame and hash of what is outside are combined by exclusive or: so one can make up for the other.
	 */
	b[0] = a[0] ^ hm_stack_hash_add(HM_STACK_HASH_OF_NONE, a[1]) ^
	       hm_stack_hash_add(HM_STACK_HASH_OF_NONE, b[1]);

	open_ledger(directory, 1 << 20, &ledger);

	const uint32_t unit_a = hm_stack_intern(&ledger, a, 2, 0);
	const uint32_t unit_b = hm_stack_intern(&ledger, b, 2, 0);
	const struct hm_ledger_stack *const record_a = hm_ledger_unit(&ledger, unit_a);
	const struct hm_ledger_stack *const record_b = hm_ledger_unit(&ledger, unit_b);

	CHECK(unit_a != unit_b);
	CHECK_EQ(record_a->hash,
		 record_b->hash); /* else this test tests nothing: adapt it to hm_stack_hash_add */
	CHECK_EQ(record_a->next_same_hash, unit_b);
	CHECK_EQ(hm_stack_intern(&ledger, a, 2, 0), unit_a);
	CHECK_EQ(hm_stack_intern(&ledger, b, 2, 0), unit_b);
	hm_ledger_remove(&ledger);
}

static void test_stacks_full(const char *directory)
{
	struct hm_ledger_file ledger;
	uint64_t frames[HM_FRAMES_MAX] = { 0 };
	uint64_t stored = 0;

	open_ledger(directory, 1 << 20, &ledger);
	for (;; stored++) {
		frames[0] = stored;
		if (hm_stack_intern(&ledger, frames, HM_FRAMES_MAX, 0) ==
		    hm_ledger_header(&ledger)->overflow_unit)
			break;
	}
	CHECK(stored > 600); /* 1088 bytes each */
	CHECK_EQ(loss(&ledger, HM_LOSS_STACKS), 1);
	frames[0] = 0;
	CHECK(hm_stack_intern(&ledger, frames, HM_FRAMES_MAX, 0) != hm_ledger_header(&ledger)->overflow_unit);
	hm_ledger_remove(&ledger);
}

static void test_counters(const char *directory)
{
	enum { SAMPLES = 1000000 };
	struct hm_ledger_file ledger;

	open_ledger(directory, 1 << 20, &ledger);

	struct hm_ledger_stack *const stack =
		hm_ledger_unit(&ledger, hm_ledger_header(&ledger)->dropped_unit);

	for (int i = 0; i < SAMPLES; i++) {
		hm_stack_add_alloc(stack, 100, 5243.38F);
		hm_stack_add_freed(stack, 100, 5243.38F);
	}
	CHECK_EQ(stack->alloc_objects, stack->freed_objects);
	CHECK_EQ(stack->alloc_bytes, stack->freed_bytes);
	CHECK_EQ(stack->samples, SAMPLES);
	CHECK_EQ(stack->alloc_objects >> HM_OBJECTS_FRACTION_BITS, (uint64_t)(5243.38F * (double)SAMPLES));
	CHECK(hm_float_from_bits(stack->alloc_bytes_variance) ==
	      hm_float_from_bits(stack->freed_bytes_variance));

	/* Exact, however large. */
	hm_stack_add_alloc(stack, (UINT64_C(1) << 53) + 1, 1.0F);
	CHECK_EQ(stack->alloc_bytes - stack->freed_bytes, ((UINT64_C(1) << 53) + 1)
								  << HM_BYTES_FRACTION_BITS);
	hm_ledger_remove(&ledger);
}

static void test_gauges(const char *directory)
{
	struct hm_ledger_file ledger;
	char name[HM_GAUGE_NAME_MAX + 1];

	open_ledger(directory, 1 << 20, &ledger);

	const struct hm_ledger_gauge *const gauges = hm_ledger_header(&ledger)->gauges;

	hm_gauge_set(&ledger, "a/b", 1.0);
	hm_gauge_set(&ledger, "a/c", 2.0);
	hm_gauge_set(&ledger, "a/b", 3.0);
	CHECK_STR(gauges[0].name, "a/b");
	CHECK(hm_float_from_bits(gauges[0].value) == 3.0);
	CHECK(hm_float_from_bits(gauges[1].value) == 2.0);
	CHECK_EQ(gauges[2].state, 0);
	CHECK_EQ(loss(&ledger, HM_LOSS_GAUGES), 0);

	memset(name, 'x', sizeof(name));
	name[HM_GAUGE_NAME_MAX] = '\0';
	hm_gauge_set(&ledger, name, 1.0);
	hm_gauge_set(&ledger, "", 1.0);
	CHECK_EQ(loss(&ledger, HM_LOSS_GAUGES), 2);
	for (int i = 2; i < HM_GAUGES_MAX + 1; i++) {
		snprintf(name, sizeof(name), "gauge/%d", i);
		hm_gauge_set(&ledger, name, i);
	}
	CHECK_EQ(loss(&ledger, HM_LOSS_GAUGES), 3);
	hm_ledger_remove(&ledger);
}

int main(void)
{
	char directory[PATH_MAX];

	scratch_make(directory);
	test_names(directory);
	test_growth(directory, false, false);
	test_growth(directory, true, false);
	test_growth(directory, true, true);
	test_growth_ahead(directory);
	test_cut(directory);
	test_file_size_limit(directory);
	test_no_directory();
	test_live(directory);
	test_false_alarms(directory);
	test_live_fill(directory);
	test_live_full(directory);
	test_stacks(directory);
	test_equal_hashes(directory);
	test_stacks_full(directory);
	test_counters(directory);
	test_gauges(directory);
	scratch_remove(directory);
	return check_result();
}
