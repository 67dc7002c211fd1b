// SPDX-License-Identifier: Apache-2.0
/*
 * The high-water mark under threads, for ThreadSanitizer and without it.
 *
 * Tides: all threads allocate until each has its share, wait for one another, free it all, and wait again;
 * every tide is higher than the one before, but for the last ones, which are low.  They share their stacks,
 * and while a tide rises or falls each also allocates and frees in turns.  The highest tide is known to the
 * byte, so the mark is held against it.  Beside them a reader takes snapshots, of which none may show more
 * than there can have been.
 */
#include "preload/float.h"
#include "preload/ledger_file.h"
#include "preload/peak.h"
#include "preload/stacks.h"
#include "proto/snapshot.h"

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <pthread.h>

enum {
	THREADS = 8,
	STACKS = 16,
	TIDES = 12,
	HIGHEST_TIDE = 8,
	BLOCKS_EACH = 200,
	BLOCK_BYTES = 1000,
	TO_AND_FRO_BYTES = 300,
};

static struct hm_ledger_file ledger;
static uint32_t units[STACKS];
static pthread_barrier_t barrier;
static _Atomic int done;
static _Atomic uint64_t errors;

static void allocate(uint32_t which, uint64_t size_bytes)
{
	struct hm_ledger_stack *const stack = hm_ledger_unit(&ledger, units[which % STACKS]);

	hm_peak_before_alloc(hm_ledger_header(&ledger), stack);
	hm_stack_add_alloc(stack, size_bytes, 1.0F);
	hm_peak_after_alloc(hm_ledger_header(&ledger), hm_stack_bytes_fixed(size_bytes, 1.0F));
}

static void release(uint32_t which, uint64_t size_bytes)
{
	struct hm_ledger_stack *const stack = hm_ledger_unit(&ledger, units[which % STACKS]);

	hm_peak_before_free(hm_ledger_header(&ledger), stack, hm_stack_bytes_fixed(size_bytes, 1.0F));
	hm_stack_add_freed(stack, size_bytes, 1.0F);
}

/* In blocks of BLOCK_BYTES times this. */
static uint64_t height(uint32_t tide)
{
	return tide <= HIGHEST_TIDE ? tide + 1 : 2;
}

static void *work(void *argument)
{
	const uint32_t thread = (uint32_t)(uintptr_t)argument;

	for (uint32_t tide = 0; tide < TIDES; tide++) {
		for (uint32_t i = 0; i < BLOCKS_EACH; i++) {
			allocate(thread + i * tide, BLOCK_BYTES * height(tide));
			allocate(i, TO_AND_FRO_BYTES);
			release(i, TO_AND_FRO_BYTES);
		}
		pthread_barrier_wait(&barrier);
		for (uint32_t i = 0; i < BLOCKS_EACH; i++) {
			release(thread + i * tide, BLOCK_BYTES * height(tide));
			allocate(i, TO_AND_FRO_BYTES);
			release(i, TO_AND_FRO_BYTES);
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

/* At the height of the tide every thread may have one block more, to and fro. */
static const uint64_t lowest_peak = (uint64_t)THREADS * BLOCKS_EACH * BLOCK_BYTES * (HIGHEST_TIDE + 1);
static const uint64_t highest_peak = (uint64_t)THREADS * BLOCKS_EACH * BLOCK_BYTES * (HIGHEST_TIDE + 1) +
				     (uint64_t)THREADS * TO_AND_FRO_BYTES;

static uint64_t peak_bytes(void)
{
	const struct hm_source source =
		hm_source_from_memory(ledger.base, hm_ledger_header(&ledger)->granted_bytes);
	const struct hm_snapshot_options options = { 0 };
	struct hm_snapshot snapshot;

	if (hm_snapshot_take(&source, &options, &snapshot, NULL) != 0) {
		atomic_fetch_add(&errors, 1);
		return 0;
	}

	const struct hm_snapshot_totals totals = hm_snapshot_sum(&snapshot);

	if (snapshot.skipped.counters != 0 || totals.peak.bytes_fixed < totals.inuse.bytes_fixed)
		atomic_fetch_add(&errors, 1);
	hm_snapshot_done(&snapshot);
	return (uint64_t)hm_bytes_round(totals.peak.bytes_fixed);
}

static void *read_on(void *unused)
{
	(void)unused;
	while (atomic_load(&done) == 0)
		(void)peak_bytes();
	return NULL;
}

int main(void)
{
	char directory[PATH_MAX];
	pthread_t threads[THREADS];
	pthread_t reader;
	uint64_t sum_fixed = 0;

	scratch_make(directory);
	CHECK_EQ(hm_ledger_create(directory, "stress", 1, 64 << 20, &ledger), 0);
	for (uint32_t i = 0; i < STACKS; i++) {
		const uint64_t frame = hm_frame_make(0, 0x400000 + i);

		units[i] = hm_stack_intern(&ledger, &frame, 1, 0);
	}
	hm_ledger_header(&ledger)->state = HM_LEDGER_RECORDING;
	pthread_barrier_init(&barrier, NULL, THREADS);
	pthread_create(&reader, NULL, read_on, NULL);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&done, 1);
	pthread_join(reader, NULL);

	const double peak = (double)peak_bytes();

	/* The bound of preload/peak.h; and of samples in flight one block for each thread. */
	CHECK(peak >= (double)lowest_peak * 0.969 - (double)(THREADS * BLOCK_BYTES * (HIGHEST_TIDE + 1)));
	CHECK(peak <= (double)highest_peak);
	CHECK_EQ(errors, 0);
	for (uint32_t i = 0; i < STACKS; i++) {
		const struct hm_ledger_stack *const stack = hm_ledger_unit(&ledger, units[i]);

		CHECK_EQ(stack->alloc_bytes, stack->freed_bytes);
		CHECK_EQ(stack->peak_mark, hm_ledger_header(&ledger)->peak_mark);
	}
	for (uint32_t i = 0; i < HM_PEAK_SHARDS; i++)
		sum_fixed += hm_peak_shards[i].bytes_fixed;
	CHECK_EQ(hm_peak_sum.bytes_fixed + sum_fixed, 0);
	hm_ledger_remove(&ledger);
	scratch_remove(directory);
	return check_result();
}
