// SPDX-License-Identifier: Apache-2.0
/*
 * A profile is written in one pass, message after message in the order of the format: each small message is
 * packed as a Profile that holds nothing else, and the pieces, one behind the other, are the whole.
 *
 * Before that, everything that is named by a number is put in order (proto/profile_layout.h), and locations
 * get their names (proto/profile_names.h).
 */
#include "proto/profile_write.h"

#include "proto/profile.pb-c.h"
#include "proto/profile_comments.h"
#include "proto/profile_layout.h"
#include "proto/profile_names.h"
#include "proto/string_table.h"

#include <errno.h>
#include <string.h>

enum {
	PACKED_BYTES_FIRST = 4096,
	VALUE_COUNT = 4,
	FUNCTIONS_FIRST = 1024,
	/* One for each loss and one for the machine; the notes on modules; and some twenty others. */
	COMMENTS_OF_OURS_MAX = 2 * HM_LOSS_KINDS + HM_UNNAMED_COMMENTS_MAX + 32,
};

/*
 * Functions that allocate for whoever called them, as the linker and as people write them.  Anchored by the
 * reader, which first takes the arguments off a demangled name.
 */
static const char drop_frames[] =
	"malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|valloc|pvalloc|"
	"__libc_(malloc|calloc|realloc|memalign|valloc|pvalloc)|_*strn?dup|"
	"operator new(\\[\\])?|_Zn[wa]m.*";

static const char default_sample_type[] = "inuse_space";

struct function {
	uint32_t name;
	uint32_t system_name;
	uint32_t file;
	uint32_t start_line;
};

struct writer {
	const struct hm_snapshot *snapshot;       /* borrowed */
	const struct hm_profile_options *options; /* borrowed */
	struct hm_gzip *gzip;
	struct hm_arena arena; /* owns everything below */
	uint8_t *packed;
	size_t packed_capacity_bytes;
	uint64_t raw_bytes;
	int error; /* the first one; nothing is written after it */

	struct hm_profile_layout layout;
	struct hm_location_name *names; /* of all locations */

	struct hm_string_table strings;
	struct function *functions;
	uint32_t *function_slots; /* index + 1; 0: empty; twice function_capacity */
	uint32_t function_count;
	uint32_t function_capacity;

	int64_t *comments; /* texts */
	size_t comment_count;

	struct hm_profile_written written;
};

/* --- Names -------------------------------------------------------------------------------------------- */

static void add_comment(void *context, const char *comment)
{
	struct writer *const writer = context;

	writer->comments[writer->comment_count++] = hm_string_table_index(&writer->strings, comment);
}

static int name_locations(struct writer *writer)
{
	struct hm_unnamed_modules unnamed;
	const int error = hm_profile_name_locations(&writer->layout, &writer->options->resolver, add_comment,
						    writer, &writer->names, &unnamed);

	writer->written.modules_no_file = unnamed.no_file;
	writer->written.modules_other_file = unnamed.other_file;
	writer->written.modules_not_elf = unnamed.not_elf;
	return error;
}

/* --- Functions ---------------------------------------------------------------------------------------- */

static uint32_t *find_function(const struct writer *writer, const struct function *function)
{
	const uint32_t mask = 2 * writer->function_capacity - 1;
	const uint64_t mixed = ((uint64_t)function->name << 32 | function->file) ^
			       ((uint64_t)function->system_name << 16 | (uint64_t)function->start_line << 40);
	uint32_t slot = (uint32_t)(mixed * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (writer->function_slots[slot] != 0 &&
	       memcmp(&writer->functions[writer->function_slots[slot] - 1], function, sizeof(*function)) != 0)
		slot = (slot + 1) & mask;
	return &writer->function_slots[slot];
}

static bool grow_functions(struct writer *writer)
{
	const uint32_t capacity =
		writer->function_capacity == 0 ? FUNCTIONS_FIRST : 2 * writer->function_capacity;
	struct function *const functions =
		hm_arena_allocate_array(&writer->arena, capacity, sizeof(*functions));
	uint32_t *const slots = hm_arena_allocate_array(&writer->arena, 2 * (size_t)capacity, sizeof(*slots));

	if (functions == NULL || slots == NULL)
		return false;
	if (writer->function_count > 0)
		memcpy(functions, writer->functions, writer->function_count * sizeof(*functions));
	writer->functions = functions;
	writer->function_slots = slots;
	writer->function_capacity = capacity;
	for (uint32_t i = 0; i < writer->function_count; i++)
		*find_function(writer, &functions[i]) = i + 1;
	return true;
}

/* The id of a line's function, which is new at its first use.  0 where memory ran out. */
static uint64_t function_id(struct writer *writer, const struct hm_line *line)
{
	const struct function function = {
		.name = hm_string_table_index(&writer->strings, line->name),
		.system_name = hm_string_table_index(&writer->strings, line->system_name),
		.file = hm_string_table_index(&writer->strings, line->file != NULL ? line->file : ""),
		.start_line = line->start_line,
	};

	if (writer->function_count == writer->function_capacity && !grow_functions(writer)) {
		writer->error = -ENOMEM;
		return 0;
	}
	uint32_t *const slot = find_function(writer, &function);
	if (*slot == 0) {
		writer->functions[writer->function_count++] = function;
		*slot = writer->function_count;
	}
	return *slot;
}

/* --- The file ----------------------------------------------------------------------------------------- */

/*
 * Writes a part of the profile: a Profile in which only some fields are set, and which fits
 * PACKED_BYTES_FIRST whatever is in it.
 */
static void emit_small(struct writer *writer, const Perftools__Profiles__Profile *part)
{
	if (writer->error != 0)
		return;
	const size_t size_bytes = perftools__profiles__profile__pack(part, writer->packed);

	writer->raw_bytes += size_bytes;
	writer->error = hm_gzip_write(writer->gzip, writer->packed, size_bytes);
}

/* The same for a part of any size. */
static void emit(struct writer *writer, const Perftools__Profiles__Profile *part)
{
	const size_t size_bytes = perftools__profiles__profile__get_packed_size(part);

	if (writer->error != 0)
		return;
	if (size_bytes > writer->packed_capacity_bytes) {
		uint8_t *const larger = hm_arena_allocate(&writer->arena, 2 * size_bytes);

		if (larger == NULL) {
			writer->error = -ENOMEM;
			return;
		}
		writer->packed = larger;
		writer->packed_capacity_bytes = 2 * size_bytes;
	}
	emit_small(writer, part);
}

static void set_value_type(struct writer *writer, Perftools__Profiles__ValueType *ret_type, const char *type,
			   const char *unit)
{
	ret_type->type = hm_string_table_index(&writer->strings, type);
	ret_type->unit = hm_string_table_index(&writer->strings, unit);
}

static void emit_sample_types(struct writer *writer)
{
	static const char *const types[VALUE_COUNT][2] = {
		{ "alloc_objects", "count" },
		{ "alloc_space", "bytes" },
		{ "inuse_objects", "count" },
		{ default_sample_type, "bytes" },
	};

	for (uint32_t i = 0; i < VALUE_COUNT; i++) {
		Perftools__Profiles__ValueType type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
		Perftools__Profiles__ValueType *one[] = { &type };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		set_value_type(writer, &type, types[i][0], types[i][1]);
		part.n_sample_type = 1;
		part.sample_type = one;
		emit(writer, &part);
	}
}

/* A stack, or what is of one age of it.  The locations are those of `sample`. */
static void emit_part(struct writer *writer, Perftools__Profiles__Sample *sample,
		      const struct hm_part *values, bool is_mapped)
{
	int64_t list[VALUE_COUNT] = { values->alloc_objects, values->alloc_bytes, values->inuse_objects,
				      values->inuse_bytes };
	Perftools__Profiles__Label kind = PERFTOOLS__PROFILES__LABEL__INIT;
	Perftools__Profiles__Label age = PERFTOOLS__PROFILES__LABEL__INIT;
	Perftools__Profiles__Label *labels[2];
	Perftools__Profiles__Sample *one[] = { sample };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	sample->n_value = VALUE_COUNT;
	sample->value = list;
	sample->n_label = 0;
	sample->label = labels;
	if (is_mapped) {
		kind.key = hm_string_table_index(&writer->strings, HM_KIND_LABEL);
		kind.str = hm_string_table_index(&writer->strings, HM_KIND_MAPPED);
		labels[sample->n_label++] = &kind;
	}
	if (values->age != HM_AGE_NONE) {
		age.key = hm_string_table_index(&writer->strings, HM_AGE_LABEL);
		age.num = hm_age_seconds[values->age];
		age.num_unit = hm_string_table_index(&writer->strings, HM_AGE_UNIT);
		labels[sample->n_label++] = &age;
	}
	part.n_sample = 1;
	part.sample = one;
	emit_small(writer, &part);
	writer->written.sample_count++;
}

static void emit_samples(struct writer *writer)
{
	/* A varint has at most 10 bytes; tags, lengths and the labels are in the 128. */
	static_assert((HM_PROFILE_FRAMES_MAX + VALUE_COUNT) * 10 + 128 <= PACKED_BYTES_FIRST,
		      "a sample is a small part");

	for (uint32_t i = 0; i < writer->layout.sample_count; i++) {
		uint64_t ids[HM_PROFILE_FRAMES_MAX];
		struct hm_part parts[HM_PARTS_MAX];
		Perftools__Profiles__Sample sample = PERFTOOLS__PROFILES__SAMPLE__INIT;
		const struct hm_layout_sample *const written = &writer->layout.samples[i];
		const uint32_t stack_index = (uint32_t)(written->stack - writer->snapshot->stacks);
		const uint32_t part_count = hm_ages_split(writer->snapshot, stack_index, parts);

		for (uint32_t k = 0; k < written->location_count; k++)
			ids[k] = (uint64_t)written->locations[k] + 1;
		sample.n_location_id = written->location_count;
		sample.location_id = ids;
		for (uint32_t k = 0; k < part_count; k++) {
			if (writer->options->ret_stacks != NULL)
				writer->options->ret_stacks[writer->written.sample_count] = stack_index;
			emit_part(writer, &sample, &parts[k], (written->stack->flags & HM_STACK_MAPPED) != 0);
		}
	}
}

static void emit_mapping(struct writer *writer, struct hm_layout_mapping *mapping, uint64_t id)
{
	const struct hm_snapshot_module *const module = mapping->module;
	char build_id[2 * HM_BUILD_ID_MAX + 1] = "";
	Perftools__Profiles__Mapping message = PERFTOOLS__PROFILES__MAPPING__INIT;
	Perftools__Profiles__Mapping *one[] = { &message };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	for (uint32_t i = 0; module != NULL && i < module->build_id_size; i++) {
		build_id[2 * i] = "0123456789abcdef"[module->build_id[i] >> 4];
		build_id[2 * i + 1] = "0123456789abcdef"[module->build_id[i] & 0xf];
	}
	mapping->id = id;
	message.id = id;
	message.memory_start = mapping->start_address;
	message.memory_limit = mapping->end_address;
	message.file_offset = module != NULL ? module->file_offset : 0;
	message.filename = hm_string_table_index(&writer->strings, mapping->file);
	message.build_id = hm_string_table_index(&writer->strings, build_id);
	message.has_functions = mapping->location_count > 0 && mapping->placeholder_count == 0;
	message.has_filenames = mapping->location_count > 0 && mapping->fileless_count == 0;
	message.has_line_numbers = mapping->location_count > 0 && mapping->lineless_count == 0;
	message.has_inline_frames = mapping->has_inline_frames && message.has_line_numbers;
	part.n_mapping = 1;
	part.mapping = one;
	emit(writer, &part);
}

static void emit_mappings(struct writer *writer)
{
	const struct hm_profile_layout *const layout = &writer->layout;
	const uint32_t count = layout->module_count + 2; /* and [anon] and [heapmark] */
	uint64_t id = 0;

	emit_mapping(writer, hm_layout_main(layout), ++id);
	for (struct hm_layout_mapping *mapping = layout->mappings; mapping != layout->mappings + count;
	     mapping++) {
		if (mapping->location_count > 0 && mapping->id == 0)
			emit_mapping(writer, mapping, ++id);
	}
}

static void emit_location(struct writer *writer, uint32_t index, Perftools__Profiles__Line *lines,
			  Perftools__Profiles__Line **line_pointers)
{
	const struct hm_location_name *const name = &writer->names[index];
	Perftools__Profiles__Location location = PERFTOOLS__PROFILES__LOCATION__INIT;
	Perftools__Profiles__Location *one[] = { &location };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	for (uint32_t i = 0; i < name->line_count; i++) {
		perftools__profiles__line__init(&lines[i]);
		lines[i].function_id = function_id(writer, &name->lines[i]);
		lines[i].line = name->lines[i].line;
		line_pointers[i] = &lines[i];
	}
	location.id = (uint64_t)index + 1;
	location.mapping_id = hm_layout_mapping_of(&writer->layout, index)->id;
	location.address = writer->layout.addresses[index];
	location.n_line = name->line_count;
	location.line = line_pointers;
	part.n_location = 1;
	part.location = one;
	emit(writer, &part);
}

static void emit_locations(struct writer *writer)
{
	uint32_t lines_max = 1;

	for (uint32_t i = 0; i < writer->layout.location_count; i++) {
		if (writer->names[i].line_count > lines_max)
			lines_max = writer->names[i].line_count;
	}
	Perftools__Profiles__Line *const lines =
		hm_arena_allocate_array(&writer->arena, lines_max, sizeof(*lines));
	Perftools__Profiles__Line **const pointers =
		hm_arena_allocate_array(&writer->arena, lines_max, sizeof(*pointers));
	if (lines == NULL || pointers == NULL) {
		writer->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < writer->layout.location_count && writer->error == 0; i++)
		emit_location(writer, i, lines, pointers);
}

static void emit_functions(struct writer *writer)
{
	for (uint32_t i = 0; i < writer->function_count; i++) {
		const struct function *const function = &writer->functions[i];
		Perftools__Profiles__Function message = PERFTOOLS__PROFILES__FUNCTION__INIT;
		Perftools__Profiles__Function *one[] = { &message };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		message.id = (uint64_t)i + 1;
		message.name = function->name;
		message.system_name = function->system_name;
		message.filename = function->file;
		message.start_line = function->start_line;
		part.n_function = 1;
		part.function = one;
		emit(writer, &part);
	}
}

/* Packed by protobuf-c as char *, which it does not write to. */
static void emit_strings(struct writer *writer)
{
	for (uint32_t i = 0; i < writer->strings.count; i++) {
		union {
			const char *text;
			char *packed;
		} string = { .text = writer->strings.texts[i] };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		part.n_string_table = 1;
		part.string_table = &string.packed;
		emit(writer, &part);
	}
}

static int64_t clip(uint64_t number)
{
	return number < INT64_MAX ? (int64_t)number : INT64_MAX;
}

/* The single values, which stand behind the string table: their texts are entered into it before it is
 * written. */
static void emit_strings_and_rest(struct writer *writer)
{
	const struct hm_snapshot *const snapshot = writer->snapshot;
	Perftools__Profiles__ValueType period_type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
	Perftools__Profiles__Profile rest = PERFTOOLS__PROFILES__PROFILE__INIT;

	set_value_type(writer, &period_type, "space", "bytes");
	rest.drop_frames = hm_string_table_index(&writer->strings, drop_frames);
	rest.time_nanos = clip(snapshot->realtime_ns);
	rest.period_type = &period_type;
	rest.period = clip(snapshot->interval_bytes);
	hm_profile_comment_snapshot(snapshot, writer->options->producer, add_comment, writer);
	for (size_t i = 0; i < writer->options->comment_count; i++)
		add_comment(writer, writer->options->comments[i]);
	rest.n_comment = writer->comment_count;
	rest.comment = writer->comments;
	rest.default_sample_type =
		hm_string_table_index(&writer->strings, writer->options->default_sample_type != NULL
								? writer->options->default_sample_type
								: default_sample_type);

	emit_strings(writer);
	emit(writer, &rest);
	if (writer->strings.failed && writer->error == 0)
		writer->error = -ENOMEM;
}

/* Everything that is known before the first byte is written.  Files are opened for names only here. */
static int prepare(struct writer *writer)
{
	const size_t comment_count_max = COMMENTS_OF_OURS_MAX + writer->options->comment_count;

	hm_arena_init(&writer->arena, SIZE_MAX);
	writer->packed = hm_arena_allocate(&writer->arena, PACKED_BYTES_FIRST);
	writer->packed_capacity_bytes = PACKED_BYTES_FIRST;
	writer->comments =
		hm_arena_allocate_array(&writer->arena, comment_count_max, sizeof(*writer->comments));
	hm_string_table_init(&writer->strings, &writer->arena);
	if (writer->packed == NULL || writer->comments == NULL)
		return -ENOMEM;
	const int error = hm_profile_lay_out(writer->snapshot, &writer->arena, &writer->layout);
	return error != 0 ? error : name_locations(writer);
}

static int write_prepared(struct writer *writer, const struct hm_sink *sink)
{
	writer->gzip = hm_gzip_open(&writer->arena, sink);
	if (writer->gzip == NULL)
		return -ENOMEM;
	emit_sample_types(writer);
	emit_samples(writer);
	emit_mappings(writer);
	emit_locations(writer);
	emit_functions(writer);
	emit_strings_and_rest(writer);
	return writer->error != 0 ? writer->error : hm_gzip_finish(writer->gzip);
}

/* Says what was written, where something was, and gives everything back. */
static void finish(struct writer *writer, int error, struct hm_profile_written *ret_written)
{
	if (error == 0 && ret_written != NULL) {
		*ret_written = writer->written;
		ret_written->location_count = writer->layout.location_count;
		ret_written->function_count = writer->function_count;
		ret_written->raw_bytes = writer->raw_bytes;
		ret_written->memory_bytes = writer->arena.mapped_bytes;
	}
	hm_arena_done(&writer->arena);
}

int hm_profile_write(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
		     const struct hm_sink *sink, struct hm_profile_written *ret_written)
{
	struct writer writer = { .snapshot = snapshot, .options = options };
	int error = prepare(&writer);

	if (error == 0)
		error = write_prepared(&writer, sink);
	finish(&writer, error, ret_written);
	return error;
}

static int write_file(struct writer *writer, const char *path, enum hm_output_mode mode)
{
	/* 8 KiB of paths: this may run on a small stack. */
	struct hm_output_file *const file = hm_arena_allocate(&writer->arena, sizeof(*file));
	int error = file == NULL ? -ENOMEM : hm_output_open(path, mode, file);

	if (error != 0)
		return error;
	const struct hm_sink sink = hm_output_sink(file);
	error = write_prepared(writer, &sink);
	if (error == 0)
		return hm_output_commit(file);
	hm_output_abandon(file);
	return error;
}

int hm_profile_write_file(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
			  const char *path, enum hm_output_mode mode, struct hm_profile_written *ret_written)
{
	struct writer writer = { .snapshot = snapshot, .options = options };
	int error = prepare(&writer);

	/* Only now: the program may have one descriptor left, and the files with the names needed it. */
	if (error == 0)
		error = write_file(&writer, path, mode);
	finish(&writer, error, ret_written);
	return error;
}
