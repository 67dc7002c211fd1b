// SPDX-License-Identifier: Apache-2.0
#include "proto/check_rules.h"

#include "proto/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	BROKEN_REPORTED_MAX = 10, /* of one rule */
	HINTS_REPORTED_MAX = 3,
	SENTENCE_BYTES = 512,
};

enum severity { HINT, BROKEN };

/* What is shown of a rule: its name, whether it makes the profile broken, and what a reader makes of it. */
static const struct rule {
	const char *name;
	enum severity severity;
	const char *consequence;
} rules[HM_RULE_COUNT] = {
	[HM_RULE_FILE_GZIP] = { "file-gzip", BROKEN, "older readers take nothing but gzip" },
	[HM_RULE_FILE_SINGLE] = { "file-single", BROKEN,
				  "go tool pprof refuses profiles one behind the other" },
	[HM_RULE_FIELDS_KNOWN] = { "fields-known", BROKEN, "Perfetto does not recognise the file" },
	[HM_RULE_FIELDS_FIRST] = { "fields-first", BROKEN, "Perfetto does not recognise the file" },
	[HM_RULE_FIELDS_ORDER] = { "fields-order", HINT,
				   "readers that go through the file once miss what they need" },
	[HM_RULE_STRINGS_EMPTY] = { "strings-empty", BROKEN, "Parca and Pyroscope refuse the file" },
	[HM_RULE_STRINGS_TEXT] = { "strings-text", BROKEN, "Pyroscope refuses the whole file" },
	[HM_RULE_STRINGS_INDEX] = { "strings-index", BROKEN, "go tool pprof refuses the file as malformed" },
	[HM_RULE_TYPES_GO] = { "types-go", BROKEN,
			       "pprof has no -inuse_space and -alloc_space, heapmark top shows nothing" },
	[HM_RULE_TYPES_NAME] = { "types-name", BROKEN,
				 "Pyroscope refuses a name with -, Parca cannot select it" },
	[HM_RULE_TYPES_UNIT] = { "types-unit", BROKEN, "pprof shows the figures unscaled" },
	[HM_RULE_TYPES_ONCE] = { "types-once", BROKEN, "readers show the first of them only" },
	[HM_RULE_TYPES_COUNT] = { "types-count", BROKEN, "pprof -mean divides by the first" },
	[HM_RULE_TYPES_LAST] = { "types-last", BROKEN, "readers that do not know of defaults show the last" },
	[HM_RULE_DEFAULT_TYPE] = { "default-type", BROKEN, "readers fall back to the last type" },
	[HM_RULE_DEFAULT_LAST] = { "default-last", HINT,
				   "readers that do not know of defaults show the last" },
	[HM_RULE_PERIOD_TYPE] = { "period-type", BROKEN,
				  "pprof does not compare it with others, the OpenTelemetry collector "
				  "refuses it" },
	[HM_RULE_PERIOD] = { "period", BROKEN, "no sampling rate is negative" },
	[HM_RULE_PERIOD_UNKNOWN] = { "period-unknown", HINT,
				     "nobody can tell how far the estimates are to be trusted" },
	[HM_RULE_TIME] = { "time", BROKEN, "Parca and Pyroscope do not know when it was taken" },
	[HM_RULE_TIME_SANE] = { "time-sane", HINT,
				"Parca and Pyroscope file it under that time or refuse it" },
	[HM_RULE_DURATION] = { "duration", BROKEN, "Parca takes what has a duration for a difference" },
	[HM_RULE_FRAMES_EXPRESSION] = { "frames-expression", BROKEN, "pprof silently hides no frame at all" },
	[HM_RULE_FRAMES_SYNTAX] = { "frames-syntax", HINT, "pprof may hide frames that heapmark shows" },
	[HM_RULE_FRAMES_MAIN] = { "frames-main", HINT,
				  "pprof hides all that main calls; the expression is anchored "
				  "at both ends by the reader" },
	[HM_RULE_COMMENTS_SHORT] = { "comments-short", HINT,
				     "pprof prints it above each report; lines for machines begin with #" },
	[HM_RULE_COMMENTS_INFO] = { "comments-info", HINT, "Parca refuses the file" },
	[HM_RULE_DOC_URL] = { "doc-url", HINT, "Perfetto does not recognise the file" },
	[HM_RULE_SAMPLES_NONE] = { "samples-none", HINT, "Pyroscope refuses it as empty" },
	[HM_RULE_SAMPLES_VALUES] = { "samples-values", BROKEN,
				     "go tool pprof and Pyroscope refuse the file" },
	[HM_RULE_SAMPLES_SIGN] = { "samples-sign", BROKEN, "Pyroscope drops the sample" },
	[HM_RULE_SAMPLES_ZERO] = { "samples-zero", BROKEN, "Pyroscope drops the sample" },
	[HM_RULE_SAMPLES_KEPT] = { "samples-kept", BROKEN, "more is kept than there was" },
	[HM_RULE_SAMPLES_OBJECTS] = { "samples-objects", HINT, "pprof -mean divides by nothing" },
	[HM_RULE_SAMPLES_SHOWN] = { "samples-shown", HINT,
				    "pprof says that no samples were found with the default type" },
	[HM_RULE_SAMPLES_STACK] = { "samples-stack", BROKEN,
				    "pprof counts it in the total and shows it nowhere" },
	[HM_RULE_SAMPLES_LOCATION] = { "samples-location", BROKEN, "go tool pprof refuses the file" },
	[HM_RULE_LABELS_KEY] = { "labels-key", BROKEN, "nothing can ask for it" },
	[HM_RULE_LABELS_RESERVED] = { "labels-reserved", BROKEN, "pprof -diff_base takes it for its own" },
	[HM_RULE_LABELS_UNIT] = { "labels-unit", BROKEN, "pprof guesses the unit, and drops a zero" },
	[HM_RULE_LABELS_ONCE] = { "labels-once", BROKEN, "the OpenTelemetry collector refuses the file" },
	[HM_RULE_LABELS_KIND] = { "labels-kind", HINT, "pprof keeps the text and drops the number" },
	[HM_RULE_LABELS_UNITS] = { "labels-units", HINT, "pprof shows all in the first and warns" },
	[HM_RULE_LABELS_BYTES] = { "labels-bytes", HINT, "pprof takes this key for bytes" },
	[HM_RULE_LABELS_DISTINCT] = { "labels-distinct", HINT, "Parca and Pyroscope make a series of each" },
	[HM_RULE_LIMIT_SAMPLES] = { "limit-samples", HINT,
				    "Pyroscope refuses the file unless its limit is raised" },
	[HM_RULE_LIMIT_BYTES] = { "limit-bytes", HINT,
				  "Pyroscope refuses the file unless its limit is raised" },
	[HM_RULE_LIMIT_DEPTH] = { "limit-depth", HINT, "Pyroscope cuts the innermost frames" },
	[HM_RULE_LIMIT_LABELS] = { "limit-labels", HINT,
				   "Pyroscope refuses the file unless its limit is raised" },
	[HM_RULE_IDS_ORDER] = { "ids-order", BROKEN,
				"Parca refuses the file, Pyroscope finds the wrong entries" },
	[HM_RULE_IDS_SIZE] = { "ids-size", BROKEN, "speedscope cuts it to 32 bits" },
	[HM_RULE_MAPPINGS_NONE] = { "mappings-none", HINT,
				    "pprof names no file, and no address can be looked up later" },
	[HM_RULE_MAPPINGS_MAIN] = { "mappings-main", BROKEN,
				    "pprof takes the first mapping for the program" },
	[HM_RULE_MAPPINGS_LIBRARY] = { "mappings-library", HINT,
				       "pprof takes the first mapping for the program" },
	[HM_RULE_MAPPINGS_RANGE] = { "mappings-range", BROKEN, "no address can be in it" },
	[HM_RULE_MAPPINGS_PAGES] = { "mappings-pages", BROKEN,
				     "standalone pprof takes it for a kernel, or finds no segment for it" },
	[HM_RULE_MAPPINGS_OVERLAP] = { "mappings-overlap", HINT,
				       "a reader that looks addresses up may take the other file" },
	[HM_RULE_MAPPINGS_PATH] = { "mappings-path", BROKEN, "standalone pprof does not find the file" },
	[HM_RULE_MAPPINGS_REAL_PATH] = { "mappings-real-path", HINT,
					 "one file has several names, and profiles do not add up" },
	[HM_RULE_MAPPINGS_DELETED] = { "mappings-deleted", BROKEN, "standalone pprof looks for that name" },
	[HM_RULE_MAPPINGS_BUILD_ID] = { "mappings-build-id", BROKEN,
					"no debuginfod and no reader finds the file by it" },
	[HM_RULE_MAPPINGS_SHORT_ID] = { "mappings-short-id", HINT,
					"no debuginfod and no reader finds the file by it" },
	[HM_RULE_MAPPINGS_NAMELESS] = { "mappings-nameless", HINT,
					"nobody can name its functions on another machine" },
	[HM_RULE_LOCATIONS_ADDRESS] = { "locations-address", BROKEN,
					"Alloy tells locations apart by it, Pyroscope drops what has no name "
					"either" },
	[HM_RULE_LOCATIONS_MAPPING] = { "locations-mapping", BROKEN, "go tool pprof refuses the file" },
	[HM_RULE_LOCATIONS_UNMAPPED] = { "locations-unmapped", BROKEN,
					 "it never cancels in a difference of two runs" },
	[HM_RULE_LOCATIONS_RANGE] = { "locations-range", BROKEN,
				      "standalone pprof computes wrong addresses for the whole mapping" },
	[HM_RULE_LOCATIONS_TWICE] = { "locations-twice", HINT, "Alloy takes the two for one" },
	[HM_RULE_LOCATIONS_FUNCTION] = { "locations-function", BROKEN, "go tool pprof refuses the file" },
	[HM_RULE_LOCATIONS_LINE] = { "locations-line", BROKEN, "no file has such a line" },
	[HM_RULE_FLAGS_PROMISE] = { "flags-promise", BROKEN,
				    "pprof, Parca and Pyroscope do not look for what is missing" },
	[HM_RULE_FLAGS_MODEST] = { "flags-modest", HINT,
				   "pprof looks for all names again, over HTTP by /symbol" },
	[HM_RULE_FUNCTIONS_NAME] = { "functions-name", BROKEN, "readers show nothing in its place" },
	[HM_RULE_FUNCTIONS_LINE] = { "functions-line", BROKEN, "no file has such a line" },
	[HM_RULE_FUNCTIONS_MANGLED] = { "functions-mangled", HINT,
					"Parca, Pyroscope and speedscope show it as the linker has it" },
	[HM_RULE_MEMORY] = { "memory", HINT, "some rules could not be checked" },
};

/* Texts of a file that may be anybody's stand in the sentence, and it goes to a terminal. */
static void make_printable(char *sentence)
{
	for (char *at = sentence; *at != '\0';) {
		const size_t size = hm_utf8_character(at, strlen(at));
		const bool control = (uint8_t)*at < 0x20 || *at == 0x7f ||
				     ((uint8_t)at[0] == 0xc2 && (uint8_t)at[1] < 0xa0);

		const size_t step = size == 0 ? 1 : size;

		if (size == 0 || control)
			memset(at, '?', step);
		at += step;
	}
}

static uint64_t reported_max(const struct rule *rule)
{
	return rule->severity == BROKEN ? BROKEN_REPORTED_MAX : HINTS_REPORTED_MAX;
}

static void report(struct hm_check *check, const struct rule *rule, const char *sentence)
{
	const struct hm_profile_finding finding = {
		.rule = rule->name,
		.sentence = sentence,
		.consequence = rule->consequence,
		.is_broken = rule->severity == BROKEN,
	};

	check->report(check->context, &finding);
}

void hm_check_found(struct hm_check *check, enum hm_check_rule rule, const char *format, ...)
{
	char sentence[SENTENCE_BYTES];
	va_list arguments;

	if (++check->counts[rule] > reported_max(&rules[rule]))
		return;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	make_printable(sentence);
	report(check, &rules[rule], sentence);
}

uint64_t hm_check_conclude(struct hm_check *check)
{
	char sentence[SENTENCE_BYTES];
	uint64_t broken_count = 0;

	for (uint32_t i = 0; i < HM_RULE_COUNT; i++) {
		if (rules[i].severity == BROKEN)
			broken_count += check->counts[i];
		if (check->counts[i] <= reported_max(&rules[i]))
			continue;
		snprintf(sentence, sizeof(sentence), "%llu more like these",
			 (unsigned long long)(check->counts[i] - reported_max(&rules[i])));
		report(check, &rules[i], sentence);
	}
	return broken_count;
}

void *hm_check_scratch(struct hm_check *check, size_t count, size_t element_bytes)
{
	void *const memory = hm_arena_allocate_array(&check->scratch, count, element_bytes);

	if (memory == NULL)
		hm_check_found(check, HM_RULE_MEMORY, "not enough memory to check a table of %zu entries",
			       count);
	return memory;
}

const char *hm_check_text(const struct hm_check *check, uint32_t index)
{
	return hm_profile_string(check->profile, index);
}

void hm_check_index(struct hm_check *check, uint32_t index, const char *what, uint32_t number)
{
	if (index == HM_PROFILE_NONE)
		hm_check_found(check, HM_RULE_STRINGS_INDEX, "%s %u refers to a text that does not exist",
			       what, number);
}

bool hm_check_is_short(const char *text)
{
	return strnlen(text, HM_CHECK_SHORT_BYTES + 1) <= HM_CHECK_SHORT_BYTES;
}
