// SPDX-License-Identifier: Apache-2.0
#include "proto/check_rules.h"

#include "proto/frame_expression.h"
#include "proto/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* --- The file ----------------------------------------------------------------------------------------- */

static void check_file(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;

	if (!profile->gzipped)
		hm_check_found(check, HM_RULE_FILE_GZIP, "the file is not compressed with gzip");
	if (profile->trailing_bytes != 0)
		hm_check_found(check, HM_RULE_FILE_SINGLE,
			       "%zu bytes stand behind the profile: one gzip member is a file",
			       profile->trailing_bytes);
	if (profile->singular_repeated != 0)
		hm_check_found(check, HM_RULE_FILE_SINGLE,
			       "%u single values come more than once: profiles were put one behind the other",
			       profile->singular_repeated);
	if (profile->unknown_fields != 0)
		hm_check_found(check, HM_RULE_FIELDS_KNOWN, "%u fields are none of the format",
			       profile->unknown_fields);
	if (profile->first_field != 1)
		hm_check_found(check, HM_RULE_FIELDS_FIRST,
			       "the first field is number %u, not the sample types", profile->first_field);
	if (profile->fields_backwards != 0)
		hm_check_found(check, HM_RULE_FIELDS_ORDER, "%u fields stand behind one of a higher number",
			       profile->fields_backwards);
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

static void check_strings(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;

	if (profile->string_count == 0)
		hm_check_found(check, HM_RULE_STRINGS_EMPTY, "there is no string table");
	else if (profile->strings[0].length_bytes != 0)
		hm_check_found(check, HM_RULE_STRINGS_EMPTY, "text 0 is not empty");
	for (uint32_t i = 0; i < profile->string_count; i++) {
		if (!is_valid_text(&profile->strings[i]))
			hm_check_found(check, HM_RULE_STRINGS_TEXT,
				       "text %u is not valid UTF-8, or holds a NUL", i);
	}
}

/* --- Sample types ------------------------------------------------------------------------------------- */

/* A name that pprof's options, PromQL and Pyroscope all take: [a-z_][a-z0-9_]* */
static bool is_type_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";

	if (name[0] == '\0' || strchr(letters, name[0]) == NULL || !hm_check_is_short(name))
		return false;
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

static bool is_known_unit(const char *unit)
{
	return strcmp(unit, "count") == 0 || strcmp(unit, "bytes") == 0 || strcmp(unit, "nanoseconds") == 0;
}

/* Go's four types have to be there, in Go's order; others may stand between, but not at the end. */
static void check_go_types(struct hm_check *check)
{
	static const char *const types[][2] = {
		{ "alloc_objects", "count" },
		{ "alloc_space", "bytes" },
		{ "inuse_objects", "count" },
		{ "inuse_space", "bytes" },
	};
	const struct hm_profile *const profile = check->profile;
	uint32_t next_index = 0;

	for (uint32_t i = 0; i < 4; i++) {
		const uint32_t index = hm_profile_find_sample_type(profile, types[i][0]);

		if (index == HM_PROFILE_NONE) {
			hm_check_found(check, HM_RULE_TYPES_GO, "there is no sample type %s", types[i][0]);
			continue;
		}
		const char *const unit = hm_check_text(check, profile->sample_types[index].unit);
		if (strcmp(unit, types[i][1]) != 0)
			hm_check_found(check, HM_RULE_TYPES_GO, "sample type %s is in \"%s\", not in %s",
				       types[i][0], unit, types[i][1]);
		if (index < next_index)
			hm_check_found(check, HM_RULE_TYPES_GO,
				       "sample type %s stands before one that belongs before it",
				       types[i][0]);
		next_index = index + 1;
	}
}

static void check_type(struct hm_check *check, uint32_t index)
{
	const struct hm_profile_value_type *const type = &check->profile->sample_types[index];
	const char *const name = hm_check_text(check, type->type);
	const char *const unit = hm_check_text(check, type->unit);

	hm_check_index(check, type->type, "sample type", index);
	hm_check_index(check, type->unit, "sample type", index);
	if (!is_type_name(name))
		hm_check_found(check, HM_RULE_TYPES_NAME,
			       "the name of sample type %u, \"%s\", is not of the form [a-z_][a-z0-9_]*",
			       index, name);
	else if (hm_profile_find_sample_type(check->profile, name) != index)
		hm_check_found(check, HM_RULE_TYPES_ONCE, "sample type %s comes twice", name);
	if (!is_known_unit(unit))
		hm_check_found(check, HM_RULE_TYPES_UNIT,
			       "the unit of sample type %u, \"%s\", is not count, bytes or nanoseconds",
			       index, unit);
}

static void check_types(struct hm_check *check)
{
	enum { TYPES_MAX = 64 }; /* each is looked for among all: Go's profiles have 4, ours up to 8 */
	const struct hm_profile *const profile = check->profile;
	const uint32_t count = profile->sample_type_count;

	if (count == 0) {
		hm_check_found(check, HM_RULE_TYPES_GO, "there are no sample types");
		return;
	}
	if (count > TYPES_MAX) {
		hm_check_found(check, HM_RULE_TYPES_GO,
			       "there are %u sample types, of which nobody needs more than %u", count,
			       TYPES_MAX);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		check_type(check, i);
	if (strcmp(hm_check_text(check, profile->sample_types[0].unit), "count") != 0)
		hm_check_found(check, HM_RULE_TYPES_COUNT,
			       "the first sample type is not a count, by which pprof -mean divides");
	check_go_types(check);

	const char *const last = hm_check_text(check, profile->sample_types[count - 1].type);

	if (strcmp(last, "inuse_space") != 0)
		hm_check_found(check, HM_RULE_TYPES_LAST, "the last sample type is %s, not inuse_space",
			       last);
}

static void check_default_type(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	const char *const name = hm_check_text(check, profile->default_sample_type);
	const uint32_t index = hm_profile_find_sample_type(profile, name);

	if (profile->default_sample_type == 0)
		hm_check_found(check, HM_RULE_DEFAULT_TYPE, "there is no default sample type");
	else if (index == HM_PROFILE_NONE)
		hm_check_found(check, HM_RULE_DEFAULT_TYPE,
			       "the default sample type, \"%s\", is none of the sample types", name);
	else if (index != profile->sample_type_count - 1)
		hm_check_found(check, HM_RULE_DEFAULT_LAST, "the default sample type, %s, is not the last",
			       name);
}

/* --- Single values ------------------------------------------------------------------------------------ */

static void check_period(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	const char *const type = hm_check_text(check, profile->period_type.type);
	const char *const unit = hm_check_text(check, profile->period_type.unit);

	if (!profile->has_period_type)
		hm_check_found(check, HM_RULE_PERIOD_TYPE, "there is no period type");
	else if (strcmp(type, "space") != 0 || strcmp(unit, "bytes") != 0)
		hm_check_found(check, HM_RULE_PERIOD_TYPE, "the period type is %s/%s, not space/bytes", type,
			       unit);
	if (profile->period < 0)
		hm_check_found(check, HM_RULE_PERIOD, "the period is negative");
	else if (profile->period == 0)
		hm_check_found(check, HM_RULE_PERIOD_UNKNOWN,
			       "the period, which is the sampling rate, is 0 or missing");
}

static void check_time(struct hm_check *check)
{
	/* 2000-01-01; a clock may be ahead of ours by the 10 minutes that Pyroscope grants it */
	static const int64_t earliest_ns = INT64_C(946684800) * 1000000000;
	static const int64_t ahead_ns_max = INT64_C(600) * 1000000000;
	const struct hm_profile *const profile = check->profile;
	struct timespec now = { 0 };

	if (profile->time_ns <= 0) {
		hm_check_found(check, HM_RULE_TIME, "there is no time of collection");
	} else if (profile->time_ns < earliest_ns) {
		hm_check_found(check, HM_RULE_TIME_SANE,
			       "the time of collection lies before the year 2000: is it in nanoseconds?");
	} else {
		(void)clock_gettime(CLOCK_REALTIME, &now);
		if (profile->time_ns - ahead_ns_max > (int64_t)now.tv_sec * 1000000000 + now.tv_nsec)
			hm_check_found(check, HM_RULE_TIME_SANE, "the time of collection lies in the future");
	}
	if (profile->duration_ns < 0)
		hm_check_found(check, HM_RULE_DURATION, "the duration is negative");
	else if (profile->time_ns > 0 && profile->duration_ns > profile->time_ns)
		hm_check_found(check, HM_RULE_DURATION, "the duration is longer than there has been a clock");
}

static void check_expression(struct hm_check *check, uint32_t index, const char *field)
{
	struct hm_frame_expression expression;
	const char *const text = hm_check_text(check, index);
	const int error = hm_frame_expression_init(text, &expression);

	if (error == -EINVAL)
		hm_check_found(check, HM_RULE_FRAMES_EXPRESSION, "%s is no regular expression: \"%s\"", field,
			       text);
	else if (error != 0)
		hm_check_found(check, HM_RULE_FRAMES_SYNTAX,
			       "%s is longer or richer than heapmark takes: \"%s\"", field, text);
	if (strcmp(field, "drop_frames") == 0 && hm_frame_expression_matches(&expression, "main"))
		hm_check_found(check, HM_RULE_FRAMES_MAIN, "%s matches the function main: \"%s\"", field,
			       text);
	hm_frame_expression_done(&expression);
}

static void check_comments(struct hm_check *check)
{
	enum { COMMENT_BYTES_MAX = 256 };
	static const char info[] = "executableInfo=";
	const struct hm_profile *const profile = check->profile;
	uint32_t info_count = 0;

	for (uint32_t i = 0; i < profile->comment_count; i++) {
		const char *const text = hm_check_text(check, profile->comments[i]);

		hm_check_index(check, profile->comments[i], "comment", i);
		info_count += strncmp(text, info, strlen(info)) == 0;
		if (text[0] == '#' || strncmp(text, info, strlen(info)) == 0)
			continue;
		if (strnlen(text, COMMENT_BYTES_MAX + 1) > COMMENT_BYTES_MAX)
			hm_check_found(check, HM_RULE_COMMENTS_SHORT, "comment %u has more than %u bytes", i,
				       COMMENT_BYTES_MAX);
		else if (strchr(text, '\n') != NULL)
			hm_check_found(check, HM_RULE_COMMENTS_SHORT, "comment %u has several lines", i);
	}
	if (info_count != 0 && info_count != profile->mapping_count)
		hm_check_found(check, HM_RULE_COMMENTS_INFO, "%u comments begin with %s for %u mappings",
			       info_count, info, profile->mapping_count);
}

void hm_check_header(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;

	check_file(check);
	check_strings(check);
	check_types(check);
	check_default_type(check);
	check_period(check);
	check_time(check);
	hm_check_index(check, profile->drop_frames, "field", 7);
	hm_check_index(check, profile->keep_frames, "field", 8);
	hm_check_index(check, profile->doc_url, "field", 15);
	check_expression(check, profile->drop_frames, "drop_frames");
	check_expression(check, profile->keep_frames, "keep_frames");
	check_comments(check);
	if (profile->doc_url != 0)
		hm_check_found(check, HM_RULE_DOC_URL,
			       "there is a doc_url, which is younger than some readers");
}
