// SPDX-License-Identifier: Apache-2.0
/*
 * The table of mappings and its lock: threads add ranges of their own and cut them out again, each holding what it
 * finds against what it knows to be there.
 */
#include "preload/map_lock.h"
#include "preload/map_table.h"

#include "tests/unit/check.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 20000, RANGES = 64, RANGE_BYTES = 8192 };

static struct hm_map_table table; /* under the lock */

struct worker {
	pthread_t thread;
	uint64_t first_address;
	uint64_t random_state;
	bool is_there[RANGES];
	unsigned long wrong_count;
};

static bool has(uint64_t address)
{
	const uint32_t index = hm_map_table_find(&table, address);

	return index != 0 && hm_map_table_entry(&table, index)->start_address == address;
}

static void change_one(struct worker *worker, uint32_t range)
{
	const uint64_t start = worker->first_address + (uint64_t)range * RANGE_BYTES;
	struct hm_map_cut cut;

	worker->wrong_count += has(start) != worker->is_there[range];
	if (worker->is_there[range]) {
		worker->wrong_count += !hm_map_table_cut(&table, start, start + RANGE_BYTES, &cut);
		hm_map_table_release(&table, &cut);
	} else {
		worker->wrong_count += !hm_map_table_add(&table, start, start + RANGE_BYTES, 1, 1);
	}
	worker->is_there[range] = !worker->is_there[range];
}

static void *work(void *argument)
{
	struct worker *const worker = argument;

	for (int round = 0; round < ROUNDS; round++) {
		struct hm_signals_saved saved;

		worker->random_state =
			worker->random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
		if (!hm_map_lock_acquire(&saved)) {
			worker->wrong_count++;
			continue;
		}
		change_one(worker, (uint32_t)(worker->random_state >> 33) % RANGES);
		hm_map_lock_release(&saved);
	}
	return NULL;
}

int main(void)
{
	static struct worker workers[THREADS];
	uint32_t there = 0;

	hm_map_table_reset(&table, THREADS * RANGES + 2);
	for (uint64_t i = 0; i < THREADS; i++) {
		workers[i].first_address = (i + 1) << 32;
		workers[i].random_state = i;
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
		CHECK_EQ(workers[i].wrong_count, 0);
		for (int range = 0; range < RANGES; range++)
			there += workers[i].is_there[range];
	}
	CHECK_EQ(table.entry_count, there);
	return check_result();
}
