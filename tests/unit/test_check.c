// SPDX-License-Identifier: Apache-2.0
/*
 * Each rule of profile_check.h, on a profile made wrong in exactly this way, and on one that is just right.
 */
#include "proto/check_rules.h"
#include "proto/profile_check.h"
#include "proto/profile_read.h"
#include "proto/profile_write.h"
#include "tests/unit/check.h"
#include "tests/unit/ledger_build.h"

#include <stdlib.h>
#include <time.h>

/* --- A good profile ------------------------------------------------------------------------------------ */

struct buffer {
	uint8_t *bytes;
	size_t size_bytes;
};

static int append(void *context, const void *data, size_t size_bytes)
{
	struct buffer *const buffer = context;

	buffer->bytes = realloc(buffer->bytes, buffer->size_bytes + size_bytes);
	memcpy(buffer->bytes + buffer->size_bytes, data, size_bytes);
	buffer->size_bytes += size_bytes;
	return 0;
}

/* A name, a file and a line for each; in modules that have a build id, with an inlined function before. */
static int resolve(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
		   const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		   enum hm_names_outcome *ret_outcome)
{
	const bool inlined = module->build_id_size != 0;

	(void)context;
	for (uint32_t i = 0; i < count; i++) {
		struct hm_line *const lines = hm_arena_allocate_array(arena, 2, sizeof(*lines));
		char *const name = hm_arena_allocate(arena, 64);

		snprintf(name, 64, "function_%lx", addresses[i] - module->start_address);
		lines[0] = (struct hm_line){ "inlined", "inlined", "/src/in.h", 7, 5 };
		lines[1] = (struct hm_line){ name, "_Z8mangled", "/src/a.c", 100 + i, 90 };
		ret_names[i] =
			(struct hm_location_name){ inlined ? lines : lines + 1, inlined ? 2 : 1, false };
	}
	*ret_outcome = HM_NAMES_FOUND;
	return 0;
}

static struct buffer write_good(void)
{
	struct ledger_build build;
	struct hm_snapshot snapshot = { 0 };
	struct buffer buffer = { 0 };
	const struct hm_sink sink = { append, &buffer };
	const struct hm_snapshot_options snapshot_options = {
		.realtime_ns = UINT64_C(1700000100) * 1000000000,
	};
	const struct hm_profile_options options = {
		.resolver = { .resolve = resolve },
		.producer = "heapmark test",
	};

	ledger_build_sample(&build);
	const struct hm_source source = hm_source_from_memory(build.bytes, ledger_build_length(&build));
	CHECK_EQ(hm_snapshot_take(&source, &snapshot_options, &snapshot, NULL), 0);
	CHECK_EQ(hm_profile_write(&snapshot, &options, &sink, NULL), 0);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
	return buffer;
}

/* --- Making it wrong ----------------------------------------------------------------------------------- */

static struct hm_profile *edited; /* the good profile, to be changed in one way */

static void *allocate(size_t count, size_t element_bytes)
{
	return hm_arena_allocate_array(&edited->arena, count, element_bytes);
}

static void set_text(uint32_t index, const char *text)
{
	edited->strings[index].text = text;
	edited->strings[index].length_bytes = strlen(text);
}

/* Another text for what has the index. */
static uint32_t new_text(const char *text)
{
	struct hm_profile_text *const strings = allocate(edited->string_count + 1, sizeof(*strings));

	memcpy(strings, edited->strings, edited->string_count * sizeof(*strings));
	edited->strings = strings;
	edited->string_count++;
	set_text(edited->string_count - 1, text);
	return edited->string_count - 1;
}

static struct hm_profile_sample *first_sample(void)
{
	return &edited->samples[0];
}

static void set_values(int64_t alloc_objects, int64_t alloc_space, int64_t inuse_objects, int64_t inuse_space)
{
	int64_t *const values = allocate(4, sizeof(*values));

	values[0] = alloc_objects;
	values[1] = alloc_space;
	values[2] = inuse_objects;
	values[3] = inuse_space;
	first_sample()->values = values;
}

static void set_labels(uint32_t count, struct hm_profile_label label)
{
	struct hm_profile_label *const labels = allocate(count, sizeof(*labels));

	for (uint32_t i = 0; i < count; i++)
		labels[i] = label;
	first_sample()->labels = labels;
	first_sample()->label_count = count;
}

static void set_number_label(const char *key, const char *unit)
{
	set_labels(1, (struct hm_profile_label){ .key = new_text(key), .number = 1, .unit = new_text(unit) });
}

/* Each with a key of its own. */
static void set_many_labels(uint32_t count)
{
	const uint32_t text = new_text("text");

	struct hm_profile_label *const labels = allocate(count, sizeof(*labels));

	for (uint32_t i = 0; i < count; i++) {
		char *const key = allocate(1, 16);

		snprintf(key, 16, "key%u", i);
		labels[i] = (struct hm_profile_label){ .key = new_text(key), .text = text };
	}
	first_sample()->labels = labels;
	first_sample()->label_count = count;
}

/* One key with so many texts, one in each sample. */
static void set_distinct_labels(uint32_t count)
{
	const uint32_t key = new_text("thread");

	for (uint32_t i = 0; i < edited->sample_count; i++) {
		struct hm_profile_label *const label = allocate(1, sizeof(*label));
		char *const text = allocate(1, 16);

		snprintf(text, 16, "worker-%u", i % count);
		*label = (struct hm_profile_label){ .key = key, .text = i < count ? new_text(text) : 0 };
		if (i >= count)
			label->text = edited->samples[i % count].labels[0].text;
		edited->samples[i].labels = label;
		edited->samples[i].label_count = 1;
	}
}

static void set_depth(uint32_t depth)
{
	uint32_t *const locations = allocate(depth, sizeof(*locations));

	first_sample()->locations = locations; /* all of them location 0 */
	first_sample()->location_count = depth;
}

static void set_sample_count(uint32_t count)
{
	struct hm_profile_sample *const samples = allocate(count, sizeof(*samples));

	for (uint32_t i = 0; i < count; i++)
		samples[i] = *first_sample();
	edited->samples = samples;
	edited->sample_count = count;
}

static void set_location(uint32_t location)
{
	uint32_t *const locations = allocate(1, sizeof(*locations));

	locations[0] = location;
	first_sample()->locations = locations;
	first_sample()->location_count = 1;
}

static void set_line(uint32_t function, int64_t number)
{
	struct hm_profile_location *const location = &edited->locations[0];
	struct hm_profile_line *const lines = allocate(location->line_count, sizeof(*lines));

	memcpy(lines, location->lines, location->line_count * sizeof(*lines));
	lines[0] = (struct hm_profile_line){ function, number };
	location->lines = lines;
}

static void set_comment(const char *text)
{
	edited->comments[0] = new_text(text);
}

static void set_drop_frames(const char *text)
{
	edited->drop_frames = new_text(text);
}

static void set_types(const char *const *names, uint32_t count)
{
	struct hm_profile_value_type *const types = allocate(count, sizeof(*types));

	for (uint32_t i = 0; i < count; i++) {
		types[i].type = new_text(names[i]);
		types[i].unit = new_text(strstr(names[i], "objects") != NULL ? "count" : "bytes");
	}
	edited->sample_types = types;
	edited->sample_type_count = count;
	for (uint32_t i = 0; i < edited->sample_count; i++) {
		int64_t *const values = allocate(count, sizeof(*values));

		for (uint32_t k = 0; k < count; k++)
			values[k] = 1;
		edited->samples[i].values = values;
		edited->samples[i].value_count = count;
	}
}

/* Of the text's length. */
static const char *long_text(size_t length)
{
	char *const text = allocate(length + 1, 1);

	memset(text, 'x', length);
	return text;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000;
}

/*
 * Changes the profile in way `way` of a group.  Returns the rule that this breaks, with *ret_sentence a part
 * of what has to be said; "" where nothing is broken; NULL behind the last way.
 */
#define BREAKS(rule, sentence)              \
	do {                                \
		*ret_sentence = (sentence); \
		return (rule);              \
	} while (0)
#define FINE() BREAKS("", "")

static const char *change_file(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		FINE();
	case 1:
		edited->gzipped = false;
		BREAKS("file-gzip", "not compressed");
	case 2:
		edited->trailing_bytes = 3;
		BREAKS("file-single", "3 bytes stand behind");
	case 3:
		edited->singular_repeated = 1;
		BREAKS("file-single", "one behind the other");
	case 4:
		edited->unknown_fields = 1;
		BREAKS("fields-known", "1 fields are none");
	case 5:
		edited->first_field = 2;
		BREAKS("fields-first", "first field is number 2");
	case 6:
		edited->fields_backwards = 2;
		BREAKS("fields-order", "2 fields stand behind");
	case 7:
		set_text(0, "x");
		BREAKS("strings-empty", "text 0 is not empty");
	case 8:
		set_text(5, "caf\xe9");
		BREAKS("strings-text", "text 5 is not valid UTF-8");
	case 9:
		edited->strings[5].length_bytes++; /* the NUL behind it */
		BREAKS("strings-text", "text 5");
	case 10:
		new_text("caf\xc3\xa9");
		FINE();
	case 11:
		edited->functions[0].system_name = HM_PROFILE_NONE;
		BREAKS("strings-index", "function 1 refers to a text that does not exist");
	case 12:
		edited->unpacked_bytes = (4 << 20) + 1;
		BREAKS("limit-bytes", "4194305 bytes unpacked");
	case 13:
		edited->unpacked_bytes = 4 << 20;
		FINE();
	default:
		return NULL;
	}
}

static const char *change_types(uint32_t way, const char **ret_sentence)
{
	static const char *const more[] = { "alloc_objects", "alloc_space",   "peak_objects",
					    "peak_space",    "inuse_objects", "inuse_space" };
	static const char *const twice[] = { "alloc_objects", "alloc_space", "alloc_space", "inuse_objects",
					     "inuse_space" };
	static const char *const behind[] = { "alloc_objects", "alloc_space", "inuse_objects", "inuse_space",
					      "peak_space" };
	static const char *const swapped[] = { "inuse_objects", "alloc_space", "alloc_objects",
					       "inuse_space" };
	static const char *const missing[] = { "alloc_objects", "inuse_objects", "inuse_space" };
	static const char *const named[] = { "alloc_objects", "alloc_space", "Peak-space", "inuse_objects",
					     "inuse_space" };

	switch (way) {
	case 0:
		set_types(more, 6);
		FINE();
	case 1:
		set_types(twice, 5);
		BREAKS("types-once", "alloc_space comes twice");
	case 2:
		set_types(behind, 5);
		BREAKS("types-last", "last sample type is peak_space");
	case 3:
		set_types(swapped, 4);
		BREAKS("types-go", "before one that belongs before it");
	case 4:
		set_types(missing, 3);
		BREAKS("types-go", "there is no sample type alloc_space");
	case 5:
		set_types(named, 5);
		BREAKS("types-name", "\"Peak-space\", is not of the form");
	case 6:
		edited->sample_type_count = 0;
		BREAKS("types-go", "no sample types");
	case 7:
		edited->sample_types[3].unit = edited->sample_types[0].unit;
		BREAKS("types-go", "inuse_space is in \"count\", not in bytes");
	case 8:
		set_text(edited->sample_types[1].unit, "pages");
		BREAKS("types-unit", "is not count, bytes or nanoseconds");
	case 9:
		edited->sample_types[0].unit = edited->sample_types[1].unit;
		BREAKS("types-count", "-mean");
	case 10:
		edited->sample_types[1].type = HM_PROFILE_NONE;
		BREAKS("strings-index", "sample type 1 refers");
	case 11:
		edited->default_sample_type = 0;
		BREAKS("default-type", "no default sample type");
	case 12:
		edited->default_sample_type = edited->period_type.type;
		BREAKS("default-type", "\"space\", is none of");
	case 13:
		edited->default_sample_type = edited->sample_types[1].type;
		BREAKS("default-last", "alloc_space, is not the last");
	case 14: {
		enum { TOO_MANY = 65 };
		const char *names[TOO_MANY];

		for (uint32_t i = 0; i < TOO_MANY; i++)
			names[i] = "inuse_space";
		set_types(names, TOO_MANY);
		BREAKS("types-go", "65 sample types");
	}
	default:
		return NULL;
	}
}

static const char *change_single_values(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		edited->has_period_type = false;
		BREAKS("period-type", "no period type");
	case 1:
		edited->period_type.unit = edited->sample_types[0].unit;
		BREAKS("period-type", "space/count, not space/bytes");
	case 2:
		edited->period = -1;
		BREAKS("period", "negative");
	case 3:
		edited->period = 0;
		BREAKS("period-unknown", "is 0 or missing");
	case 4:
		edited->period = 1;
		FINE();
	case 5:
		edited->time_ns = 0;
		BREAKS("time", "no time of collection");
	case 6:
		edited->time_ns = 1700000100; /* seconds */
		BREAKS("time-sane", "before the year 2000");
	case 7:
		edited->time_ns = now_ns() + INT64_C(3600) * 1000000000;
		BREAKS("time-sane", "in the future");
	case 8:
		edited->time_ns = now_ns() + INT64_C(60) * 1000000000;
		FINE();
	case 9:
		edited->time_ns = INT64_MAX;
		BREAKS("time-sane", "in the future");
	case 10:
		edited->duration_ns = -1;
		BREAKS("duration", "negative");
	case 11:
		edited->duration_ns = INT64_MAX;
		BREAKS("duration", "longer than");
	case 12:
		edited->duration_ns = INT64_C(60) * 1000000000;
		FINE();
	case 13:
		edited->doc_url = new_text("https://example.org");
		BREAKS("doc-url", "doc_url");
	default:
		return NULL;
	}
}

static const char *change_expressions(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		set_drop_frames("malloc(");
		BREAKS("frames-expression", "drop_frames is no regular expression: \"malloc(\"");
	case 1:
		edited->keep_frames = new_text("[a");
		BREAKS("frames-expression", "keep_frames is no regular expression: \"[a\"");
	case 2:
		set_drop_frames("(?:malloc)");
		BREAKS("frames-syntax", "longer or richer");
	case 3:
		set_drop_frames(long_text(4097));
		BREAKS("frames-syntax", "longer or richer");
	case 4:
		set_drop_frames("m.*");
		BREAKS("frames-main", "matches the function main");
	case 5:
		set_drop_frames("mai|m"); /* anchored by the reader */
		FINE();
	case 6:
		set_drop_frames("");
		FINE();
	case 7:
		edited->keep_frames = new_text("main");
		FINE();
	default:
		return NULL;
	}
}

static const char *change_comments(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		set_comment(long_text(257));
		BREAKS("comments-short", "more than 256 bytes");
	case 1:
		set_comment(long_text(256));
		FINE();
	case 2:
		set_comment("two\nlines");
		BREAKS("comments-short", "several lines");
	case 3:
		set_comment("#heapmark.machine=two\nlines");
		FINE();
	case 4:
		set_comment("executableInfo=3;0;0");
		BREAKS("comments-info", "1 comments begin with executableInfo= for 3 mappings");
	case 5:
		for (uint32_t i = 0; i < edited->mapping_count; i++)
			edited->comments[i] = new_text("executableInfo=3;0;0");
		FINE();
	case 6:
		edited->comments[0] = HM_PROFILE_NONE;
		BREAKS("strings-index", "comment 0 refers");
	default:
		return NULL;
	}
}

static const char *change_samples(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		first_sample()->value_count = 3;
		BREAKS("samples-values", "has 3 values for 4");
	case 1:
		set_values(1, 1, 1, -1);
		BREAKS("samples-sign", "value 3 of sample 0 is negative");
	case 2:
		set_values(0, 0, 0, 0);
		BREAKS("samples-zero", "values of sample 0 are zero");
	case 3:
		set_values(2, 20, 2, 21);
		BREAKS("samples-kept", "inuse_space of sample 0 is more than its alloc_space");
	case 4:
		set_values(2, 20, 3, 20);
		BREAKS("samples-kept", "inuse_objects of sample 0 is more");
	case 5:
		set_values(2, 20, 2, 21);
		edited->duration_ns = 1; /* of a difference */
		FINE();
	case 6:
		set_values(2, 20, 2, 20);
		FINE();
	case 7:
		set_values(0, 20, 0, 0);
		BREAKS("samples-objects", "sample 0 has alloc_space and no alloc_objects");
	case 8:
		set_values(1, 20, 0, 20);
		BREAKS("samples-objects", "sample 0 has inuse_space and no inuse_objects");
	case 9:
		set_values(1, 0, 1, 0); /* malloc(0) */
		FINE();
	case 10:
		edited->sample_count = 0;
		BREAKS("samples-none", "no samples");
	case 11:
		set_values(1, 20, 0, 0);
		set_sample_count(2);
		BREAKS("samples-shown", "shown first are zero");
	case 12:
		first_sample()->location_count = 0;
		BREAKS("samples-stack", "sample 0 has no location");
	case 13:
		set_location(HM_PROFILE_NONE);
		BREAKS("samples-location", "frame 0 of sample 0 is a location that does not exist");
	case 14:
		set_depth(1001);
		BREAKS("limit-depth", "1001 locations deep");
	case 15:
		set_depth(1000);
		FINE();
	case 16:
		set_sample_count(16001);
		BREAKS("limit-samples", "16001 samples");
	case 17:
		set_sample_count(16000);
		FINE();
	case 18:
		set_values(2, 20, -1, -10);
		edited->duration_ns = 1;
		FINE();
	case 19:
		set_values(-1, -10, 1, 10);
		edited->duration_ns = 1;
		BREAKS("samples-sign", "value 0 of sample 0 is negative");
	default:
		return NULL;
	}
}

static const char *change_labels(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		set_labels(1, (struct hm_profile_label){ .text = new_text("x") });
		BREAKS("labels-key", "has no key");
	case 1:
		set_number_label("pprof::base", "bytes");
		BREAKS("labels-reserved", "keeps for itself");
	case 2:
		set_labels(1, (struct hm_profile_label){ .key = new_text("size"), .number = 1 });
		BREAKS("labels-unit", "size of sample 0 is a number without a unit");
	case 3:
		set_labels(1, (struct hm_profile_label){ .key = new_text("size") });
		BREAKS("labels-unit", "a number without a unit");
	case 4:
		set_number_label("age", "seconds");
		FINE();
	case 5:
		set_labels(2, (struct hm_profile_label){ .key = new_text("a"), .text = new_text("x") });
		BREAKS("labels-once", "label a of sample 0 comes twice");
	case 6:
		set_labels(1, (struct hm_profile_label){
				      .key = new_text("a"), .text = new_text("x"), .number = 1 });
		BREAKS("labels-kind", "a text and a number");
	case 7:
		set_number_label("age", "seconds");
		edited->samples[1] = *first_sample();
		set_labels(1, (struct hm_profile_label){ .key = first_sample()->labels[0].key,
							 .number = 1,
							 .unit = new_text("minutes") });
		BREAKS("labels-units", "age of sample 1 is in \"seconds\", before in \"minutes\"");
	case 8:
		set_number_label("bytes", "kilobytes");
		BREAKS("labels-bytes", "\"kilobytes\", not in bytes");
	case 9:
		set_number_label("bytes", "bytes");
		FINE();
	case 10:
		set_distinct_labels(101);
		BREAKS("labels-distinct", "thread has 101 different values");
	case 11:
		set_distinct_labels(100);
		FINE();
	case 12:
		set_many_labels(101);
		BREAKS("limit-labels", "101 labels");
	case 13:
		set_many_labels(100);
		FINE();
	case 14:
		set_labels(1, (struct hm_profile_label){ .key = HM_PROFILE_NONE, .text = new_text("x") });
		BREAKS("strings-index", "a label of sample 0 refers");
	default:
		return NULL;
	}
}

static const char *change_mappings(uint32_t way, const char **ret_sentence)
{
	struct hm_profile_mapping *const main = &edited->mappings[0];
	struct hm_profile_mapping *const library = &edited->mappings[1];

	switch (way) {
	case 0:
		library->id = 9;
		BREAKS("ids-order", "mapping 2 has id 9");
	case 1:
		library->id = UINT64_C(1) << 31;
		BREAKS("ids-size", "mapping 2 has id 2147483648");
	case 2:
		library->end_address = library->start_address;
		BREAKS("mappings-range", "mapping 2 is empty");
	case 3:
		library->file_offset = 17;
		BREAKS("mappings-pages", "mapping 2 (/usr/lib/libsubject.so.1) is not made of whole pages");
	case 4:
		library->end_address++;
		BREAKS("mappings-pages", "whole pages");
	case 5:
		library->start_address = main->start_address + 4096;
		library->end_address = main->start_address + 8192;
		BREAKS("mappings-overlap", "mapping 2 (/usr/lib/libsubject.so.1) lies over mapping 1");
	case 6:
		main->end_address = library->start_address;
		FINE();
	case 7:
		set_text(main->file, "subject");
		BREAKS("mappings-path", "\"subject\", is not an absolute path");
	case 8:
		set_text(main->file, "/usr/bin/../bin/subject");
		BREAKS("mappings-real-path", "is not its real path");
	case 9:
		set_text(main->file, "/usr/bin//subject");
		BREAKS("mappings-real-path", "is not its real path");
	case 10:
		set_text(main->file, "/bin/subject (deleted)");
		BREAKS("mappings-deleted", "looked for under that name");
	case 11:
		set_text(library->build_id, "ABCD");
		BREAKS("mappings-build-id", "\"ABCD\", is not lower-case hexadecimal");
	case 12:
		set_text(library->build_id, "abcdef0");
		BREAKS("mappings-build-id", "lower-case hexadecimal");
	case 13:
		set_text(library->build_id, "0123456789abcd");
		BREAKS("mappings-short-id", "only a part");
	case 14:
		set_text(library->build_id, "0123456789abcdef");
		FINE();
	case 15:
		main->file = edited->mappings[2].file;
		BREAKS("mappings-main", "[heapmark], is not the executable");
	case 16:
		main->file = library->file;
		BREAKS("mappings-library", "libsubject.so.1, has the name of a library");
	case 17:
		set_text(library->file, "/memfd:jit (deleted)");
		set_text(main->file, "/memfd:program");
		FINE();
	case 18:
		edited->mapping_count = 0;
		for (uint32_t i = 0; i < edited->location_count; i++)
			edited->locations[i].mapping = HM_PROFILE_NONE;
		BREAKS("mappings-none", "no mappings");
	default:
		return NULL;
	}
}

/* The first location that has an inlined function: it is in the library, mapping 2, which has a build id. */
static struct hm_profile_location *inlined_location(void)
{
	struct hm_profile_location *location = edited->locations;

	while (location->line_count < 2)
		location++;
	return location;
}

static const char *change_locations(uint32_t way, const char **ret_sentence)
{
	struct hm_profile_location *const location = &edited->locations[0];
	const struct hm_profile_mapping *const main = &edited->mappings[0];

	switch (way) {
	case 0:
		edited->locations[4].id = 1;
		BREAKS("ids-order", "location 5 has id 1");
	case 1:
		location->address = 0;
		BREAKS("locations-address", "location 1 has no address");
	case 2:
		location->address = main->end_address;
		BREAKS("locations-range", "location 1 (0x555555664000) lies outside of its mapping 1");
	case 3:
		location->address = main->end_address - 1;
		FINE();
	case 4:
		location->mapping = HM_PROFILE_NONE;
		BREAKS("locations-unmapped", "has no mapping");
	case 5:
		location->mapping = HM_PROFILE_NONE;
		location->mapping_unknown = true;
		BREAKS("locations-mapping", "a mapping that does not exist");
	case 6:
		edited->locations[1].address = location->address;
		edited->locations[1].mapping = location->mapping;
		BREAKS("locations-twice", "locations 1 and 2 have one address");
	case 7:
		set_line(HM_PROFILE_NONE, 1);
		BREAKS("locations-function", "location 1 has a function that does not exist");
	case 8:
		set_line(0, -1);
		BREAKS("locations-line", "location 1 has a negative line number");
	default:
		return NULL;
	}
}

/* What a mapping says of its locations. */
static const char *change_flags(uint32_t way, const char **ret_sentence)
{
	struct hm_profile_location *const location = &edited->locations[0];
	struct hm_profile_location *const inlined = inlined_location();
	struct hm_profile_mapping *const main = &edited->mappings[0];
	struct hm_profile_mapping *const library = &edited->mappings[1];

	switch (way) {
	case 0:
		location->line_count = 0;
		BREAKS("flags-promise", "promises functions, location 1 has none");
	case 1:
		edited->functions[location->lines[0].function].file = 0;
		BREAKS("flags-promise", "promises source files, location 1 has none");
	case 2:
		set_line(0, 0);
		BREAKS("flags-promise", "promises line numbers, location 1 has none");
	case 3:
		library->has_inline_frames = false;
		BREAKS("flags-promise", "has inlined functions, of which mapping");
	case 4:
		main->has_functions = false;
		BREAKS("flags-modest", "has all functions and does not say so");
	case 5:
		inlined->line_count = 0;
		library->has_functions = false;
		library->has_filenames = false;
		library->has_line_numbers = false;
		FINE(); /* somebody may find them by the build id */
	case 6:
		location->line_count = 0;
		BREAKS("mappings-nameless", "1 locations of mapping 1 (/usr/bin/subject) have no function");
	case 7:
		edited->functions[location->lines[0].function].name = new_text("subject+0x1234");
		BREAKS("mappings-nameless", "1 locations of mapping 1");
	case 8:
		edited->functions[location->lines[0].function].name = new_text("subject+0x1234");
		main->has_functions = false;
		main->build_id = new_text("0123456789abcdef");
		FINE();
	default:
		return NULL;
	}
}

static const char *change_functions(uint32_t way, const char **ret_sentence)
{
	switch (way) {
	case 0:
		edited->functions[0].id = 0;
		BREAKS("ids-order", "function 1 has id 0");
	case 1:
		edited->functions[0].name = 0;
		BREAKS("functions-name", "function 1 has no name");
	case 2:
		edited->functions[0].start_line = -1;
		BREAKS("functions-line", "function 1 starts at a negative line");
	case 3:
		edited->functions[0].name = new_text("_ZN1a1bEv");
		BREAKS("functions-mangled", "function 1, _ZN1a1bEv, is not demangled");
	case 4:
		edited->functions[0].name = new_text("_RNvC1a1b");
		BREAKS("functions-mangled", "_RNvC1a1b");
	case 5:
		edited->functions[0].name = new_text("_Read");
		FINE();
	case 6:
		edited->functions[0].name = new_text("caf\xc3\xa9\x1b[31m");
		edited->functions[0].start_line = -1;
		BREAKS("functions-line", "function 1 starts");
	case 7:
		set_text(edited->mappings[0].file, "\x1b[31mred\xc2\x85 caf\xc3\xa9\xff");
		BREAKS("mappings-path", "\"?[31mred?? caf\xc3\xa9?\"");
	default:
		return NULL;
	}
}

static const char *(*const changes[])(uint32_t way, const char **ret_sentence) = {
	change_file,      change_types,   change_single_values, change_expressions,
	change_comments,  change_samples, change_labels,        change_mappings,
	change_locations, change_flags,   change_functions,
};

/* --- Whether it is found ------------------------------------------------------------------------------- */

enum { NAMES_MAX = 128 };

/* The rules that were seen broken. */
static const char *seen_names[NAMES_MAX];
static uint32_t seen_count;

static void note_name(const char *name)
{
	for (uint32_t i = 0; i < seen_count; i++)
		if (strcmp(seen_names[i], name) == 0)
			return;
	if (CHECK(seen_count < NAMES_MAX))
		seen_names[seen_count++] = name;
}

struct found {
	const char *rule;
	const char *sentence; /* a part of it */
	bool seen;
	uint32_t count;
	uint32_t broken_count;
};

static void note_finding(void *context, const struct hm_profile_finding *finding)
{
	struct found *const found = context;
	const bool is_it = strcmp(finding->rule, found->rule) == 0;

	CHECK(finding->consequence != NULL && finding->consequence[0] != '\0');
	if (is_it)
		note_name(finding->rule);
	found->seen = found->seen || (is_it && strstr(finding->sentence, found->sentence) != NULL);
	found->count++;
	found->broken_count += finding->is_broken;
	if (found->rule[0] == '\0')
		fprintf(stderr, "\t%s: %s\n", finding->rule, finding->sentence);
}

/* Whether there was such a way. */
static bool test_change(const struct buffer *good, uint32_t group, uint32_t way)
{
	struct hm_profile profile;
	struct found found = { 0 };

	if (!CHECK_EQ(hm_profile_read(good->bytes, good->size_bytes, &profile, NULL), 0))
		return false;
	edited = &profile;
	found.rule = changes[group](way, &found.sentence);
	const bool there = found.rule != NULL;
	if (there) {
		const uint64_t broken_count = hm_profile_check(&profile, note_finding, &found);
		const bool as_expected = found.rule[0] == '\0' ? CHECK_EQ(found.count, 0) : CHECK(found.seen);

		CHECK_EQ(broken_count > 0, found.broken_count > 0);
		if (!as_expected)
			fprintf(stderr, "\tway %u of group %u: \"%s\" of %s\n", way, group, found.sentence,
				found.rule);
	}
	hm_profile_done(&profile);
	return there;
}

static void test_every_rule(const struct buffer *good)
{
	for (uint32_t group = 0; group < sizeof(changes) / sizeof(changes[0]); group++)
		for (uint32_t way = 0; test_change(good, group, way); way++)
			;
	/* all but "memory", which is test_no_memory's */
	CHECK_EQ(seen_count, HM_RULE_COUNT - 1);
}

/* Many of one kind: ten of them, three where it is a hint, and how many more. */
static void test_many(const struct buffer *good)
{
	struct hm_profile profile;
	struct found found = { .rule = "samples-values", .sentence = "189 more like these" };

	CHECK_EQ(hm_profile_read(good->bytes, good->size_bytes, &profile, NULL), 0);
	for (uint32_t i = 0; i < profile.sample_count - 1; i++)
		profile.samples[i].value_count = 1;
	CHECK_EQ(hm_profile_check(&profile, note_finding, &found), 199);
	CHECK(found.seen);
	CHECK_EQ(found.broken_count, 11);
	hm_profile_done(&profile);

	found = (struct found){ .rule = "functions-mangled", .sentence = "7 more like these" };
	CHECK_EQ(hm_profile_read(good->bytes, good->size_bytes, &profile, NULL), 0);
	edited = &profile;
	const uint32_t mangled = new_text("_ZN1a1bEv");
	for (uint32_t i = 0; i < 10; i++)
		profile.functions[i].name = mangled;
	CHECK_EQ(hm_profile_check(&profile, note_finding, &found), 0); /* hints break nothing */
	CHECK(found.seen);
	CHECK_EQ(found.count, 4);
	hm_profile_done(&profile);
}

static void test_no_memory(const struct buffer *good)
{
	struct hm_profile profile;
	struct found found = { .rule = "memory", .sentence = "not enough memory to check a table of" };
	struct hm_check check = { .profile = &profile, .report = note_finding, .context = &found };

	CHECK_EQ(hm_profile_read(good->bytes, good->size_bytes, &profile, NULL), 0);
	hm_arena_init(&check.scratch, 0);
	hm_check_tables(&check);
	CHECK(found.seen);
	CHECK_EQ(hm_check_conclude(&check), 0);
	hm_profile_done(&profile);
}

int main(void)
{
	const struct buffer good = write_good();

	test_every_rule(&good);
	test_many(&good);
	test_no_memory(&good);
	free(good.bytes);
	return check_result();
}
