// SPDX-License-Identifier: Apache-2.0
/* Profiles made by hand, and their differences. */
#include "tests/unit/check.h"
#include "tools/profile_delta.h"

#include <errno.h>
#include <stdlib.h>

enum { TYPES = 5, SAMPLES_MAX = 4, LOCATIONS = 3 };

/* Three addresses; the last two are one address in two files that took turns there. */
struct made {
	struct hm_profile profile;
	struct hm_profile_text texts[16];
	struct hm_profile_value_type types[TYPES];
	struct hm_profile_mapping mappings[2];
	struct hm_profile_location locations[LOCATIONS];
	struct hm_profile_sample samples[SAMPLES_MAX];
	uint32_t stacks[SAMPLES_MAX][2];
	int64_t values[SAMPLES_MAX][TYPES];
};

/* Texts and locations in another order where `turned`: only what they stand for counts. */
static struct made *make(bool turned)
{
	static const char *const texts[] = {
		"",           "alloc_objects", "alloc_space", "inuse_objects", "inuse_space",
		"peak_space", "/a.so",         "/b.so"
	};
	const uint32_t count = sizeof(texts) / sizeof(texts[0]);
	struct made *const made = calloc(1, sizeof(*made));

	if (made == NULL)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t place = turned && i > 0 ? count - i : i;

		made->texts[place] = (struct hm_profile_text){ texts[i], strlen(texts[i]) };
	}
	for (uint32_t i = 0; i < TYPES; i++)
		made->types[i].type = turned ? count - 1 - i : i + 1;
	for (uint32_t i = 0; i < 2; i++)
		made->mappings[i] = (struct hm_profile_mapping){ .start_address = 0x1000,
								 .end_address = 0x2000,
								 .file = turned ? count - 6 - i : 6 + i };
	for (uint32_t i = 0; i < LOCATIONS; i++)
		made->locations[turned ? LOCATIONS - 1 - i : i] =
			(struct hm_profile_location){ .address = i == 0 ? 0x1100 : 0x1200,
						      .mapping = i == 2 ? 1 : 0 };
	made->profile = (struct hm_profile){
		.sample_types = made->types,
		.samples = made->samples,
		.mappings = made->mappings,
		.locations = made->locations,
		.strings = made->texts,
		.sample_type_count = TYPES,
		.mapping_count = 2,
		.location_count = LOCATIONS,
		.string_count = count,
	};
	hm_arena_init(&made->profile.arena, SIZE_MAX);
	return made;
}

/* A stack of two of the three addresses. */
static void add(struct made *made, bool turned, uint32_t inner, uint32_t outer, const int64_t values[TYPES])
{
	const uint32_t index = made->profile.sample_count++;

	made->stacks[index][0] = turned ? LOCATIONS - 1 - inner : inner;
	made->stacks[index][1] = turned ? LOCATIONS - 1 - outer : outer;
	memcpy(made->values[index], values, sizeof(made->values[index]));
	made->samples[index] = (struct hm_profile_sample){
		.locations = made->stacks[index],
		.values = made->values[index],
		.location_count = 2,
		.value_count = TYPES,
	};
}

static void destroy(struct made *made)
{
	hm_arena_done(&made->profile.arena);
	free(made);
}

static void check_values(const struct made *made, uint32_t sample, const int64_t values[TYPES])
{
	for (uint32_t i = 0; i < TYPES; i++)
		CHECK_EQ(made->profile.samples[sample].values[i], values[i]);
}

static void test_difference(enum hm_delta_inuse inuse)
{
	struct made *const older = make(false);
	struct made *const newer = make(true);

	add(older, false, 0, 1, (int64_t[]){ 10, 100, 5, 50, 60 });
	add(older, false, 0, 2, (int64_t[]){ 1, 8, 1, 8, 8 }); /* rests */
	add(newer, true, 0, 2, (int64_t[]){ 1, 8, 1, 8, 8 });
	add(newer, true, 0, 1, (int64_t[]){ 12, 120, 2, 20, 60 });
	add(newer, true, 1, 1, (int64_t[]){ 3, 30, 3, 30, 30 }); /* new */
	older->profile.time_ns = 1000;
	/* of a process that has ended, both are of its last moment */
	newer->profile.time_ns = inuse == HM_DELTA_INUSE_DIFFERENCE ? 3500 : 1000;
	CHECK_EQ(hm_profile_subtract(&newer->profile, &older->profile, inuse), 0);
	CHECK_EQ(newer->profile.duration_ns, inuse == HM_DELTA_INUSE_DIFFERENCE ? 2500 : 1);
	CHECK_EQ(newer->profile.sample_count, 3);
	if (inuse == HM_DELTA_INUSE_DIFFERENCE) {
		check_values(newer, 0, (int64_t[]){ 0, 0, 0, 0, 8 });
		check_values(newer, 1, (int64_t[]){ 2, 20, -3, -30, 60 });
	} else {
		check_values(newer, 0, (int64_t[]){ 0, 0, 1, 8, 8 });
		check_values(newer, 1, (int64_t[]){ 2, 20, 2, 20, 60 });
	}
	check_values(newer, 2, (int64_t[]){ 3, 30, 3, 30, 30 });
	destroy(older);
	destroy(newer);
}

/* What did not change at all is not there; a counter that went back, as no counter does, is taken as still.
 */
static void test_nothing(void)
{
	struct made *const older = make(false);
	struct made *const newer = make(false);

	add(older, false, 0, 1, (int64_t[]){ 10, 100, 5, 50, 0 });
	add(older, false, 1, 0, (int64_t[]){ 10, 100, 5, 50, 0 });
	add(newer, false, 0, 1, (int64_t[]){ 10, 100, 5, 50, 0 });
	add(newer, false, 1, 0, (int64_t[]){ 9, 90, 5, 50, 0 });
	CHECK_EQ(hm_profile_subtract(&newer->profile, &older->profile, HM_DELTA_INUSE_DIFFERENCE), 0);
	CHECK_EQ(newer->profile.sample_count, 0);
	destroy(older);
	destroy(newer);
}

static void test_refusals(void)
{
	struct made *const older = make(false);
	struct made *const newer = make(false);

	add(older, false, 0, 1, (int64_t[]){ 1, 1, 1, 1, 1 });
	add(newer, false, 0, 2, (int64_t[]){ 1, 1, 1, 1, 1 }); /* the same addresses, in another file */
	CHECK_EQ(hm_profile_subtract(&newer->profile, &older->profile, HM_DELTA_INUSE_NOW), -ESTALE);
	newer->profile.sample_type_count = TYPES - 1;
	CHECK_EQ(hm_profile_subtract(&newer->profile, &older->profile, HM_DELTA_INUSE_NOW), -EBADMSG);
	destroy(older);
	destroy(newer);
}

int main(void)
{
	test_difference(HM_DELTA_INUSE_DIFFERENCE);
	test_difference(HM_DELTA_INUSE_NOW);
	test_nothing();
	test_refusals();
	return check_result();
}
