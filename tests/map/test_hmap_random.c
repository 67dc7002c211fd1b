// SPDX-License-Identifier: Apache-2.0
/*
 * examples/hmap under random operations, with walks that begin and end while it grows, against a reference:
 * an array over all keys that may occur.  And the same where memory is refused by chance.
 */
#include "tests/map/hmap_common.h"

#include <errno.h>
#include <string.h>

static uint64_t random_state;

enum { UNIVERSE_MAX = 25000, WALKS = 3 };

static const uint64_t key_factor = 0xa24baed4963ee407; /* odd: index * factor is one-to-one, 0 included */

struct walk {
	bool open;
	struct hmap_iter iter;
	uint64_t growths_at_init;
	bool began_in_growth;
	bool stays[UNIVERSE_MAX]; /* there at init, and never deleted since */
	bool seen[UNIVERSE_MAX];
};

static struct reference {
	uint32_t universe;
	uint32_t generation[UNIVERSE_MAX]; /* of each index: a new generation is a new key */
	bool present[UNIVERSE_MAX];
	uint64_t values[UNIVERSE_MAX];
	size_t len;
	struct walk walks[WALKS];
	bool in_growth; /* old buckets are waiting */
} reference;

/* What the random tests have come across; a test that never meets these cases proves little. */
static struct {
	uint64_t operations;
	uint64_t grows;
	uint64_t same_size_grows;
	uint64_t refusals;
	uint64_t walks_begun_in_growth;
	uint64_t walks_over_growth;
	uint64_t walks_finished;
} met;

static uint64_t key_of(uint32_t index)
{
	return (index + (uint64_t)reference.generation[index] * reference.universe) * key_factor;
}

/* Newton's iteration for the inverse modulo 2^64: each round doubles the bits that are right. */
static uint64_t key_factor_inverse(void)
{
	uint64_t inverse = key_factor; /* right in 3 bits, as for every odd number */

	for (int round = 0; round < 5; round++)
		inverse *= 2 - key_factor * inverse;
	return inverse;
}

static void random_insert(struct hmap *map, uint32_t index)
{
	const uint64_t value = ((uint64_t)random_below(&random_state, UINT32_MAX) << 16) ^ index;
	const int error = hmap_insert(map, key_of(index), value);

	if (error != 0) {
		EXPECT(error == -ENOMEM && memory.refuse_one_in != 0);
		met.refusals++;
		return;
	}
	reference.len += !reference.present[index];
	reference.present[index] = true;
	reference.values[index] = value;
}

static void random_delete(struct hmap *map, uint32_t index)
{
	EXPECT(hmap_delete(map, key_of(index)) == reference.present[index]);
	reference.len -= reference.present[index];
	reference.present[index] = false;
	for (size_t i = 0; i < WALKS; i++)
		reference.walks[i].stays[index] = false;
	if (random_below(&random_state, 4) != 0)
		reference.generation[index]++;
}

static void compare_one(const struct hmap *map, uint32_t index)
{
	uint64_t value = 0;

	EXPECT(hmap_get(map, key_of(index), &value) == reference.present[index]);
	EXPECT(!reference.present[index] || value == reference.values[index]);
}

static void compare_all(const struct hmap *map)
{
	const char *wrong = hmap_check(map);

	if (wrong != NULL)
		fprintf(stderr, "test_hmap_random: %s\n", wrong);
	EXPECT(wrong == NULL);
	EXPECT(hmap_len(map) == reference.len);
	for (uint32_t index = 0; index < reference.universe; index++)
		compare_one(map, index);
}

static void walk_begin(struct walk *walk, struct hmap *map)
{
	hmap_iter_init(&walk->iter, map);
	walk->open = true;
	walk->growths_at_init = growths_of(map);
	walk->began_in_growth = reference.in_growth;
	memcpy(walk->stays, reference.present, sizeof(walk->stays));
	memset(walk->seen, 0, sizeof(walk->seen));
}

static void walk_end(struct walk *walk, const struct hmap *map, bool finished)
{
	for (uint32_t index = 0; finished && index < reference.universe; index++)
		EXPECT(walk->seen[index] || !walk->stays[index]);
	met.walks_finished += finished;
	met.walks_begun_in_growth += finished && walk->began_in_growth;
	met.walks_over_growth += finished && walk->growths_at_init != growths_of(map);
	hmap_iter_done(&walk->iter);
	walk->open = false;
}

static void walk_on(struct walk *walk, const struct hmap *map, uint32_t step_count)
{
	static uint64_t inverse;

	if (inverse == 0)
		inverse = key_factor_inverse();
	for (uint32_t step = 0; step < step_count; step++) {
		if (!hmap_iter_next(&walk->iter)) {
			walk_end(walk, map, true);
			return;
		}
		const uint32_t index = (uint32_t)(walk->iter.key * inverse % reference.universe);

		EXPECT(walk->iter.key == key_of(index));
		EXPECT(reference.present[index]);
		EXPECT(walk->iter.value == reference.values[index]);
		EXPECT(!walk->stays[index] || !walk->seen[index]);
		walk->seen[index] = true;
	}
}

static void random_walk(struct hmap *map)
{
	struct walk *walk = &reference.walks[random_below(&random_state, WALKS)];

	if (!walk->open) {
		walk_begin(walk, map);
		walk_on(walk, map, random_below(&random_state, reference.universe / 8));
	} else if (random_below(&random_state, 100) == 0) {
		walk_end(walk, map, false);
	} else {
		walk_on(walk, map, random_below(&random_state, reference.universe / 8));
	}
}

/* Old buckets that wait to be evacuated; the arrays before the old one are all done. */
static bool is_in_growth(const struct hmap *map, uint64_t *outgrown_buckets, uint64_t *growths)
{
	if (*growths != growths_of(map)) {
		const uint64_t bucket_count = stats_of(map).bucket_count;
		static uint64_t bucket_count_before;

		if (*growths == 0)
			bucket_count_before = 1;
		*outgrown_buckets += bucket_count_before;
		bucket_count_before = bucket_count;
		*growths = growths_of(map);
	}
	return stats_of(map).evacuated_buckets < *outgrown_buckets;
}

struct load {
	uint32_t universe;
	uint32_t len_max;           /* a full map deletes instead */
	uint32_t insert_percent[6]; /* of the operations of each phase */
};
enum { PHASE_OPERATIONS = 10000 };
static const struct load tiny = { 20, 20, { 95, 50, 5, 50, 80, 20 } };
static const struct load small = { 1500, 1500, { 95, 50, 5, 50, 80, 20 } };
static const struct load large = { UNIVERSE_MAX, UNIVERSE_MAX, { 95, 50, 5, 50, 80, 20 } };

/* Kept nearly as full as 16, 128 and 2048 buckets may be (104, 832, 13,312 entries), and ever new keys. */
static const struct load tiny_churn = { 200, 102, { 90, 60, 90, 60, 90, 5 } };
static const struct load small_churn = { 1500, 820, { 90, 60, 90, 5, 90, 60 } };
static const struct load large_churn = { UNIVERSE_MAX, 13200, { 90, 90, 90, 90, 60, 90 } };

static void run_random(const struct load *load, uint64_t seed, uint32_t operation_count,
		       uint32_t refuse_one_in)
{
	struct hmap *map = new_map(seed);
	uint64_t outgrown_buckets = 0;
	uint64_t growths = 0;

	random_state = seed;
	memory.random_state = seed;
	memset(&reference, 0, sizeof(reference));
	reference.universe = load->universe;
	memory.refuse_one_in = refuse_one_in;
	for (uint32_t i = 0; i < operation_count; i++) {
		const uint32_t percent = load->insert_percent[i / PHASE_OPERATIONS % 6];
		const uint32_t index = random_below(&random_state, load->universe);

		if (random_below(&random_state, 100) < percent && reference.len < load->len_max)
			random_insert(map, index);
		else
			random_delete(map, index);
		reference.in_growth = is_in_growth(map, &outgrown_buckets, &growths);
		compare_one(map, random_below(&random_state, load->universe));
		if (random_below(&random_state, reference.in_growth ? 4 : 16) == 0)
			random_walk(map);
		if (i % (load->universe / 2) == 0)
			compare_all(map);
	}
	compare_all(map);
	for (size_t i = 0; i < WALKS; i++) {
		if (reference.walks[i].open)
			walk_on(&reference.walks[i], map, load->universe + 1);
	}
	met.operations += operation_count;
	met.grows += stats_of(map).grows;
	met.same_size_grows += stats_of(map).same_size_grows;
	free_map(map);
}

static void test_random_operations(void)
{
	memset(&met, 0, sizeof(met));
	for (uint64_t seed = 1; seed <= 20; seed++)
		run_random(&tiny, seed, 4000, 0);
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_random(&tiny_churn, seed, 20000, 0);
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_random(&small, seed, 60000, 0);
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_random(&small_churn, seed, 120000, 0);
	for (uint64_t seed = 1; seed <= 3; seed++)
		run_random(&large, seed, 120000, 0);
	for (uint64_t seed = 1; seed <= 3; seed++)
		run_random(&large_churn, seed, 300000, 0);
	EXPECT(met.operations >= 3000000);
	EXPECT(met.grows > 50);
	EXPECT(met.same_size_grows > 20);
	EXPECT(met.walks_finished > 1000);
	EXPECT(met.walks_begun_in_growth > 50);
	EXPECT(met.walks_over_growth > 50);
}

static void test_random_refusals(void)
{
	memset(&met, 0, sizeof(met));
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_random(&tiny_churn, seed, 20000, 2);
	for (uint64_t seed = 1; seed <= 2; seed++)
		run_random(&small_churn, seed, 80000, 2);
	run_random(&large, 1, 100000, 3);
	EXPECT(met.refusals > 1000);
	EXPECT(met.grows > 20);
	EXPECT(met.same_size_grows > 5);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "random operations", test_random_operations },
	{ "random refusals", test_random_refusals },
};

int main(void)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		printf("%s\n", tests[i].name);
		fflush(stdout);
		tests[i].run();
	}
	return EXIT_SUCCESS;
}
