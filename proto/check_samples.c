// SPDX-License-Identifier: Apache-2.0
#include "proto/check_rules.h"

#include "proto/sort.h"

#include <string.h>

/* What Pyroscope takes unless told otherwise (pkg/validation/limits.go). */
enum {
	SAMPLES_MAX = 16000,
	UNPACKED_BYTES_MAX = 4 << 20,
	DEPTH_MAX = 1000,
	LABELS_MAX = 100,
	DISTINCT_MAX = 100, /* of one string label: a thread pool's worth */
};

/* What is gathered over all samples. */
struct gathered {
	uint32_t *key_units;   /* by text: the first unit of the number of this key; 0: none yet */
	uint64_t *label_texts; /* key << 32 | text of each string label */
	uint64_t label_text_count;
};

/* --- Values ------------------------------------------------------------------------------------------- */

/* Of a difference, as Go makes it, more may have been freed than allocated. */
static bool may_be_negative(const struct hm_profile *profile, uint32_t type)
{
	return profile->duration_ns != 0 && (type == hm_profile_find_sample_type(profile, "inuse_objects") ||
					     type == hm_profile_find_sample_type(profile, "inuse_space"));
}

static void check_values(struct hm_check *check, uint32_t sample_index)
{
	const struct hm_profile_sample *const sample = &check->profile->samples[sample_index];
	bool all_zero = true;

	if (sample->value_count != check->profile->sample_type_count) {
		hm_check_found(check, HM_RULE_SAMPLES_VALUES, "sample %u has %u values for %u sample types",
			       sample_index, sample->value_count, check->profile->sample_type_count);
		return;
	}
	for (uint32_t i = 0; i < sample->value_count; i++) {
		if (sample->values[i] < 0 && !may_be_negative(check->profile, i))
			hm_check_found(check, HM_RULE_SAMPLES_SIGN, "value %u of sample %u is negative", i,
				       sample_index);
		all_zero = all_zero && sample->values[i] == 0;
	}
	if (all_zero)
		hm_check_found(check, HM_RULE_SAMPLES_ZERO, "all values of sample %u are zero", sample_index);
}

/* Of what was allocated since the start no more can be in use; of a difference it can. */
static void check_kept(struct hm_check *check, const char *alloc_type, const char *inuse_type)
{
	const struct hm_profile *const profile = check->profile;
	const uint32_t alloc = hm_profile_find_sample_type(profile, alloc_type);
	const uint32_t inuse = hm_profile_find_sample_type(profile, inuse_type);

	if (alloc == HM_PROFILE_NONE || inuse == HM_PROFILE_NONE || profile->duration_ns != 0)
		return;
	for (uint32_t i = 0; i < profile->sample_count; i++) {
		if (hm_profile_value(&profile->samples[i], inuse) >
		    hm_profile_value(&profile->samples[i], alloc))
			hm_check_found(check, HM_RULE_SAMPLES_KEPT, "%s of sample %u is more than its %s",
				       inuse_type, i, alloc_type);
	}
}

static void check_objects(struct hm_check *check, const char *objects_type, const char *space_type)
{
	const struct hm_profile *const profile = check->profile;
	const uint32_t objects = hm_profile_find_sample_type(profile, objects_type);
	const uint32_t space = hm_profile_find_sample_type(profile, space_type);

	if (objects == HM_PROFILE_NONE || space == HM_PROFILE_NONE || profile->duration_ns != 0)
		return;
	for (uint32_t i = 0; i < profile->sample_count; i++) {
		if (hm_profile_value(&profile->samples[i], space) > 0 &&
		    hm_profile_value(&profile->samples[i], objects) == 0)
			hm_check_found(check, HM_RULE_SAMPLES_OBJECTS, "sample %u has %s and no %s", i,
				       space_type, objects_type);
	}
}

/* Whether the type that is shown first shows anything. */
static void check_shown(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	const uint32_t type = hm_profile_default_sample_type(profile);

	if (profile->sample_count == 0) {
		hm_check_found(check, HM_RULE_SAMPLES_NONE, "there are no samples");
		return;
	}
	for (uint32_t i = 0; type != HM_PROFILE_NONE && i < profile->sample_count; i++)
		if (hm_profile_value(&profile->samples[i], type) != 0)
			return;
	hm_check_found(check, HM_RULE_SAMPLES_SHOWN, "all values of the type shown first are zero");
}

/* --- Labels ------------------------------------------------------------------------------------------- */

static void check_number_label(struct hm_check *check, struct gathered *gathered, uint32_t sample_index,
			       const struct hm_profile_label *label)
{
	static const char *const bytes_keys[] = { "bytes", "request", "alignment" };
	const char *const key = hm_check_text(check, label->key);
	const char *const unit = hm_check_text(check, label->unit);

	if (label->unit == 0) {
		hm_check_found(check, HM_RULE_LABELS_UNIT, "label %s of sample %u is a number without a unit",
			       key, sample_index);
		return;
	}
	for (size_t i = 0; i < sizeof(bytes_keys) / sizeof(bytes_keys[0]); i++)
		if (strcmp(key, bytes_keys[i]) == 0 && strcmp(unit, "bytes") != 0)
			hm_check_found(check, HM_RULE_LABELS_BYTES,
				       "label %s of sample %u is in \"%s\", not in bytes", key, sample_index,
				       unit);
	if (label->key == HM_PROFILE_NONE || gathered->key_units == NULL)
		return;
	if (gathered->key_units[label->key] == 0)
		gathered->key_units[label->key] = label->unit;
	else if (gathered->key_units[label->key] != label->unit)
		hm_check_found(check, HM_RULE_LABELS_UNITS,
			       "label %s of sample %u is in \"%s\", before in \"%s\"", key, sample_index,
			       unit, hm_check_text(check, gathered->key_units[label->key]));
}

static void check_label(struct hm_check *check, struct gathered *gathered, uint32_t sample_index,
			const struct hm_profile_label *label)
{
	const char *const key = hm_check_text(check, label->key);

	hm_check_index(check, label->key, "a label of sample", sample_index);
	hm_check_index(check, label->text, "a label of sample", sample_index);
	hm_check_index(check, label->unit, "a label of sample", sample_index);
	if (key[0] == '\0')
		hm_check_found(check, HM_RULE_LABELS_KEY, "a label of sample %u has no key", sample_index);
	if (strncmp(key, "pprof::", 7) == 0)
		hm_check_found(check, HM_RULE_LABELS_RESERVED,
			       "label %s of sample %u has a name that pprof keeps for itself", key,
			       sample_index);
	if (label->text == 0) {
		check_number_label(check, gathered, sample_index, label);
		return;
	}
	if (label->number != 0 || label->unit != 0)
		hm_check_found(check, HM_RULE_LABELS_KIND, "label %s of sample %u is a text and a number",
			       key, sample_index);
	if (gathered->label_texts != NULL)
		gathered->label_texts[gathered->label_text_count++] =
			(uint64_t)label->key << 32 | label->text;
}

static void check_labels(struct hm_check *check, struct gathered *gathered, uint32_t sample_index)
{
	const struct hm_profile_sample *const sample = &check->profile->samples[sample_index];

	if (sample->label_count > LABELS_MAX) {
		/* and no further: each would be looked for among all */
		hm_check_found(check, HM_RULE_LIMIT_LABELS, "sample %u has %u labels, more than %u",
			       sample_index, sample->label_count, LABELS_MAX);
		return;
	}
	for (uint32_t i = 0; i < sample->label_count; i++) {
		check_label(check, gathered, sample_index, &sample->labels[i]);
		for (uint32_t k = 0; k < i; k++) {
			if (sample->labels[k].key == sample->labels[i].key) {
				hm_check_found(check, HM_RULE_LABELS_ONCE,
					       "label %s of sample %u comes twice",
					       hm_check_text(check, sample->labels[i].key), sample_index);
				break;
			}
		}
	}
}

/* How many different texts a key has. */
static void check_distinct(struct hm_check *check, const struct gathered *gathered, uint64_t *sort_room)
{
	const uint64_t *const texts = gathered->label_texts;
	uint32_t distinct_count = 0;

	hm_sort(gathered->label_texts, sort_room, gathered->label_text_count, sizeof(*texts), hm_compare_u64,
		NULL);
	for (uint64_t i = 0; i < gathered->label_text_count; i++) {
		const bool is_last =
			i + 1 == gathered->label_text_count || texts[i] >> 32 != texts[i + 1] >> 32;

		distinct_count += i == 0 || texts[i] != texts[i - 1];
		if (!is_last)
			continue;
		if (distinct_count > DISTINCT_MAX)
			hm_check_found(check, HM_RULE_LABELS_DISTINCT, "label %s has %u different values",
				       hm_check_text(check, (uint32_t)(texts[i] >> 32)), distinct_count);
		distinct_count = 0;
	}
}

static void check_all_labels(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	size_t label_count = 0;

	for (uint32_t i = 0; i < profile->sample_count; i++)
		label_count += profile->samples[i].label_count;
	if (label_count == 0)
		return;

	struct gathered gathered = {
		.key_units = hm_check_scratch(check, profile->string_count, sizeof(*gathered.key_units)),
		.label_texts = hm_check_scratch(check, label_count, sizeof(*gathered.label_texts)),
	};
	uint64_t *const sort_room = hm_check_scratch(check, label_count, sizeof(*sort_room));

	for (uint32_t i = 0; i < profile->sample_count; i++)
		check_labels(check, &gathered, i);
	if (gathered.label_texts != NULL && sort_room != NULL)
		check_distinct(check, &gathered, sort_room);
}

/* --- Samples ------------------------------------------------------------------------------------------ */

static void check_stack(struct hm_check *check, uint32_t sample_index)
{
	const struct hm_profile_sample *const sample = &check->profile->samples[sample_index];

	if (sample->location_count == 0)
		hm_check_found(check, HM_RULE_SAMPLES_STACK, "sample %u has no location", sample_index);
	if (sample->location_count > DEPTH_MAX)
		hm_check_found(check, HM_RULE_LIMIT_DEPTH, "sample %u is %u locations deep, more than %u",
			       sample_index, sample->location_count, DEPTH_MAX);
	for (uint32_t i = 0; i < sample->location_count; i++) {
		if (sample->locations[i] == HM_PROFILE_NONE)
			hm_check_found(check, HM_RULE_SAMPLES_LOCATION,
				       "frame %u of sample %u is a location that does not exist", i,
				       sample_index);
	}
}

void hm_check_samples(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;

	if (profile->sample_count > SAMPLES_MAX)
		hm_check_found(check, HM_RULE_LIMIT_SAMPLES, "there are %u samples, more than %u",
			       profile->sample_count, SAMPLES_MAX);
	if (profile->unpacked_bytes > UNPACKED_BYTES_MAX)
		hm_check_found(check, HM_RULE_LIMIT_BYTES, "the profile has %zu bytes unpacked, more than %u",
			       profile->unpacked_bytes, UNPACKED_BYTES_MAX);
	for (uint32_t i = 0; i < profile->sample_count; i++) {
		check_values(check, i);
		check_stack(check, i);
	}
	check_all_labels(check);
	check_kept(check, "alloc_objects", "inuse_objects");
	check_kept(check, "alloc_space", "inuse_space");
	check_objects(check, "alloc_objects", "alloc_space");
	check_objects(check, "inuse_objects", "inuse_space");
	check_shown(check);
}
