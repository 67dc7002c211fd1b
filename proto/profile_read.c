// SPDX-License-Identifier: Apache-2.0
/*
 * The decoder is our own, not protobuf-c's: it counts before it allocates, so that memory is bounded by what
 * is in the file and not by what the file makes a general decoder build; it sees fields that are unknown or
 * come twice; and it is a second opinion on what protobuf-c writes.
 */
#include "proto/profile_read.h"

#include "proto/gzip.h"
#include "proto/sort.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES_FIRST = 64 << 10 };

/* Numbers of fields; those of proto/profile.proto. */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING_TABLE = 6,
	PROFILE_DROP_FRAMES = 7,
	PROFILE_KEEP_FRAMES = 8,
	PROFILE_TIME_NANOS = 9,
	PROFILE_DURATION_NANOS = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_COMMENT = 13,
	PROFILE_DEFAULT_SAMPLE_TYPE = 14,
	PROFILE_DOC_URL = 15,
	PROFILE_FIELDS,
};

/* Bytes of a message not yet decoded. */
struct cursor {
	const uint8_t *at; /* borrowed */
	const uint8_t *end;
};

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5,
};

struct field {
	uint32_t number;
	enum wire_type wire;
	uint64_t value;      /* of a varint */
	struct cursor bytes; /* of anything else */
};

/* Finds the index of an id. */
struct id_table {
	struct id_entry {
		uint64_t id;
		uint32_t index;
	} * entries; /* ascending by id; NULL: ids are 1, 2, 3 ... as they should be */
	uint32_t count;
};

struct reader {
	struct hm_profile profile;
	struct cursor message;           /* the whole profile; borrowed */
	uint32_t counts[PROFILE_FIELDS]; /* how often each field of Profile comes; of comments: how many
					    numbers */
	struct id_table mapping_ids;
	struct id_table location_ids;
	struct id_table function_ids;
	uint32_t strings_read;
	bool failed; /* memory ran out */
};

static bool read_varint(struct cursor *cursor, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (uint32_t shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
		const uint8_t byte = *cursor->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool read_bytes(struct cursor *cursor, uint64_t size_bytes, struct cursor *ret_bytes)
{
	if (size_bytes > (uint64_t)(cursor->end - cursor->at))
		return false;
	*ret_bytes = (struct cursor){ cursor->at, cursor->at + size_bytes };
	cursor->at += size_bytes;
	return true;
}

/* The next field; false where the bytes are not one. */
static bool read_field(struct cursor *cursor, struct field *ret_field)
{
	uint64_t tag;
	uint64_t size_bytes;

	if (!read_varint(cursor, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
		return false;
	*ret_field = (struct field){ .number = (uint32_t)(tag >> 3), .wire = tag & 7 };
	switch (ret_field->wire) {
	case WIRE_VARINT:
		return read_varint(cursor, &ret_field->value);
	case WIRE_FIXED64:
		return read_bytes(cursor, 8, &ret_field->bytes);
	case WIRE_BYTES:
		return read_varint(cursor, &size_bytes) && read_bytes(cursor, size_bytes, &ret_field->bytes);
	case WIRE_FIXED32:
		return read_bytes(cursor, 4, &ret_field->bytes);
	}
	return false;
}

static bool is_done(const struct cursor *cursor)
{
	return cursor->at == cursor->end;
}

/* The next number of a repeated field, which comes as one varint or as many in a row. */
static bool next_number(struct field *field, uint64_t *ret_number)
{
	if (field->wire == WIRE_VARINT) {
		*ret_number = field->value;
		*field = (struct field){ .wire = WIRE_BYTES };
		return true;
	}
	return !is_done(&field->bytes) && read_varint(&field->bytes, ret_number);
}

/* Adds how many numbers a repeated field holds.  False where it does not hold numbers. */
static bool count_numbers(struct field field, uint32_t *count)
{
	uint64_t number;

	if (field.wire != WIRE_VARINT && field.wire != WIRE_BYTES)
		return false;
	while (next_number(&field, &number))
		++*count;
	return is_done(&field.bytes);
}

/* A message of `count` single numbers: ret_numbers[i] is field i + 1.  False where it cannot be decoded. */
static bool read_numbers(struct reader *reader, struct cursor bytes, uint64_t *ret_numbers, uint32_t count)
{
	uint32_t seen = 0;
	struct field field;

	memset(ret_numbers, 0, count * sizeof(*ret_numbers));
	while (!is_done(&bytes)) {
		if (!read_field(&bytes, &field))
			return false;
		if (field.number > count) {
			reader->profile.unknown_fields++;
			continue;
		}
		if (field.wire != WIRE_VARINT)
			return false;
		reader->profile.singular_repeated += seen >> field.number & 1;
		seen |= UINT32_C(1) << field.number;
		ret_numbers[field.number - 1] = field.value;
	}
	return true;
}

/* An index into the string table, or "none". */
static uint32_t text_index(const struct reader *reader, uint64_t number)
{
	return number < reader->profile.string_count ? (uint32_t)number : HM_PROFILE_NONE;
}

static void *allocate(struct reader *reader, size_t count, size_t element_bytes)
{
	void *const memory = hm_arena_allocate_array(&reader->profile.arena, count, element_bytes);

	reader->failed = reader->failed || memory == NULL;
	return memory;
}

/* --- Ids ---------------------------------------------------------------------------------------------- */

static int compare_entries(const void *left, const void *right, const void *context)
{
	const struct id_entry *const l = left;
	const struct id_entry *const r = right;

	(void)context;
	return (l->id > r->id) - (l->id < r->id);
}

/* `first_id` is the id in the first of `count` structures of element_bytes each. */
static bool make_id_table(struct reader *reader, struct id_table *table, const uint64_t *first_id,
			  uint32_t count, size_t element_bytes)
{
	bool sequential = true;

	table->count = count;
	for (uint32_t i = 0; i < count && sequential; i++)
		sequential =
			*(const uint64_t *)((const uint8_t *)first_id + i * element_bytes) == (uint64_t)i + 1;
	if (sequential)
		return true;
	struct id_entry *const entries = allocate(reader, 2 * (size_t)count, sizeof(*entries));
	if (entries == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		entries[i].id = *(const uint64_t *)((const uint8_t *)first_id + i * element_bytes);
		entries[i].index = i;
	}
	hm_sort(entries, entries + count, count, sizeof(*entries), compare_entries, NULL);
	table->entries = entries;
	return true;
}

/* Of equal ids the first in the file. */
static uint32_t find_id(const struct id_table *table, uint64_t id)
{
	uint32_t low = 0;
	uint32_t high = table->count;

	if (id == 0)
		return HM_PROFILE_NONE;
	if (table->entries == NULL)
		return id <= table->count ? (uint32_t)id - 1 : HM_PROFILE_NONE;
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (table->entries[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->count && table->entries[low].id == id ? table->entries[low].index
								  : HM_PROFILE_NONE;
}

/* --- Messages ----------------------------------------------------------------------------------------- */

static bool read_value_type(struct reader *reader, struct cursor bytes,
			    struct hm_profile_value_type *ret_type)
{
	uint64_t numbers[2];

	if (!read_numbers(reader, bytes, numbers, 2))
		return false;
	ret_type->type = text_index(reader, numbers[0]);
	ret_type->unit = text_index(reader, numbers[1]);
	return true;
}

static bool read_mapping(struct reader *reader, struct cursor bytes, struct hm_profile_mapping *ret_mapping)
{
	uint64_t numbers[10];

	if (!read_numbers(reader, bytes, numbers, 10))
		return false;
	*ret_mapping = (struct hm_profile_mapping){
		.id = numbers[0],
		.start_address = numbers[1],
		.end_address = numbers[2],
		.file_offset = numbers[3],
		.file = text_index(reader, numbers[4]),
		.build_id = text_index(reader, numbers[5]),
		.has_functions = numbers[6] != 0,
		.has_filenames = numbers[7] != 0,
		.has_line_numbers = numbers[8] != 0,
		.has_inline_frames = numbers[9] != 0,
	};
	return true;
}

static bool read_function(struct reader *reader, struct cursor bytes,
			  struct hm_profile_function *ret_function)
{
	uint64_t numbers[5];

	if (!read_numbers(reader, bytes, numbers, 5))
		return false;
	*ret_function = (struct hm_profile_function){
		.id = numbers[0],
		.name = text_index(reader, numbers[1]),
		.system_name = text_index(reader, numbers[2]),
		.file = text_index(reader, numbers[3]),
		.start_line = (int64_t)numbers[4],
	};
	return true;
}

static bool read_string(struct reader *reader, struct cursor bytes, struct hm_profile_text *ret_text)
{
	const size_t length_bytes = (size_t)(bytes.end - bytes.at);

	ret_text->text = hm_arena_copy_text(&reader->profile.arena, (const char *)bytes.at, length_bytes);
	ret_text->length_bytes = length_bytes;
	reader->failed = reader->failed || ret_text->text == NULL;
	return ret_text->text != NULL;
}

static bool read_line(struct reader *reader, struct cursor bytes, struct hm_profile_line *ret_line)
{
	uint64_t numbers[2];

	if (!read_numbers(reader, bytes, numbers, 2))
		return false;
	ret_line->function = find_id(&reader->function_ids, numbers[0]);
	ret_line->line = (int64_t)numbers[1];
	return true;
}

enum {
	LOCATION_ID = 1,
	LOCATION_MAPPING_ID,
	LOCATION_ADDRESS,
	LOCATION_LINE,
	LOCATION_IS_FOLDED,
	LOCATION_FIELDS
};

/* All but the lines, which are counted. */
static bool read_location_numbers(struct reader *reader, struct cursor bytes,
				  struct hm_profile_location *ret_location)
{
	uint64_t numbers[LOCATION_FIELDS] = { 0 };
	uint32_t seen = 0;
	struct field field;

	while (!is_done(&bytes)) {
		if (!read_field(&bytes, &field))
			return false;
		if (field.number >= LOCATION_FIELDS) {
			reader->profile.unknown_fields++;
			continue;
		}
		if (field.wire != (field.number == LOCATION_LINE ? WIRE_BYTES : WIRE_VARINT))
			return false;
		if (field.number == LOCATION_LINE) {
			ret_location->line_count++;
			continue;
		}
		reader->profile.singular_repeated += seen >> field.number & 1;
		seen |= UINT32_C(1) << field.number;
		numbers[field.number] = field.value;
	}
	ret_location->id = numbers[LOCATION_ID];
	ret_location->mapping = find_id(&reader->mapping_ids, numbers[LOCATION_MAPPING_ID]);
	ret_location->mapping_unknown =
		numbers[LOCATION_MAPPING_ID] != 0 && ret_location->mapping == HM_PROFILE_NONE;
	ret_location->address = numbers[LOCATION_ADDRESS];
	ret_location->folded = numbers[LOCATION_IS_FOLDED] != 0;
	return true;
}

static bool read_location(struct reader *reader, struct cursor bytes,
			  struct hm_profile_location *ret_location)
{
	struct field field;
	uint32_t count = 0;

	if (!read_location_numbers(reader, bytes, ret_location))
		return false;
	struct hm_profile_line *const lines = allocate(reader, ret_location->line_count, sizeof(*lines));
	if (lines == NULL)
		return false;
	ret_location->lines = lines;
	while (!is_done(&bytes) && read_field(&bytes, &field)) {
		if (field.number == LOCATION_LINE && !read_line(reader, field.bytes, &lines[count++]))
			return false;
	}
	return true;
}

static bool read_label(struct reader *reader, struct cursor bytes, struct hm_profile_label *ret_label)
{
	uint64_t numbers[4];

	if (!read_numbers(reader, bytes, numbers, 4))
		return false;
	*ret_label = (struct hm_profile_label){
		.key = text_index(reader, numbers[0]),
		.text = text_index(reader, numbers[1]),
		.number = (int64_t)numbers[2],
		.unit = text_index(reader, numbers[3]),
	};
	return true;
}

enum { SAMPLE_LOCATION_ID = 1, SAMPLE_VALUE, SAMPLE_LABEL, SAMPLE_FIELDS };

static bool count_sample(struct reader *reader, struct cursor bytes, struct hm_profile_sample *ret_sample)
{
	struct field field;
	bool good = true;

	while (good && !is_done(&bytes)) {
		good = read_field(&bytes, &field);
		if (!good)
			break;
		if (field.number == SAMPLE_LOCATION_ID)
			good = count_numbers(field, &ret_sample->location_count);
		else if (field.number == SAMPLE_VALUE)
			good = count_numbers(field, &ret_sample->value_count);
		else if (field.number == SAMPLE_LABEL)
			good = field.wire == WIRE_BYTES;
		ret_sample->label_count += field.number == SAMPLE_LABEL;
		reader->profile.unknown_fields += field.number >= SAMPLE_FIELDS;
	}
	return good;
}

static bool read_sample(struct reader *reader, struct cursor bytes, struct hm_profile_sample *ret_sample)
{
	uint32_t location_count = 0;
	uint32_t value_count = 0;
	uint32_t label_count = 0;
	uint64_t number;
	struct field field;

	if (!count_sample(reader, bytes, ret_sample))
		return false;
	uint32_t *const locations = allocate(reader, ret_sample->location_count, sizeof(*locations));
	int64_t *const values = allocate(reader, ret_sample->value_count, sizeof(*values));
	struct hm_profile_label *const labels = allocate(reader, ret_sample->label_count, sizeof(*labels));
	if (locations == NULL || values == NULL || labels == NULL)
		return false;
	ret_sample->locations = locations;
	ret_sample->values = values;
	ret_sample->labels = labels;
	while (!is_done(&bytes) && read_field(&bytes, &field)) {
		while (field.number == SAMPLE_LOCATION_ID && next_number(&field, &number))
			locations[location_count++] = find_id(&reader->location_ids, number);
		while (field.number == SAMPLE_VALUE && next_number(&field, &number))
			values[value_count++] = (int64_t)number;
		if (field.number == SAMPLE_LABEL && !read_label(reader, field.bytes, &labels[label_count++]))
			return false;
	}
	return true;
}

/* --- The profile -------------------------------------------------------------------------------------- */

static bool is_repeated_message(uint32_t number)
{
	return number >= PROFILE_SAMPLE_TYPE && number <= PROFILE_STRING_TABLE;
}

/* Counts the fields of the profile itself, and whether all of it can be taken apart. */
static bool count_profile(struct reader *reader)
{
	struct cursor bytes = reader->message;
	struct field field;
	uint32_t number_before = 0;

	while (!is_done(&bytes)) {
		if (!read_field(&bytes, &field))
			return false;
		if (reader->profile.first_field == 0)
			reader->profile.first_field = field.number;
		reader->profile.fields_backwards += field.number < number_before;
		number_before = field.number;
		if (field.number >= PROFILE_FIELDS) {
			reader->profile.unknown_fields++;
			continue;
		}
		if (field.number == PROFILE_COMMENT) {
			if (!count_numbers(field, &reader->counts[PROFILE_COMMENT]))
				return false;
			continue;
		}
		const bool message = is_repeated_message(field.number) || field.number == PROFILE_PERIOD_TYPE;
		if (field.wire != (message ? WIRE_BYTES : WIRE_VARINT))
			return false;
		reader->counts[field.number]++;
		if (!is_repeated_message(field.number) && reader->counts[field.number] > 1)
			reader->profile.singular_repeated++;
	}
	return true;
}

static bool allocate_tables(struct reader *reader)
{
	struct hm_profile *const profile = &reader->profile;
	const uint32_t *const counts = reader->counts;

	profile->sample_types = allocate(reader, counts[PROFILE_SAMPLE_TYPE], sizeof(*profile->sample_types));
	profile->samples = allocate(reader, counts[PROFILE_SAMPLE], sizeof(*profile->samples));
	profile->mappings = allocate(reader, counts[PROFILE_MAPPING], sizeof(*profile->mappings));
	profile->locations = allocate(reader, counts[PROFILE_LOCATION], sizeof(*profile->locations));
	profile->functions = allocate(reader, counts[PROFILE_FUNCTION], sizeof(*profile->functions));
	profile->strings = allocate(reader, counts[PROFILE_STRING_TABLE], sizeof(*profile->strings));
	profile->comments = allocate(reader, counts[PROFILE_COMMENT], sizeof(*profile->comments));
	/* Known from the start: texts are named before they come. */
	profile->string_count = counts[PROFILE_STRING_TABLE];
	return !reader->failed;
}

/* Reads one field of the profile, the numbers and the text that need no other table. */
static bool read_plain(struct reader *reader, struct field *field)
{
	struct hm_profile *const profile = &reader->profile;
	uint64_t number;

	switch (field->number) {
	case PROFILE_SAMPLE_TYPE:
		return read_value_type(reader, field->bytes,
				       &profile->sample_types[profile->sample_type_count++]);
	case PROFILE_MAPPING:
		return read_mapping(reader, field->bytes, &profile->mappings[profile->mapping_count++]);
	case PROFILE_FUNCTION:
		return read_function(reader, field->bytes, &profile->functions[profile->function_count++]);
	case PROFILE_DROP_FRAMES:
		profile->drop_frames = text_index(reader, field->value);
		break;
	case PROFILE_KEEP_FRAMES:
		profile->keep_frames = text_index(reader, field->value);
		break;
	case PROFILE_TIME_NANOS:
		profile->time_ns = (int64_t)field->value;
		break;
	case PROFILE_DURATION_NANOS:
		profile->duration_ns = (int64_t)field->value;
		break;
	case PROFILE_PERIOD_TYPE:
		profile->has_period_type = true;
		return read_value_type(reader, field->bytes, &profile->period_type);
	case PROFILE_PERIOD:
		profile->period = (int64_t)field->value;
		break;
	case PROFILE_COMMENT:
		while (next_number(field, &number))
			profile->comments[profile->comment_count++] = text_index(reader, number);
		break;
	case PROFILE_DEFAULT_SAMPLE_TYPE:
		profile->default_sample_type = text_index(reader, field->value);
		break;
	case PROFILE_DOC_URL:
		profile->doc_url = text_index(reader, field->value);
		break;
	default:
		break;
	}
	return true;
}

/* Once over all fields of the profile, each given to `read`. */
static bool for_each_field(struct reader *reader, bool (*read)(struct reader *reader, struct field *field))
{
	struct cursor bytes = reader->message;
	struct field field;
	bool good = true;

	while (good && !is_done(&bytes))
		good = read_field(&bytes, &field) && read(reader, &field);
	return good;
}

static bool read_if_string(struct reader *reader, struct field *field)
{
	if (field->number != PROFILE_STRING_TABLE)
		return true;
	return read_string(reader, field->bytes, &reader->profile.strings[reader->strings_read++]);
}

static bool read_if_location(struct reader *reader, struct field *field)
{
	struct hm_profile *const profile = &reader->profile;

	return field->number != PROFILE_LOCATION ||
	       read_location(reader, field->bytes, &profile->locations[profile->location_count++]);
}

static bool read_if_sample(struct reader *reader, struct field *field)
{
	struct hm_profile *const profile = &reader->profile;

	return field->number != PROFILE_SAMPLE ||
	       read_sample(reader, field->bytes, &profile->samples[profile->sample_count++]);
}

static bool decode(struct reader *reader)
{
	struct hm_profile *const profile = &reader->profile;

	/* What is named is read before what names it. */
	return allocate_tables(reader) && for_each_field(reader, read_if_string) &&
	       for_each_field(reader, read_plain) &&
	       make_id_table(reader, &reader->mapping_ids, &profile->mappings->id, profile->mapping_count,
			     sizeof(*profile->mappings)) &&
	       make_id_table(reader, &reader->function_ids, &profile->functions->id, profile->function_count,
			     sizeof(*profile->functions)) &&
	       for_each_field(reader, read_if_location) &&
	       make_id_table(reader, &reader->location_ids, &profile->locations->id, profile->location_count,
			     sizeof(*profile->locations)) &&
	       for_each_field(reader, read_if_sample);
}

static int refuse(enum hm_profile_fault fault, int error, enum hm_profile_fault *ret_fault)
{
	*ret_fault = fault;
	return error;
}

/* Takes the profile out of gzip, if it is in it. */
static int unpack(struct reader *reader, const void *data, size_t size_bytes,
		  enum hm_profile_fault *ret_fault)
{
	struct hm_profile *const profile = &reader->profile;
	uint8_t *unpacked;

	profile->file_bytes = size_bytes;
	profile->unpacked_bytes = size_bytes;
	reader->message = (struct cursor){ data, (const uint8_t *)data + size_bytes };
	if (size_bytes == 0)
		return refuse(HM_PROFILE_EMPTY, -EBADMSG, ret_fault);
	if (size_bytes > HM_PROFILE_FILE_BYTES_MAX)
		return refuse(HM_PROFILE_TOO_LARGE, -EFBIG, ret_fault);
	if (!hm_gzip_is_member(data, size_bytes))
		return 0;
	profile->gzipped = true;
	const int error = hm_gzip_unpack(&profile->arena, data, size_bytes, HM_PROFILE_UNPACKED_BYTES_MAX,
					 &unpacked, &profile->unpacked_bytes, &profile->trailing_bytes);
	if (error == -EFBIG)
		return refuse(HM_PROFILE_TOO_LARGE, error, ret_fault);
	if (error != 0)
		return refuse(error == -ENOMEM ? HM_PROFILE_NO_MEMORY : HM_PROFILE_DAMAGED, error, ret_fault);
	reader->message = (struct cursor){ unpacked, unpacked + profile->unpacked_bytes };
	return 0;
}

static int read_profile(struct reader *reader, const void *data, size_t size_bytes,
			enum hm_profile_fault *ret_fault)
{
	const int error = unpack(reader, data, size_bytes, ret_fault);

	if (error != 0)
		return error;
	const bool counted = count_profile(reader);
	if (counted && reader->counts[PROFILE_SAMPLE_TYPE] == 0 && reader->counts[PROFILE_STRING_TABLE] == 0)
		return refuse(HM_PROFILE_NOT_A_PROFILE, -EBADMSG, ret_fault);
	if (counted && decode(reader))
		return 0;
	if (reader->failed)
		return refuse(HM_PROFILE_NO_MEMORY, -ENOMEM, ret_fault);
	return refuse(reader->profile.gzipped ? HM_PROFILE_MALFORMED : HM_PROFILE_NOT_A_PROFILE, -EBADMSG,
		      ret_fault);
}

/* Everything that the descriptor gives, up to one byte more than is allowed. */
static int read_everything(struct hm_arena *arena, int descriptor, uint8_t **ret_data, size_t *ret_size_bytes)
{
	size_t capacity_bytes = READ_BYTES_FIRST;
	size_t size_bytes = 0;
	uint8_t *data = hm_arena_allocate(arena, capacity_bytes);

	while (data != NULL) {
		const ssize_t count = read(descriptor, data + size_bytes, capacity_bytes - size_bytes);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		size_bytes += (size_t)count;
		if (count == 0 || size_bytes > HM_PROFILE_FILE_BYTES_MAX) {
			*ret_data = data;
			*ret_size_bytes = size_bytes;
			return 0;
		}
		if (size_bytes == capacity_bytes) {
			uint8_t *const larger = hm_arena_allocate(arena, 2 * capacity_bytes);

			if (larger != NULL)
				memcpy(larger, data, size_bytes);
			data = larger;
			capacity_bytes *= 2;
		}
	}
	return -ENOMEM;
}

static int finish(struct reader *reader, int error, enum hm_profile_fault fault,
		  struct hm_profile *ret_profile, enum hm_profile_fault *ret_fault)
{
	if (error == 0) {
		*ret_profile = reader->profile;
		return 0;
	}
	hm_profile_done(&reader->profile);
	if (ret_fault != NULL)
		*ret_fault = fault;
	return error;
}

int hm_profile_read(const void *data, size_t size_bytes, struct hm_profile *ret_profile,
		    enum hm_profile_fault *ret_fault)
{
	struct reader reader = { 0 };
	enum hm_profile_fault fault = HM_PROFILE_UNREADABLE;

	hm_arena_init(&reader.profile.arena, HM_PROFILE_MEMORY_BYTES_MAX);
	const int error = read_profile(&reader, data, size_bytes, &fault);
	return finish(&reader, error, fault, ret_profile, ret_fault);
}

int hm_profile_read_descriptor(int descriptor, struct hm_profile *ret_profile,
			       enum hm_profile_fault *ret_fault)
{
	struct reader reader = { 0 };
	enum hm_profile_fault fault = HM_PROFILE_UNREADABLE;
	uint8_t *data = NULL;
	size_t size_bytes = 0;

	hm_arena_init(&reader.profile.arena, HM_PROFILE_MEMORY_BYTES_MAX);
	int error = read_everything(&reader.profile.arena, descriptor, &data, &size_bytes);
	if (error == -ENOMEM)
		fault = HM_PROFILE_NO_MEMORY;
	if (error == 0)
		error = read_profile(&reader, data, size_bytes, &fault);
	return finish(&reader, error, fault, ret_profile, ret_fault);
}

void hm_profile_done(struct hm_profile *profile)
{
	struct hm_arena arena = profile->arena;

	*profile = (struct hm_profile){ 0 };
	hm_arena_done(&arena);
}

const char *hm_profile_fault_text(enum hm_profile_fault fault)
{
	switch (fault) {
	case HM_PROFILE_UNREADABLE:
		return "cannot be read";
	case HM_PROFILE_EMPTY:
		return "not a profile: the file is empty";
	case HM_PROFILE_NOT_A_PROFILE:
		return "not a profile: neither gzip nor pprof's format";
	case HM_PROFILE_DAMAGED:
		return "damaged: its gzip data is cut off or altered";
	case HM_PROFILE_MALFORMED:
		return "not a profile: what is in the gzip file is not pprof's format";
	case HM_PROFILE_TOO_LARGE:
		return "too large: more than 64 MiB, or more than 256 MiB unpacked";
	case HM_PROFILE_NO_MEMORY:
		return "not enough memory to read it, or it would take more than 1 GiB";
	}
	return "cannot be read";
}

const char *hm_profile_string(const struct hm_profile *profile, uint32_t index)
{
	return index < profile->string_count ? profile->strings[index].text : "";
}

uint32_t hm_profile_find_sample_type(const struct hm_profile *profile, const char *type)
{
	for (uint32_t i = 0; i < profile->sample_type_count; i++) {
		if (strcmp(hm_profile_string(profile, profile->sample_types[i].type), type) == 0)
			return i;
	}
	return HM_PROFILE_NONE;
}

uint32_t hm_profile_default_sample_type(const struct hm_profile *profile)
{
	uint32_t index = HM_PROFILE_NONE;

	if (profile->default_sample_type != 0)
		index = hm_profile_find_sample_type(profile,
						    hm_profile_string(profile, profile->default_sample_type));
	if (index == HM_PROFILE_NONE && profile->sample_type_count > 0)
		index = profile->sample_type_count - 1;
	return index;
}
