// SPDX-License-Identifier: Apache-2.0
#include "proto/profile_check.h"

#include "proto/text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
	REPORTED_MAX = 10, /* sentences of one rule */
	SENTENCE_BYTES = 512,
	PAGE_BYTES = 4096,
	LABELS_MAX = 100,  /* of one sample, in Pyroscope */
	SHORT_BYTES = 256, /* a build id in hexadecimal has 64, names of types a few */
};

enum rule {
	RULE_FILE,
	RULE_FIELDS,
	RULE_TEXT,
	RULE_TYPES,
	RULE_HEADER,
	RULE_IDS,
	RULE_REFERENCES,
	RULE_VALUES,
	RULE_LABELS,
	RULE_MAPPINGS,
	RULE_LOCATIONS,
	RULE_FLAGS,
	RULE_FUNCTIONS,
	RULE_COUNT,
};

/* To follow a number. */
static const char *const more_of[RULE_COUNT] = {
	[RULE_FILE] = "more faults of the file",
	[RULE_FIELDS] = "more faults of the fields",
	[RULE_TEXT] = "more texts that are damaged",
	[RULE_TYPES] = "more faults of the sample types",
	[RULE_HEADER] = "more faults of the single values",
	[RULE_IDS] = "more ids that are not in order",
	[RULE_REFERENCES] = "more references that lead nowhere",
	[RULE_VALUES] = "more samples with wrong values",
	[RULE_LABELS] = "more labels that readers drop",
	[RULE_MAPPINGS] = "more faults of mappings",
	[RULE_LOCATIONS] = "more faults of locations",
	[RULE_FLAGS] = "more flags that promise too much",
	[RULE_FUNCTIONS] = "more faults of functions",
};

struct checking {
	const struct hm_profile *profile; /* borrowed */
	hm_profile_report *report;
	void *context;
	uint64_t counts[RULE_COUNT];
};

/* Texts of a file that may be anybody's stand in the sentence, and it goes to a terminal. */
static void make_printable(char *sentence)
{
	for (char *at = sentence; *at != '\0';) {
		const size_t size = hm_utf8_character(at, strlen(at));
		const bool control = (uint8_t)*at < 0x20 || *at == 0x7f ||
				     ((uint8_t)at[0] == 0xc2 && (uint8_t)at[1] < 0xa0);

		if (size == 0 || control)
			*at = '?';
		at += size == 0 ? 1 : size;
	}
}

__attribute__((format(printf, 3, 4))) static void violate(struct checking *checking, enum rule rule,
							  const char *format, ...)
{
	char sentence[SENTENCE_BYTES];
	va_list arguments;

	if (++checking->counts[rule] > REPORTED_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	make_printable(sentence);
	checking->report(checking->context, sentence);
}

static const char *text_of(const struct checking *checking, uint32_t index)
{
	return hm_profile_string(checking->profile, index);
}

/* --- The file ----------------------------------------------------------------------------------------- */

static void check_file(struct checking *checking)
{
	const struct hm_profile *const profile = checking->profile;

	if (!profile->gzipped)
		violate(checking, RULE_FILE, "the file is not compressed with gzip");
	if (profile->trailing_bytes != 0)
		violate(checking, RULE_FILE, "%zu bytes stand behind the profile: one gzip member is a file",
			profile->trailing_bytes);
	if (profile->singular_repeated != 0)
		violate(checking, RULE_FIELDS,
			"%u single values come more than once: profiles were put one behind the other",
			profile->singular_repeated);
	if (profile->unknown_fields != 0)
		violate(checking, RULE_FIELDS, "%u fields are none of the format", profile->unknown_fields);
	if (profile->first_field != 1)
		violate(checking, RULE_FIELDS, "the first field is number %u, not the sample types",
			profile->first_field);
}

static bool is_valid_text(const struct hm_profile_text *text)
{
	for (size_t i = 0; i < text->length_bytes;) {
		const size_t size = hm_utf8_character(text->text + i, text->length_bytes - i);

		if (size == 0 || text->text[i] == '\0')
			return false;
		i += size;
	}
	return true;
}

static void check_strings(struct checking *checking)
{
	const struct hm_profile *const profile = checking->profile;

	if (profile->string_count == 0)
		violate(checking, RULE_TEXT, "there is no string table");
	else if (profile->strings[0].length_bytes != 0)
		violate(checking, RULE_TEXT, "text 0 is not empty");
	for (uint32_t i = 0; i < profile->string_count; i++) {
		if (!is_valid_text(&profile->strings[i]))
			violate(checking, RULE_TEXT, "text %u is not valid UTF-8, or holds a NUL", i);
	}
}

/* Whether an index leads into the string table. */
static void check_text(struct checking *checking, uint32_t index, const char *what, uint32_t number)
{
	if (index == HM_PROFILE_NONE)
		violate(checking, RULE_TEXT, "%s %u refers to a text that does not exist", what, number);
}

/*
 * Any number of messages may name one text, as long as the file: what is asked of each of them is asked of so
 * many bytes at most.
 */
static bool is_short(const char *text)
{
	return strnlen(text, SHORT_BYTES + 1) <= SHORT_BYTES;
}

/* --- Sample types and single values ------------------------------------------------------------------- */

/* A name that pprof's options, PromQL and Pyroscope all take: [a-z_][a-z0-9_]* */
static bool is_type_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";

	if (name[0] == '\0' || strchr(letters, name[0]) == NULL || !is_short(name))
		return false;
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

static bool is_known_unit(const char *unit)
{
	return strcmp(unit, "count") == 0 || strcmp(unit, "bytes") == 0 || strcmp(unit, "nanoseconds") == 0;
}

/* Go's four types have to be there, in Go's order; others may stand between, but not at the end. */
static void check_go_types(struct checking *checking)
{
	static const char *const types[][2] = {
		{ "alloc_objects", "count" },
		{ "alloc_space", "bytes" },
		{ "inuse_objects", "count" },
		{ "inuse_space", "bytes" },
	};
	const struct hm_profile *const profile = checking->profile;
	uint32_t next_index = 0;

	for (uint32_t i = 0; i < 4; i++) {
		const uint32_t index = hm_profile_find_sample_type(profile, types[i][0]);

		if (index == HM_PROFILE_NONE) {
			violate(checking, RULE_TYPES, "there is no sample type %s", types[i][0]);
			continue;
		}
		const char *const unit = text_of(checking, profile->sample_types[index].unit);
		if (strcmp(unit, types[i][1]) != 0)
			violate(checking, RULE_TYPES, "sample type %s is in \"%s\", not in %s", types[i][0],
				unit, types[i][1]);
		if (index < next_index)
			violate(checking, RULE_TYPES,
				"sample type %s stands before one that belongs before it", types[i][0]);
		next_index = index + 1;
	}
	if (profile->sample_type_count > 0) {
		const char *const last =
			text_of(checking, profile->sample_types[profile->sample_type_count - 1].type);

		if (strcmp(last, "inuse_space") != 0)
			violate(checking, RULE_TYPES,
				"the last sample type, which many viewers show first, is %s and not "
				"inuse_space",
				last);
	}
}

static void check_types(struct checking *checking)
{
	const struct hm_profile *const profile = checking->profile;

	if (profile->sample_type_count == 0) {
		violate(checking, RULE_TYPES, "there are no sample types");
		return;
	}
	for (uint32_t i = 0; i < profile->sample_type_count; i++) {
		const struct hm_profile_value_type *const type = &profile->sample_types[i];

		check_text(checking, type->type, "sample type", i);
		check_text(checking, type->unit, "sample type", i);
		if (!is_type_name(text_of(checking, type->type)))
			violate(checking, RULE_TYPES,
				"the name of sample type %u, \"%s\", is not of the form [a-z_][a-z0-9_]*", i,
				text_of(checking, type->type));
		if (!is_known_unit(text_of(checking, type->unit)))
			violate(checking, RULE_TYPES,
				"the unit of sample type %u, \"%s\", is not count, bytes or nanoseconds", i,
				text_of(checking, type->unit));
	}
	if (strcmp(text_of(checking, profile->sample_types[0].unit), "count") != 0)
		violate(checking, RULE_TYPES,
			"the first sample type is not a count, by which pprof -mean divides");
	check_go_types(checking);
}

static void check_header(struct checking *checking)
{
	const struct hm_profile *const profile = checking->profile;

	if (!profile->has_period_type)
		violate(checking, RULE_HEADER, "there is no period type");
	else if (strcmp(text_of(checking, profile->period_type.type), "space") != 0 ||
		 strcmp(text_of(checking, profile->period_type.unit), "bytes") != 0)
		violate(checking, RULE_HEADER,
			"the period type is %s/%s, not space/bytes: it cannot be compared with others",
			text_of(checking, profile->period_type.type),
			text_of(checking, profile->period_type.unit));
	if (profile->period < 0)
		violate(checking, RULE_HEADER, "the period is negative");
	if (profile->time_ns <= 0)
		violate(checking, RULE_HEADER, "there is no time of collection");
	if (profile->duration_ns < 0)
		violate(checking, RULE_HEADER, "the duration is negative");
	if (profile->default_sample_type == 0)
		violate(checking, RULE_HEADER, "there is no default sample type");
	else if (hm_profile_find_sample_type(profile, text_of(checking, profile->default_sample_type)) ==
		 HM_PROFILE_NONE)
		violate(checking, RULE_HEADER, "the default sample type, \"%s\", is none of the sample types",
			text_of(checking, profile->default_sample_type));
	check_text(checking, profile->drop_frames, "field", 7);
	check_text(checking, profile->keep_frames, "field", 8);
	check_text(checking, profile->doc_url, "field", 15);
	for (uint32_t i = 0; i < profile->comment_count; i++)
		check_text(checking, profile->comments[i], "comment", i);
}

/* --- Samples ------------------------------------------------------------------------------------------ */

static void check_values(struct checking *checking, uint32_t sample_index)
{
	const struct hm_profile_sample *const sample = &checking->profile->samples[sample_index];
	bool all_zero = true;

	if (sample->value_count != checking->profile->sample_type_count) {
		violate(checking, RULE_VALUES, "sample %u has %u values for %u sample types", sample_index,
			sample->value_count, checking->profile->sample_type_count);
		return;
	}
	for (uint32_t i = 0; i < sample->value_count; i++) {
		if (sample->values[i] < 0)
			violate(checking, RULE_VALUES, "value %u of sample %u is negative", i, sample_index);
		all_zero = all_zero && sample->values[i] == 0;
	}
	if (all_zero)
		violate(checking, RULE_VALUES, "all values of sample %u are zero", sample_index);
}

/* Of what was allocated since the start no more can be in use. */
static void check_inuse(struct checking *checking, const char *alloc_type, const char *inuse_type)
{
	const struct hm_profile *const profile = checking->profile;
	const uint32_t alloc = hm_profile_find_sample_type(profile, alloc_type);
	const uint32_t inuse = hm_profile_find_sample_type(profile, inuse_type);

	if (alloc == HM_PROFILE_NONE || inuse == HM_PROFILE_NONE || profile->duration_ns != 0)
		return;
	for (uint32_t i = 0; i < profile->sample_count; i++) {
		if (hm_profile_value(&profile->samples[i], inuse) >
		    hm_profile_value(&profile->samples[i], alloc))
			violate(checking, RULE_VALUES, "%s of sample %u is more than its %s", inuse_type, i,
				alloc_type);
	}
}

static void check_labels(struct checking *checking, uint32_t sample_index)
{
	const struct hm_profile_sample *const sample = &checking->profile->samples[sample_index];

	if (sample->label_count > LABELS_MAX) {
		violate(checking, RULE_LABELS, "sample %u has %u labels; readers take %u", sample_index,
			sample->label_count, LABELS_MAX);
		return;
	}
	for (uint32_t i = 0; i < sample->label_count; i++) {
		const struct hm_profile_label *const label = &sample->labels[i];
		const char *const key = text_of(checking, label->key);

		check_text(checking, label->text, "a label of sample", sample_index);
		check_text(checking, label->unit, "a label of sample", sample_index);
		if (key[0] == '\0')
			violate(checking, RULE_LABELS, "a label of sample %u has no key", sample_index);
		if (strncmp(key, "pprof::", 7) == 0)
			violate(checking, RULE_LABELS,
				"label %s of sample %u has a name that pprof keeps for itself", key,
				sample_index);
		if (label->text == 0 && label->unit == 0)
			violate(checking, RULE_LABELS, "label %s of sample %u is a number without a unit",
				key, sample_index);
		for (uint32_t k = 0; k < i; k++) {
			if (sample->labels[k].key == label->key) {
				violate(checking, RULE_LABELS, "label %s of sample %u comes twice", key,
					sample_index);
				break;
			}
		}
	}
}

static void check_samples(struct checking *checking)
{
	const struct hm_profile *const profile = checking->profile;

	for (uint32_t i = 0; i < profile->sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile->samples[i];

		check_values(checking, i);
		check_labels(checking, i);
		if (sample->location_count == 0)
			violate(checking, RULE_REFERENCES, "sample %u has no location", i);
		for (uint32_t k = 0; k < sample->location_count; k++) {
			if (sample->locations[k] == HM_PROFILE_NONE)
				violate(checking, RULE_REFERENCES,
					"frame %u of sample %u is a location that does not exist", k, i);
		}
	}
	check_inuse(checking, "alloc_objects", "inuse_objects");
	check_inuse(checking, "alloc_space", "inuse_space");
}

/* --- Mappings, locations, functions ------------------------------------------------------------------- */

/* Parca and Pyroscope index by id - 1; speedscope reads 32 bits of an id. */
static void check_id(struct checking *checking, const char *what, uint32_t index, uint64_t id)
{
	if (id != (uint64_t)index + 1)
		violate(checking, RULE_IDS, "%s %u has id %llu; ids have to be 1, 2, 3 in order", what,
			index + 1, (unsigned long long)id);
}

static bool is_build_id(const char *text)
{
	const size_t length = strnlen(text, SHORT_BYTES + 1);

	return length <= SHORT_BYTES && length % 2 == 0 && strspn(text, "0123456789abcdef") == length;
}

/* A name that readers take for something that has no file. */
static bool is_pseudo_file(const char *file)
{
	return file[0] == '[' || strncmp(file, "//anon", 6) == 0;
}

/* Without looking at all of it: see is_short. */
static bool ends_with(const struct hm_profile *profile, uint32_t index, const char *suffix)
{
	const size_t suffix_length = strlen(suffix);

	if (index >= profile->string_count || profile->strings[index].length_bytes < suffix_length)
		return false;
	const struct hm_profile_text *const text = &profile->strings[index];
	return memcmp(text->text + text->length_bytes - suffix_length, suffix, suffix_length) == 0;
}

static void check_mapping(struct checking *checking, uint32_t index)
{
	const struct hm_profile_mapping *const mapping = &checking->profile->mappings[index];
	const char *const file = text_of(checking, mapping->file);
	/* As Go does, a mapping without a range only carries the executable's name. */
	const bool name_only = index == 0 && mapping->start_address == 0 && mapping->end_address == 0;

	check_id(checking, "mapping", index, mapping->id);
	check_text(checking, mapping->file, "mapping", index + 1);
	check_text(checking, mapping->build_id, "mapping", index + 1);
	if (!name_only && mapping->start_address >= mapping->end_address)
		violate(checking, RULE_MAPPINGS, "mapping %u is empty: it starts at %#llx and ends at %#llx",
			index + 1, (unsigned long long)mapping->start_address,
			(unsigned long long)mapping->end_address);
	if (mapping->start_address % PAGE_BYTES != 0 || mapping->end_address % PAGE_BYTES != 0 ||
	    mapping->file_offset % PAGE_BYTES != 0)
		violate(checking, RULE_MAPPINGS, "mapping %u (%s) is not made of whole pages", index + 1,
			file);
	if (file[0] != '/' && !is_pseudo_file(file))
		violate(checking, RULE_MAPPINGS, "the file of mapping %u, \"%s\", is not an absolute path",
			index + 1, file);
	if (ends_with(checking->profile, mapping->file, " (deleted)"))
		violate(checking, RULE_MAPPINGS,
			"the file of mapping %u, \"%s\", will be looked for under that name", index + 1,
			file);
	if (!is_build_id(text_of(checking, mapping->build_id)))
		violate(checking, RULE_MAPPINGS,
			"the build id of mapping %u, \"%s\", is not lower-case hexadecimal", index + 1,
			text_of(checking, mapping->build_id));
	if (index == 0 && is_pseudo_file(file))
		violate(checking, RULE_MAPPINGS, "the first mapping, %s, is not the executable", file);
}

static void check_lines(struct checking *checking, uint32_t location_index)
{
	const struct hm_profile *const profile = checking->profile;
	const struct hm_profile_location *const location = &profile->locations[location_index];

	for (uint32_t i = 0; i < location->line_count; i++) {
		if (location->lines[i].function == HM_PROFILE_NONE)
			violate(checking, RULE_REFERENCES, "location %u has a function that does not exist",
				location_index + 1);
		if (location->lines[i].line < 0)
			violate(checking, RULE_LOCATIONS, "location %u has a negative line number",
				location_index + 1);
	}
}

/* What a mapping promises of all its locations, this one has to have. */
static void check_flags(struct checking *checking, uint32_t location_index)
{
	const struct hm_profile *const profile = checking->profile;
	const struct hm_profile_location *const location = &profile->locations[location_index];
	const struct hm_profile_mapping *const mapping = &profile->mappings[location->mapping];
	bool named = location->line_count > 0;
	bool filed = location->line_count > 0;
	bool lined = location->line_count > 0;

	for (uint32_t i = 0; i < location->line_count; i++) {
		const uint32_t index = location->lines[i].function;
		const struct hm_profile_function *const function =
			index == HM_PROFILE_NONE ? NULL : &profile->functions[index];

		named = named && function != NULL && text_of(checking, function->name)[0] != '\0';
		filed = filed && function != NULL && text_of(checking, function->file)[0] != '\0';
		lined = lined && location->lines[i].line != 0;
	}
	if (mapping->has_functions && !named)
		violate(checking, RULE_FLAGS, "mapping %u promises functions, location %u has none",
			location->mapping + 1, location_index + 1);
	if (mapping->has_filenames && !filed)
		violate(checking, RULE_FLAGS, "mapping %u promises source files, location %u has none",
			location->mapping + 1, location_index + 1);
	if (mapping->has_line_numbers && !lined)
		violate(checking, RULE_FLAGS, "mapping %u promises line numbers, location %u has none",
			location->mapping + 1, location_index + 1);
	if (mapping->has_line_numbers && !mapping->has_inline_frames && location->line_count > 1)
		violate(checking, RULE_FLAGS,
			"location %u has inlined functions, of which mapping %u does not tell",
			location_index + 1, location->mapping + 1);
}

static void check_location(struct checking *checking, uint32_t index)
{
	const struct hm_profile *const profile = checking->profile;
	const struct hm_profile_location *const location = &profile->locations[index];
	const unsigned long long address = location->address;

	check_id(checking, "location", index, location->id);
	check_lines(checking, index);
	if (address == 0)
		violate(checking, RULE_LOCATIONS, "location %u has no address", index + 1);
	if (location->mapping_unknown)
		violate(checking, RULE_REFERENCES, "location %u has a mapping that does not exist",
			index + 1);
	else if (location->mapping == HM_PROFILE_NONE)
		violate(checking, RULE_LOCATIONS, "location %u (%#llx) has no mapping", index + 1, address);
	if (location->mapping == HM_PROFILE_NONE)
		return;
	const struct hm_profile_mapping *const mapping = &profile->mappings[location->mapping];
	if (location->address < mapping->start_address || location->address >= mapping->end_address)
		violate(checking, RULE_LOCATIONS, "location %u (%#llx) lies outside of its mapping %u",
			index + 1, address, location->mapping + 1);
	check_flags(checking, index);
}

static void check_function(struct checking *checking, uint32_t index)
{
	const struct hm_profile_function *const function = &checking->profile->functions[index];

	check_id(checking, "function", index, function->id);
	check_text(checking, function->name, "function", index + 1);
	check_text(checking, function->system_name, "function", index + 1);
	check_text(checking, function->file, "function", index + 1);
	if (text_of(checking, function->name)[0] == '\0')
		violate(checking, RULE_FUNCTIONS, "function %u has no name", index + 1);
	if (function->start_line < 0)
		violate(checking, RULE_FUNCTIONS, "function %u starts at a negative line", index + 1);
}

static uint64_t report_the_rest(const struct checking *checking)
{
	char sentence[SENTENCE_BYTES];
	uint64_t all = 0;

	for (uint32_t i = 0; i < RULE_COUNT; i++) {
		all += checking->counts[i];
		if (checking->counts[i] <= REPORTED_MAX)
			continue;
		snprintf(sentence, sizeof(sentence), "%llu %s",
			 (unsigned long long)(checking->counts[i] - REPORTED_MAX), more_of[i]);
		checking->report(checking->context, sentence);
	}
	return all;
}

uint64_t hm_profile_check(const struct hm_profile *profile, hm_profile_report *report, void *context)
{
	struct checking checking = { .profile = profile, .report = report, .context = context };

	check_file(&checking);
	check_strings(&checking);
	check_types(&checking);
	check_header(&checking);
	check_samples(&checking);
	for (uint32_t i = 0; i < profile->mapping_count; i++)
		check_mapping(&checking, i);
	for (uint32_t i = 0; i < profile->location_count; i++)
		check_location(&checking, i);
	for (uint32_t i = 0; i < profile->function_count; i++)
		check_function(&checking, i);
	return report_the_rest(&checking);
}
