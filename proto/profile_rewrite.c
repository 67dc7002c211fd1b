// SPDX-License-Identifier: Apache-2.0
#include "proto/profile_rewrite.h"

#include "proto/profile.pb-c.h"
#include "proto/string_table.h"

#include <errno.h>
#include <string.h>

enum { FUNCTIONS_FIRST = 1024 };

/* A function of the new profile; texts are indexes into its text table. */
struct function {
	uint64_t name;
	uint64_t system_name;
	uint64_t file;
	int64_t start_line;
};

/* How many of a mapping's locations lack what a flag promises. */
struct flags {
	uint32_t location_count;
	uint32_t nameless_count;
	uint32_t fileless_count;
	uint32_t lineless_count;
	bool has_inline_frames;
	bool is_changed;
};

struct rewriter {
	const struct hm_profile *profile; /* borrowed; so is the next */
	const struct hm_location_name *const *names;
	struct hm_gzip *gzip;
	struct hm_arena arena; /* owns everything below */
	uint8_t *packed;
	size_t packed_capacity_bytes;
	uint64_t *numbers; /* room for the longest list of one message */
	int error;         /* the first one; nothing is written after it */

	struct hm_string_table new_texts; /* number i of them, from 1 on, is text string_count + i - 1 */
	struct flags *flags;              /* of each mapping */
	uint64_t *kept_ids;               /* of each old function; 0: not in use */
	struct function *functions;
	uint32_t *function_slots; /* index + 1; 0: empty; twice function_capacity */
	uint32_t function_count;
	uint32_t function_capacity;
};

static void fail(struct rewriter *rewriter, int error)
{
	if (rewriter->error == 0)
		rewriter->error = error;
}

static void *allocate(struct rewriter *rewriter, size_t count, size_t element_bytes)
{
	/* one more: an empty list is no failure */
	void *const memory = hm_arena_allocate_array(&rewriter->arena, count + 1, element_bytes);

	if (memory == NULL)
		fail(rewriter, -ENOMEM);
	return memory;
}

/* An old text where it stands in the new profile: in the same place. */
static int64_t old_text(struct rewriter *rewriter, uint32_t index)
{
	if (index >= rewriter->profile->string_count) {
		fail(rewriter, -EBADMSG);
		return 0;
	}
	return index;
}

static int64_t new_text(struct rewriter *rewriter, const char *text)
{
	const uint32_t index = text != NULL ? hm_string_table_index(&rewriter->new_texts, text) : 0;

	return index == 0 ? 0 : (int64_t)rewriter->profile->string_count + index - 1;
}

/* --- Functions ---------------------------------------------------------------------------------------- */

static uint32_t *find_function(const struct rewriter *rewriter, const struct function *function)
{
	const uint32_t mask = 2 * rewriter->function_capacity - 1;
	const uint64_t mixed = (function->name << 32 | function->file) ^
			       (function->system_name << 16 | (uint64_t)function->start_line << 40);
	/* Multiplied by 2^64 / golden ratio, the high bits of the product depend on all of it. */
	uint32_t slot = (uint32_t)(mixed * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (rewriter->function_slots[slot] != 0 &&
	       memcmp(&rewriter->functions[rewriter->function_slots[slot] - 1], function,
		      sizeof(*function)) != 0)
		slot = (slot + 1) & mask;
	return &rewriter->function_slots[slot];
}

static bool grow_functions(struct rewriter *rewriter)
{
	const uint32_t capacity =
		rewriter->function_capacity == 0 ? FUNCTIONS_FIRST : 2 * rewriter->function_capacity;
	struct function *const functions = allocate(rewriter, capacity, sizeof(*functions));
	uint32_t *const slots = allocate(rewriter, 2 * (size_t)capacity, sizeof(*slots));

	if (functions == NULL || slots == NULL)
		return false;
	if (rewriter->function_count > 0)
		memcpy(functions, rewriter->functions, rewriter->function_count * sizeof(*functions));
	rewriter->functions = functions;
	rewriter->function_slots = slots;
	rewriter->function_capacity = capacity;
	for (uint32_t i = 0; i < rewriter->function_count; i++)
		*find_function(rewriter, &functions[i]) = i + 1;
	return true;
}

/* The id of a function, which is new at its first use.  0 where memory ran out. */
static uint64_t function_id(struct rewriter *rewriter, const struct function *function)
{
	if (rewriter->function_count == rewriter->function_capacity && !grow_functions(rewriter))
		return 0;

	uint32_t *const slot = find_function(rewriter, function);

	if (*slot == 0) {
		rewriter->functions[rewriter->function_count++] = *function;
		*slot = rewriter->function_count;
	}
	return *slot;
}

static uint64_t new_function_id(struct rewriter *rewriter, const struct hm_line *line)
{
	const struct function function = {
		.name = (uint64_t)new_text(rewriter, line->name),
		.system_name = (uint64_t)new_text(rewriter, line->system_name),
		.file = (uint64_t)new_text(rewriter, line->file),
		.start_line = line->start_line,
	};

	return function_id(rewriter, &function);
}

/* Numbers the functions that stay: those of every location that keeps its lines. */
static void keep_functions(struct rewriter *rewriter)
{
	const struct hm_profile *const profile = rewriter->profile;

	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];

		for (uint32_t k = 0; rewriter->names[i] == NULL && k < location->line_count; k++) {
			if (location->lines[k].function == HM_PROFILE_NONE)
				fail(rewriter, -EBADMSG);
			else
				rewriter->kept_ids[location->lines[k].function] = 1;
		}
	}
	for (uint32_t i = 0; i < profile->function_count && rewriter->error == 0; i++) {
		const struct hm_profile_function *const old = &profile->functions[i];
		const struct function function = {
			.name = (uint64_t)old_text(rewriter, old->name),
			.system_name = (uint64_t)old_text(rewriter, old->system_name),
			.file = (uint64_t)old_text(rewriter, old->file),
			.start_line = old->start_line,
		};

		if (rewriter->kept_ids[i] != 0)
			rewriter->kept_ids[i] = function_id(rewriter, &function);
	}
}

/* --- What mappings promise ---------------------------------------------------------------------------- */

static void note_new(struct flags *flags, const struct hm_location_name *name)
{
	bool all_files = true;
	bool all_lines = true;

	for (uint32_t i = 0; i < name->line_count; i++) {
		all_files = all_files && name->lines[i].file != NULL && name->lines[i].file[0] != '\0';
		all_lines = all_lines && name->lines[i].line != 0;
	}
	flags->nameless_count += name->placeholder;
	flags->fileless_count += !all_files;
	flags->lineless_count += !all_lines;
	flags->has_inline_frames |= name->line_count > 1;
	flags->is_changed = true;
}

static void note_kept(struct flags *flags, const struct hm_profile *profile,
		      const struct hm_profile_location *location)
{
	bool all_names = location->line_count > 0;
	bool all_files = all_names;
	bool all_lines = all_names;

	for (uint32_t i = 0; i < location->line_count; i++) {
		const uint32_t index = location->lines[i].function;
		const struct hm_profile_function *const function =
			index == HM_PROFILE_NONE ? NULL : &profile->functions[index];

		all_names = all_names && function != NULL &&
			    hm_profile_string(profile, function->name)[0] != '\0';
		all_files = all_files && function != NULL &&
			    hm_profile_string(profile, function->file)[0] != '\0';
		all_lines = all_lines && location->lines[i].line != 0;
	}
	flags->nameless_count += !all_names;
	flags->fileless_count += !all_files;
	flags->lineless_count += !all_lines;
	flags->has_inline_frames |= location->line_count > 1;
}

static void count_flags(struct rewriter *rewriter)
{
	const struct hm_profile *const profile = rewriter->profile;

	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];

		if (location->mapping_unknown)
			fail(rewriter, -EBADMSG);
		if (location->mapping == HM_PROFILE_NONE)
			continue;
		struct flags *const flags = &rewriter->flags[location->mapping];
		flags->location_count++;
		if (rewriter->names[i] != NULL)
			note_new(flags, rewriter->names[i]);
		else
			note_kept(flags, profile, location);
	}
}

/* --- The file ----------------------------------------------------------------------------------------- */

/* Writes a part of the profile: a Profile in which only some fields are set. */
static void emit(struct rewriter *rewriter, const Perftools__Profiles__Profile *part)
{
	const size_t size_bytes = perftools__profiles__profile__get_packed_size(part);

	if (rewriter->error == 0 && size_bytes > rewriter->packed_capacity_bytes) {
		rewriter->packed = allocate(rewriter, 2 * size_bytes, 1);
		rewriter->packed_capacity_bytes = 2 * size_bytes;
	}
	if (rewriter->error != 0)
		return;
	(void)perftools__profiles__profile__pack(part, rewriter->packed);
	rewriter->error = hm_gzip_write(rewriter->gzip, rewriter->packed, size_bytes);
}

static void set_value_type(struct rewriter *rewriter, const struct hm_profile_value_type *type,
			   Perftools__Profiles__ValueType *ret_message)
{
	perftools__profiles__value_type__init(ret_message);
	ret_message->type = old_text(rewriter, type->type);
	ret_message->unit = old_text(rewriter, type->unit);
}

static void emit_sample_types(struct rewriter *rewriter)
{
	for (uint32_t i = 0; i < rewriter->profile->sample_type_count; i++) {
		Perftools__Profiles__ValueType type;
		Perftools__Profiles__ValueType *one[] = { &type };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		set_value_type(rewriter, &rewriter->profile->sample_types[i], &type);
		part.n_sample_type = 1;
		part.sample_type = one;
		emit(rewriter, &part);
	}
}

/* The labels of a sample, as pointers to messages in memory that is used for one sample after the other. */
static void set_labels(struct rewriter *rewriter, const struct hm_profile_sample *sample,
		       Perftools__Profiles__Label *labels, Perftools__Profiles__Label **pointers)
{
	for (uint32_t i = 0; i < sample->label_count; i++) {
		const struct hm_profile_label *const label = &sample->labels[i];

		perftools__profiles__label__init(&labels[i]);
		labels[i].key = old_text(rewriter, label->key);
		labels[i].str = old_text(rewriter, label->text);
		labels[i].num = label->number;
		labels[i].num_unit = old_text(rewriter, label->unit);
		pointers[i] = &labels[i];
	}
}

/* Lists are borrowed from the profile, but for what protobuf-c takes as writable. */
static void emit_sample(struct rewriter *rewriter, const struct hm_profile_sample *old,
			Perftools__Profiles__Label *labels, Perftools__Profiles__Label **pointers)
{
	const struct hm_profile *const profile = rewriter->profile;
	uint64_t *const ids = rewriter->numbers;
	int64_t *const values = (int64_t *)rewriter->numbers + old->location_count;
	Perftools__Profiles__Sample sample = PERFTOOLS__PROFILES__SAMPLE__INIT;
	Perftools__Profiles__Sample *one[] = { &sample };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	for (uint32_t i = 0; i < old->location_count; i++) {
		if (old->locations[i] == HM_PROFILE_NONE)
			fail(rewriter, -EBADMSG);
		else
			ids[i] = profile->locations[old->locations[i]].id;
	}
	memcpy(values, old->values, old->value_count * sizeof(*values));
	set_labels(rewriter, old, labels, pointers);
	sample.n_location_id = old->location_count;
	sample.location_id = ids;
	sample.n_value = old->value_count;
	sample.value = values;
	sample.n_label = old->label_count;
	sample.label = pointers;
	part.n_sample = 1;
	part.sample = one;
	emit(rewriter, &part);
}

static void emit_samples(struct rewriter *rewriter)
{
	const struct hm_profile *const profile = rewriter->profile;
	size_t numbers_max = 0;
	uint32_t labels_max = 0;

	for (uint32_t i = 0; i < profile->sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile->samples[i];
		const size_t numbers = (size_t)sample->location_count + sample->value_count;

		numbers_max = numbers > numbers_max ? numbers : numbers_max;
		labels_max = sample->label_count > labels_max ? sample->label_count : labels_max;
	}
	rewriter->numbers = allocate(rewriter, numbers_max, sizeof(*rewriter->numbers));
	Perftools__Profiles__Label *const labels = allocate(rewriter, labels_max, sizeof(*labels));
	Perftools__Profiles__Label **const pointers = allocate(rewriter, labels_max, sizeof(*pointers));
	for (uint32_t i = 0; i < profile->sample_count && rewriter->error == 0; i++)
		emit_sample(rewriter, &profile->samples[i], labels, pointers);
}

static void emit_mapping(struct rewriter *rewriter, uint32_t index)
{
	const struct hm_profile_mapping *const old = &rewriter->profile->mappings[index];
	const struct flags *const flags = &rewriter->flags[index];
	Perftools__Profiles__Mapping mapping = PERFTOOLS__PROFILES__MAPPING__INIT;
	Perftools__Profiles__Mapping *one[] = { &mapping };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	mapping.id = old->id;
	mapping.memory_start = old->start_address;
	mapping.memory_limit = old->end_address;
	mapping.file_offset = old->file_offset;
	mapping.filename = old_text(rewriter, old->file);
	mapping.build_id = old_text(rewriter, old->build_id);
	mapping.has_functions = flags->is_changed ? flags->nameless_count == 0 : old->has_functions;
	mapping.has_filenames = flags->is_changed ? flags->fileless_count == 0 : old->has_filenames;
	mapping.has_line_numbers = flags->is_changed ? flags->lineless_count == 0 : old->has_line_numbers;
	mapping.has_inline_frames = flags->is_changed ? flags->has_inline_frames && flags->lineless_count == 0
						      : old->has_inline_frames;
	part.n_mapping = 1;
	part.mapping = one;
	emit(rewriter, &part);
}

static uint32_t line_count_of(const struct rewriter *rewriter, uint32_t index)
{
	return rewriter->names[index] != NULL ? rewriter->names[index]->line_count
					      : rewriter->profile->locations[index].line_count;
}

static void set_line(struct rewriter *rewriter, uint32_t index, uint32_t i,
		     Perftools__Profiles__Line *ret_line)
{
	const struct hm_location_name *const name = rewriter->names[index];
	const struct hm_profile_line *const old = &rewriter->profile->locations[index].lines[i];

	perftools__profiles__line__init(ret_line);
	ret_line->function_id =
		name != NULL ? new_function_id(rewriter, &name->lines[i]) : rewriter->kept_ids[old->function];
	ret_line->line = name != NULL ? (int64_t)name->lines[i].line : old->line;
}

static void emit_location(struct rewriter *rewriter, uint32_t index, Perftools__Profiles__Line *lines,
			  Perftools__Profiles__Line **pointers)
{
	const struct hm_profile *const profile = rewriter->profile;
	const struct hm_profile_location *const old = &profile->locations[index];
	Perftools__Profiles__Location location = PERFTOOLS__PROFILES__LOCATION__INIT;
	Perftools__Profiles__Location *one[] = { &location };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
	const uint32_t line_count = line_count_of(rewriter, index);

	for (uint32_t i = 0; i < line_count; i++) {
		set_line(rewriter, index, i, &lines[i]);
		pointers[i] = &lines[i];
	}
	location.id = old->id;
	location.mapping_id = old->mapping == HM_PROFILE_NONE ? 0 : profile->mappings[old->mapping].id;
	location.address = old->address;
	location.is_folded = old->folded;
	location.n_line = line_count;
	location.line = pointers;
	part.n_location = 1;
	part.location = one;
	emit(rewriter, &part);
}

static void emit_locations(struct rewriter *rewriter)
{
	uint32_t lines_max = 0;

	for (uint32_t i = 0; i < rewriter->profile->location_count; i++) {
		const uint32_t count = line_count_of(rewriter, i);

		lines_max = count > lines_max ? count : lines_max;
	}
	Perftools__Profiles__Line *const lines = allocate(rewriter, lines_max, sizeof(*lines));
	Perftools__Profiles__Line **const pointers = allocate(rewriter, lines_max, sizeof(*pointers));
	for (uint32_t i = 0; i < rewriter->profile->location_count && rewriter->error == 0; i++)
		emit_location(rewriter, i, lines, pointers);
}

static void emit_functions(struct rewriter *rewriter)
{
	for (uint32_t i = 0; i < rewriter->function_count; i++) {
		const struct function *const function = &rewriter->functions[i];
		Perftools__Profiles__Function message = PERFTOOLS__PROFILES__FUNCTION__INIT;
		Perftools__Profiles__Function *one[] = { &message };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		message.id = (uint64_t)i + 1;
		message.name = (int64_t)function->name;
		message.system_name = (int64_t)function->system_name;
		message.filename = (int64_t)function->file;
		message.start_line = function->start_line;
		part.n_function = 1;
		part.function = one;
		emit(rewriter, &part);
	}
}

/* Packed by protobuf-c as char *, which it does not write to. */
static void emit_text(struct rewriter *rewriter, const char *text)
{
	union {
		const char *text;
		char *packed;
	} string = { .text = text };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	part.n_string_table = 1;
	part.string_table = &string.packed;
	emit(rewriter, &part);
}

static void emit_texts(struct rewriter *rewriter)
{
	for (uint32_t i = 0; i < rewriter->profile->string_count; i++)
		emit_text(rewriter, rewriter->profile->strings[i].text);
	for (uint32_t i = 1; i < rewriter->new_texts.count; i++)
		emit_text(rewriter, rewriter->new_texts.texts[i]);
	if (rewriter->new_texts.failed)
		fail(rewriter, -ENOMEM);
}

static void emit_rest(struct rewriter *rewriter)
{
	const struct hm_profile *const profile = rewriter->profile;
	Perftools__Profiles__ValueType period_type;
	Perftools__Profiles__Profile rest = PERFTOOLS__PROFILES__PROFILE__INIT;
	int64_t *const comments = allocate(rewriter, profile->comment_count, sizeof(*comments));

	if (comments == NULL)
		return;
	for (uint32_t i = 0; i < profile->comment_count; i++)
		comments[i] = old_text(rewriter, profile->comments[i]);
	set_value_type(rewriter, &profile->period_type, &period_type);
	rest.drop_frames = old_text(rewriter, profile->drop_frames);
	rest.keep_frames = old_text(rewriter, profile->keep_frames);
	rest.time_nanos = profile->time_ns;
	rest.duration_nanos = profile->duration_ns;
	rest.period_type = profile->has_period_type ? &period_type : NULL;
	rest.period = profile->period;
	rest.n_comment = profile->comment_count;
	rest.comment = comments;
	rest.default_sample_type = old_text(rewriter, profile->default_sample_type);
	rest.doc_url = old_text(rewriter, profile->doc_url);
	emit(rewriter, &rest);
}

static void emit_all(struct rewriter *rewriter)
{
	emit_sample_types(rewriter);
	emit_samples(rewriter);
	for (uint32_t i = 0; i < rewriter->profile->mapping_count; i++)
		emit_mapping(rewriter, i);
	emit_locations(rewriter);
	emit_functions(rewriter);
	emit_texts(rewriter);
	emit_rest(rewriter);
}

int hm_profile_rewrite(const struct hm_profile *profile, const struct hm_location_name *const *names,
		       const struct hm_sink *sink)
{
	struct rewriter rewriter = { .profile = profile, .names = names };

	hm_arena_init(&rewriter.arena, SIZE_MAX);
	hm_string_table_init(&rewriter.new_texts, &rewriter.arena);
	rewriter.flags = allocate(&rewriter, profile->mapping_count, sizeof(*rewriter.flags));
	rewriter.kept_ids = allocate(&rewriter, profile->function_count, sizeof(*rewriter.kept_ids));
	rewriter.gzip = hm_gzip_open(&rewriter.arena, sink);
	if (rewriter.gzip == NULL)
		fail(&rewriter, -ENOMEM);
	if (rewriter.error == 0)
		keep_functions(&rewriter);
	if (rewriter.error == 0)
		count_flags(&rewriter);
	if (rewriter.error == 0)
		emit_all(&rewriter);
	if (rewriter.error == 0)
		rewriter.error = hm_gzip_finish(rewriter.gzip);
	hm_arena_done(&rewriter.arena);
	return rewriter.error;
}
