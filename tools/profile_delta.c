// SPDX-License-Identifier: Apache-2.0
#include "tools/profile_delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The samples of the older profile by their stacks: open addressing, sample index + 1; 0: empty. */
struct index {
	const struct hm_profile *profile; /* borrowed */
	uint32_t *slots;                  /* owned */
	bool *taken;                      /* owned; by sample */
	uint32_t mask;
	uint32_t taken_count;
};

enum rule { RULE_COUNTER, RULE_DIFFERENCE, RULE_NOW };

static uint64_t mix(uint64_t hash, uint64_t word)
{
	/* the finaliser of MurmurHash3 over the sum: every bit of the word reaches every bit of the hash */
	hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
	return hash ^ hash >> 33;
}

static const struct hm_profile_location *location_of(const struct hm_profile *profile, uint32_t index)
{
	return index != HM_PROFILE_NONE ? &profile->locations[index] : NULL;
}

static const struct hm_profile_mapping *mapping_of(const struct hm_profile *profile,
						   const struct hm_profile_location *location)
{
	return location->mapping != HM_PROFILE_NONE ? &profile->mappings[location->mapping] : NULL;
}

static uint64_t hash_stack(const struct hm_profile *profile, const struct hm_profile_sample *sample)
{
	uint64_t hash = sample->location_count;

	for (uint32_t i = 0; i < sample->location_count; i++) {
		const struct hm_profile_location *const location = location_of(profile, sample->locations[i]);

		hash = mix(hash, location != NULL ? location->address : 0);
	}
	return hash;
}

static bool is_same_location(const struct hm_profile *a, uint32_t a_index, const struct hm_profile *b,
			     uint32_t b_index)
{
	const struct hm_profile_location *const left = location_of(a, a_index);
	const struct hm_profile_location *const right = location_of(b, b_index);

	if (left == NULL || right == NULL)
		return left == right;
	if (left->address != right->address)
		return false;

	const struct hm_profile_mapping *const left_in = mapping_of(a, left);
	const struct hm_profile_mapping *const right_in = mapping_of(b, right);

	if (left_in == NULL || right_in == NULL)
		return left_in == right_in;
	/* Two plug-ins that took turns at one address have different files, or different builds of one. */
	return left_in->start_address == right_in->start_address &&
	       left_in->file_offset == right_in->file_offset &&
	       strcmp(hm_profile_string(a, left_in->file), hm_profile_string(b, right_in->file)) == 0 &&
	       strcmp(hm_profile_string(a, left_in->build_id), hm_profile_string(b, right_in->build_id)) == 0;
}

static bool is_same_label(const struct hm_profile *a, const struct hm_profile_label *left,
			  const struct hm_profile *b, const struct hm_profile_label *right)
{
	return left->number == right->number &&
	       strcmp(hm_profile_string(a, left->key), hm_profile_string(b, right->key)) == 0 &&
	       strcmp(hm_profile_string(a, left->text), hm_profile_string(b, right->text)) == 0;
}

static bool is_same_stack(const struct hm_profile *a, const struct hm_profile_sample *left,
			  const struct hm_profile *b, const struct hm_profile_sample *right)
{
	if (left->location_count != right->location_count || left->label_count != right->label_count)
		return false;
	for (uint32_t i = 0; i < left->location_count; i++)
		if (!is_same_location(a, left->locations[i], b, right->locations[i]))
			return false;
	for (uint32_t i = 0; i < left->label_count; i++)
		if (!is_same_label(a, &left->labels[i], b, &right->labels[i]))
			return false;
	return true;
}

static int index_init(struct index *index, const struct hm_profile *profile)
{
	size_t slot_count = 16;

	while (slot_count < 2 * (size_t)profile->sample_count)
		slot_count *= 2;
	*index = (struct index){
		.profile = profile,
		.slots = calloc(slot_count, sizeof(index->slots[0])),
		.taken = calloc((size_t)profile->sample_count + 1, sizeof(index->taken[0])),
		.mask = (uint32_t)(slot_count - 1),
	};
	if (index->slots == NULL || index->taken == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < profile->sample_count; i++) {
		uint32_t slot = (uint32_t)hash_stack(profile, &profile->samples[i]) & index->mask;

		while (index->slots[slot] != 0)
			slot = (slot + 1) & index->mask;
		index->slots[slot] = i + 1;
	}
	return 0;
}

static void index_done(struct index *index)
{
	free(index->slots);
	free(index->taken);
}

/* The sample of the same stack, each only once; NULL where there is none. */
static const struct hm_profile_sample *index_take(struct index *index, const struct hm_profile *profile,
						  const struct hm_profile_sample *sample)
{
	uint32_t slot = (uint32_t)hash_stack(profile, sample) & index->mask;

	for (; index->slots[slot] != 0; slot = (slot + 1) & index->mask) {
		const uint32_t candidate = index->slots[slot] - 1;

		if (!index->taken[candidate] &&
		    is_same_stack(index->profile, &index->profile->samples[candidate], profile, sample)) {
			index->taken[candidate] = true;
			index->taken_count++;
			return &index->profile->samples[candidate];
		}
	}
	return NULL;
}

static bool have_same_types(const struct hm_profile *a, const struct hm_profile *b)
{
	if (a->sample_type_count != b->sample_type_count)
		return false;
	for (uint32_t i = 0; i < a->sample_type_count; i++)
		if (strcmp(hm_profile_string(a, a->sample_types[i].type),
			   hm_profile_string(b, b->sample_types[i].type)) != 0)
			return false;
	return true;
}

static enum rule rule_of(const struct hm_profile *profile, uint32_t type, enum hm_delta_inuse inuse)
{
	const char *const name = hm_profile_string(profile, profile->sample_types[type].type);

	if (strncmp(name, "alloc_", strlen("alloc_")) == 0)
		return RULE_COUNTER;
	if (inuse == HM_DELTA_INUSE_DIFFERENCE && strncmp(name, "inuse_", strlen("inuse_")) == 0)
		return RULE_DIFFERENCE;
	return RULE_NOW;
}

static int64_t subtract(int64_t newer, int64_t older, enum rule rule)
{
	int64_t difference = 0;

	if (rule == RULE_NOW)
		return newer;
	if (__builtin_sub_overflow(newer, older, &difference))
		return newer < older ? INT64_MIN : INT64_MAX; /* values that no profile has */
	return rule == RULE_COUNTER && difference < 0 ? 0 : difference;
}

/* Fills `values`.  Returns whether any is not zero. */
static bool subtract_sample(const struct hm_profile_sample *newer, const struct hm_profile_sample *older,
			    const enum rule *rules, int64_t *values)
{
	bool any = false;

	for (uint32_t i = 0; i < newer->value_count; i++) {
		values[i] =
			subtract(newer->values[i], older != NULL ? hm_profile_value(older, i) : 0, rules[i]);
		any |= values[i] != 0;
	}
	return any;
}

static int subtract_all(struct hm_profile *newer, struct index *index, const enum rule *rules)
{
	uint32_t kept_count = 0;

	for (uint32_t i = 0; i < newer->sample_count; i++) {
		struct hm_profile_sample sample = newer->samples[i];
		int64_t *const values =
			hm_arena_allocate_array(&newer->arena, sample.value_count, sizeof(*values));

		if (sample.value_count != newer->sample_type_count)
			return -EBADMSG;
		if (values == NULL)
			return -ENOMEM;
		if (!subtract_sample(&sample, index_take(index, newer, &sample), rules, values))
			continue;
		sample.values = values;
		newer->samples[kept_count++] = sample;
	}
	newer->sample_count = kept_count;
	return index->taken_count == index->profile->sample_count ? 0 : -ESTALE;
}

int hm_profile_subtract(struct hm_profile *newer, const struct hm_profile *older, enum hm_delta_inuse inuse)
{
	struct index index;
	enum rule *const rules = calloc((size_t)newer->sample_type_count + 1, sizeof(*rules));
	int error = index_init(&index, older);

	if (rules == NULL)
		error = -ENOMEM;
	else if (!have_same_types(newer, older))
		error = -EBADMSG;
	if (error == 0) {
		for (uint32_t i = 0; i < newer->sample_type_count; i++)
			rules[i] = rule_of(newer, i, inuse);
		error = subtract_all(newer, &index, rules);
	}
	/* Not 0, also of a process that has ended, whose last moment is both: by that a difference is known. */
	newer->duration_ns = newer->time_ns > older->time_ns ? newer->time_ns - older->time_ns : 1;
	index_done(&index);
	free(rules);
	return error;
}
