// SPDX-License-Identifier: Apache-2.0
/*
 * The lock-free tables under threads, for ThreadSanitizer and without it: a fixed number of operations, then
 * figures that only come out when nothing was lost.
 *
 * Each thread makes blocks, hands half of them to its neighbour through a ring, and takes what the neighbour
 * before it has handed over; at the end every block has been taken once, and what was counted as freed
 * is what was counted as allocated, stack by stack.  The live set is large enough to make the filter grow.
 */
#include "preload/filter.h"
#include "preload/float.h"
#include "preload/gauges.h"
#include "preload/ledger_file.h"
#include "preload/live.h"
#include "preload/stacks.h"

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 4, BLOCKS = 6000, STACKS = 500, DEPTH = 8 };

static struct hm_ledger_file ledger;
static _Atomic uint32_t stack_unit[STACKS]; /* as the first thread to intern it was told */
static _Atomic uint64_t handed_over[THREADS][BLOCKS];
static _Atomic uint64_t errors;

static void expect(bool condition)
{
	if (!condition)
		atomic_fetch_add(&errors, 1);
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* All threads intern the same stacks, in different orders: each must get one number. */
static uint32_t intern(uint32_t which)
{
	uint64_t frames[DEPTH];
	uint32_t expected = 0;

	for (uint32_t depth = 0; depth < DEPTH; depth++)
		frames[depth] = hm_frame_make(1, UINT64_C(0x400000) + (uint64_t)which * (depth + 1));

	const uint32_t unit = hm_stack_intern(&ledger, frames, DEPTH, 0);

	if (!atomic_compare_exchange_strong(&stack_unit[which], &expected, unit))
		expect(expected == unit);
	return unit;
}

static void allocate(uint64_t address, uint64_t *random)
{
	const struct hm_live_value value = {
		.size_bytes = address & 0xffff,
		.stack_unit = intern((uint32_t)(next_random(random) % STACKS)),
		.weight = 2.5F,
	};

	expect(hm_live_insert(&ledger, address, &value));
	hm_stack_add_alloc(hm_ledger_unit(&ledger, value.stack_unit), value.size_bytes, value.weight);
}

static void release(uint64_t address)
{
	struct hm_live_value value;
	const bool found =
		hm_filter_may_contain((uintptr_t)address) && hm_live_take(&ledger, address, &value);

	expect(found);
	if (!found)
		return;
	expect(value.size_bytes == (address & 0xffff) && value.weight == 2.5F);
	hm_stack_add_freed(hm_ledger_unit(&ledger, value.stack_unit), value.size_bytes, value.weight);
}

static void *work(void *argument)
{
	const uint64_t thread = (uint64_t)(uintptr_t)argument;
	const uint64_t neighbour = (thread + 1) % THREADS;
	uint64_t random = thread + 1;
	uint64_t taken = 0;

	for (uint64_t block = 0; block < BLOCKS; block++) {
		const uint64_t address = (thread + 1) << 40 | (block + 1) << 4;

		allocate(address, &random);
		hm_gauge_set(&ledger, block % 2 == 0 ? "stress/even" : "stress/odd", (double)block);
		if (block % 2 == 0)
			atomic_store_explicit(&handed_over[neighbour][block], address, memory_order_release);
		if (next_random(&random) % 3 != 0)
			continue; /* let the live set grow */
		for (; taken < block; taken++) {
			const uint64_t other = atomic_load_explicit(
				&handed_over[thread][taken & ~UINT64_C(1)], memory_order_acquire);

			if (other == 0)
				break;
			if (taken % 2 == 0)
				release(other);
		}
	}
	for (uint64_t block = 1; block < BLOCKS; block += 2)
		release((thread + 1) << 40 | (block + 1) << 4);
	for (; taken < BLOCKS; taken++) {
		uint64_t other;

		if (taken % 2 != 0)
			continue;
		while ((other = atomic_load_explicit(&handed_over[thread][taken], memory_order_acquire)) ==
		       0) {
		}
		release(other);
	}
	return NULL;
}

int main(void)
{
	char directory[PATH_MAX];
	pthread_t threads[THREADS];
	uint64_t samples = 0;

	scratch_make(directory);
	CHECK_EQ(hm_ledger_create(directory, "stress", 1, 64 << 20, &ledger), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);

	CHECK_EQ(errors, 0);
	for (uint32_t i = 0; i < STACKS; i++) {
		const struct hm_ledger_stack *const stack = hm_ledger_unit(&ledger, stack_unit[i]);

		CHECK_EQ(stack->alloc_objects, stack->freed_objects);
		CHECK_EQ(stack->alloc_bytes, stack->freed_bytes);
		samples += stack->samples;
	}
	CHECK_EQ(samples, THREADS * BLOCKS);
	for (uint32_t kind = 0; kind < HM_LOSS_KINDS; kind++)
		CHECK_EQ(hm_ledger_header(&ledger)->losses[kind], 0);
	CHECK(hm_ledger_header(&ledger)->live_segments[1].offset != 0); /* the table has grown */
	hm_ledger_remove(&ledger);
	scratch_remove(directory);
	return check_result();
}
