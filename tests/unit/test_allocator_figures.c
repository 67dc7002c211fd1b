// SPDX-License-Identifier: Apache-2.0
/*
 * Which process is looked at when, for /metrics: with a clock that stands still but for looks, and looks that
 * are counted and take what they are told to.
 */
#include "tests/unit/check.h"
#include "tools/allocator_figures.h"
#include "tools/ledger.h"
#include "tools/mappings.h"
#include "tools/memory_split.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum { NS_PER_MS = 1000000, PROCESSES_MAX = 100 };

static uint64_t clock_ns = UINT64_C(1000) * 1000000000;
static uint64_t look_ms;
static int smaps_error;
static uint64_t unrecorded_bytes;
static unsigned int looks[PROCESSES_MAX];

/* In place of what is linked otherwise. */
int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	(void)clock;
	ret_time->tv_sec = (time_t)(clock_ns / 1000000000);
	ret_time->tv_nsec = (long)(clock_ns % 1000000000);
	return 0;
}

int hm_ledger_snapshot(int descriptor, bool is_running, unsigned int extras, struct hm_snapshot *ret_snapshot,
		       enum hm_snapshot_fault *ret_fault)
{
	(void)descriptor, (void)is_running, (void)extras, (void)ret_snapshot, (void)ret_fault;
	return 0;
}

void hm_snapshot_done(struct hm_snapshot *snapshot)
{
	(void)snapshot;
}

int hm_mappings_read(pid_t pid, bool with_residency, struct hm_mappings *ret_mappings)
{
	CHECK(with_residency);
	(void)ret_mappings;
	looks[pid]++;
	clock_ns += look_ms * NS_PER_MS;
	return smaps_error;
}

void hm_mappings_done(struct hm_mappings *mappings)
{
	(void)mappings;
}

void hm_memory_split(pid_t pid, const struct hm_mappings *mappings, const struct hm_snapshot *snapshot,
		     const struct hm_stack_place *stacks, size_t stack_count,
		     struct hm_memory_split *ret_split)
{
	(void)mappings, (void)snapshot, (void)stacks, (void)stack_count;
	*ret_split = (struct hm_memory_split){
		.parts_bytes = { [HM_MEMORY_KEPT] = 7 },
		.heap_bytes = 1000 * (uint64_t)pid + looks[pid] + 7,
		.unrecorded_bytes = unrecorded_bytes,
	};
}

static struct hm_target running(pid_t pid)
{
	return (struct hm_target){ .descriptor = -1, .pid = pid, .is_running = true, .run_start_ns = 1 };
}

static void begin(struct hm_allocators *allocators, uint64_t ms, int error)
{
	memset(looks, 0, sizeof(looks));
	look_ms = ms;
	smaps_error = error;
	hm_allocators_init(allocators);
}

/* How many have figures. */
static unsigned int scrape(struct hm_allocators *allocators, pid_t process_count)
{
	struct hm_allocator_figures figures;
	unsigned int known_count = 0;

	hm_allocators_begin(allocators);
	for (pid_t pid = 0; pid < process_count; pid++) {
		const struct hm_target target = running(pid);

		known_count += hm_allocators_find(allocators, &target, &figures);
	}
	return known_count;
}

static void pass_seconds(unsigned int seconds)
{
	clock_ns += seconds * UINT64_C(1000000000);
}

static void test_interval(void)
{
	struct hm_allocators allocators;
	struct hm_allocator_figures figures;
	const struct hm_target target = running(5);

	begin(&allocators, 1, 0);
	for (unsigned int second = 0; second < 100; second++, pass_seconds(1)) {
		hm_allocators_begin(&allocators);
		CHECK(hm_allocators_find(&allocators, &target, &figures));
		CHECK_EQ(figures.mapped_bytes, 5007 + looks[5]);
		CHECK_EQ(figures.free_bytes, 7);
		CHECK(hm_allocators_find_alone(&allocators, &target, &figures));
	}
	/* A look takes a millisecond, by which the next one comes a scrape later. */
	CHECK(looks[5] >= 9 && looks[5] <= 10);
	hm_allocators_done(&allocators);
}

/* A large process is looked at for a hundredth of the time. */
static void test_large(void)
{
	struct hm_allocators allocators;

	begin(&allocators, 500, 0);
	for (unsigned int second = 0; second < 200; second++, pass_seconds(1))
		(void)scrape(&allocators, 1);
	CHECK_EQ(looks[0], 4);
	hm_allocators_done(&allocators);
}

/* A quarter of a second is enough for three of ten. */
static void test_turns(void)
{
	enum { PROCESSES = 10, SCRAPES = 40, LOOKS_AT_ONCE = 3 };
	struct hm_allocators allocators;
	unsigned int sum = 0;

	begin(&allocators, 100, 0);
	for (unsigned int i = 0; i < SCRAPES; i++, pass_seconds(15)) {
		const unsigned int known_count = scrape(&allocators, PROCESSES);
		const unsigned int expected = (i + 1) * LOOKS_AT_ONCE;

		CHECK_EQ(known_count, expected < PROCESSES ? expected : PROCESSES);
		CHECK_EQ(allocators.put_off_count, i % 4 == 3 ? 0 : PROCESSES - (i % 4 + 1) * LOOKS_AT_ONCE);
	}
	for (pid_t pid = 0; pid < PROCESSES; pid++) {
		CHECK_EQ(looks[pid], SCRAPES / 4);
		sum += looks[pid];
	}
	CHECK_EQ(sum, SCRAPES / 4 * PROCESSES);
	hm_allocators_done(&allocators);
}

/* Who asks for one alone takes nobody's turn, and needs none. */
static void test_alone(void)
{
	enum { PROCESSES = 10 };
	struct hm_allocators allocators;
	struct hm_allocator_figures figures;
	const struct hm_target last = running(PROCESSES - 1);

	begin(&allocators, 100, 0);
	CHECK(hm_allocators_find_alone(&allocators, &last, &figures));
	pass_seconds(15);
	CHECK_EQ(scrape(&allocators, PROCESSES), 4);
	CHECK(hm_allocators_find_alone(&allocators, &last, &figures));
	CHECK_EQ(looks[PROCESSES - 1], 2);
	CHECK_EQ(allocators.put_off_count, PROCESSES - 3);
	pass_seconds(15);
	hm_allocators_begin(&allocators);
	CHECK(hm_allocators_find_alone(&allocators, &last, &figures));
	CHECK_EQ(looks[PROCESSES - 1], 3);
	CHECK_EQ(allocators.spent_ns, 0); /* of the others' time */
	hm_allocators_done(&allocators);
}

static void test_absent(void)
{
	struct hm_allocators allocators;
	struct hm_allocator_figures figures = { .mapped_bytes = 1 };
	struct hm_target target = running(3);

	begin(&allocators, 1, -EACCES);
	CHECK(!hm_allocators_find(&allocators, &target, &figures));
	CHECK_EQ(looks[3], 1);
	smaps_error = 0;
	target.run_start_ns++; /* another process of this number */
	CHECK(hm_allocators_find(&allocators, &target, &figures));
	CHECK_EQ(looks[3], 2);
	unrecorded_bytes = UINT64_MAX; /* asleep: what is free is not known */
	target.run_start_ns++;
	CHECK(!hm_allocators_find(&allocators, &target, &figures));
	unrecorded_bytes = 0;
	target.is_running = false;
	CHECK(!hm_allocators_find(&allocators, &target, &figures));
	CHECK(!hm_allocators_find_alone(&allocators, &target, &figures));
	hm_allocators_done(&allocators);
}

static void test_forgotten(void)
{
	struct hm_allocators allocators;
	size_t held_count = 0;

	begin(&allocators, 0, 0);
	CHECK_EQ(scrape(&allocators, PROCESSES_MAX), PROCESSES_MAX);
	pass_seconds(HM_ALLOCATOR_FORGET_SECONDS + 1);
	CHECK_EQ(scrape(&allocators, 1), 1);
	for (size_t i = 0; i < HM_ALLOCATOR_BUCKETS; i++)
		held_count += allocators.buckets[i] != NULL;
	CHECK_EQ(held_count, 1);
	hm_allocators_done(&allocators);
}

int main(void)
{
	test_interval();
	test_large();
	test_turns();
	test_alone();
	test_absent();
	test_forgotten();
	return check_result();
}
