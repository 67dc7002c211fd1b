// SPDX-License-Identifier: Apache-2.0
#include "proto/check_rules.h"

#include "proto/sort.h"

#include <string.h>

enum { PAGE_BYTES = 4096 };

/* Parca and Pyroscope index by id - 1; speedscope reads 32 bits of an id, with a sign. */
static void check_id(struct hm_check *check, const char *what, uint32_t index, uint64_t id)
{
	if (id != (uint64_t)index + 1)
		hm_check_found(check, HM_RULE_IDS_ORDER, "%s %u has id %llu; ids have to be 1, 2, 3 in order",
			       what, index + 1, (unsigned long long)id);
	if (id > INT32_MAX)
		hm_check_found(check, HM_RULE_IDS_SIZE, "%s %u has id %llu, past 31 bits", what, index + 1,
			       (unsigned long long)id);
}

/* --- Mappings ----------------------------------------------------------------------------------------- */

static bool is_build_id(const char *text)
{
	const size_t length = strnlen(text, HM_CHECK_SHORT_BYTES + 1);

	return length <= HM_CHECK_SHORT_BYTES && length % 2 == 0 &&
	       strspn(text, "0123456789abcdef") == length;
}

/* A file in memory: readers do not look for it, but a program may run from it. */
static bool is_memory_file(const char *file)
{
	return strncmp(file, "/memfd:", 7) == 0;
}

/* A name that readers take for something that has no file. */
static bool is_pseudo_file(const char *file)
{
	return file[0] == '[' || strncmp(file, "//anon", 6) == 0;
}

/* Without looking at all of it: see HM_CHECK_SHORT_BYTES. */
static bool ends_with(const struct hm_profile *profile, uint32_t index, const char *suffix)
{
	const size_t suffix_length = strlen(suffix);

	if (index >= profile->string_count || profile->strings[index].length_bytes < suffix_length)
		return false;
	const struct hm_profile_text *const text = &profile->strings[index];
	return memcmp(text->text + text->length_bytes - suffix_length, suffix, suffix_length) == 0;
}

/* As Go does, a mapping without a range only carries the executable's name. */
static bool is_name_only(uint32_t index, const struct hm_profile_mapping *mapping)
{
	return index == 0 && mapping->start_address == 0 && mapping->end_address == 0;
}

static void check_range(struct hm_check *check, uint32_t index)
{
	const struct hm_profile_mapping *const mapping = &check->profile->mappings[index];

	if (!is_name_only(index, mapping) && mapping->start_address >= mapping->end_address)
		hm_check_found(check, HM_RULE_MAPPINGS_RANGE,
			       "mapping %u is empty: it starts at %#llx and ends at %#llx", index + 1,
			       (unsigned long long)mapping->start_address,
			       (unsigned long long)mapping->end_address);
	if (mapping->start_address % PAGE_BYTES != 0 || mapping->end_address % PAGE_BYTES != 0 ||
	    mapping->file_offset % PAGE_BYTES != 0)
		hm_check_found(check, HM_RULE_MAPPINGS_PAGES, "mapping %u (%s) is not made of whole pages",
			       index + 1, hm_check_text(check, mapping->file));
}

static void check_path(struct hm_check *check, uint32_t index)
{
	const struct hm_profile_mapping *const mapping = &check->profile->mappings[index];
	const char *const file = hm_check_text(check, mapping->file);

	hm_check_index(check, mapping->file, "mapping", index + 1);
	if (index == 0 && is_pseudo_file(file))
		hm_check_found(check, HM_RULE_MAPPINGS_MAIN, "the first mapping, %s, is not the executable",
			       file);
	if (index == 0 && hm_check_is_short(file) &&
	    (ends_with(check->profile, mapping->file, ".so") || strstr(file, ".so.") != NULL))
		hm_check_found(check, HM_RULE_MAPPINGS_LIBRARY,
			       "the first mapping, %s, has the name of a library", file);
	if (is_pseudo_file(file) || is_memory_file(file))
		return;
	if (file[0] != '/')
		hm_check_found(check, HM_RULE_MAPPINGS_PATH,
			       "the file of mapping %u, \"%s\", is not an absolute path", index + 1, file);
	else if (hm_check_is_short(file) &&
		 (strstr(file, "//") != NULL || strstr(file, "/./") != NULL || strstr(file, "/../") != NULL))
		hm_check_found(check, HM_RULE_MAPPINGS_REAL_PATH,
			       "the file of mapping %u, \"%s\", is not its real path", index + 1, file);
	if (ends_with(check->profile, mapping->file, " (deleted)"))
		hm_check_found(check, HM_RULE_MAPPINGS_DELETED,
			       "the file of mapping %u, \"%s\", will be looked for under that name",
			       index + 1, file);
}

static void check_build_id(struct hm_check *check, uint32_t index)
{
	enum { DIGITS_MIN = 16 }; /* the shortest that a linker makes: lld --build-id=fast */
	const struct hm_profile_mapping *const mapping = &check->profile->mappings[index];
	const char *const build_id = hm_check_text(check, mapping->build_id);

	hm_check_index(check, mapping->build_id, "mapping", index + 1);
	if (!is_build_id(build_id))
		hm_check_found(check, HM_RULE_MAPPINGS_BUILD_ID,
			       "the build id of mapping %u, \"%s\", is not lower-case hexadecimal", index + 1,
			       build_id);
	else if (build_id[0] != '\0' && strlen(build_id) < DIGITS_MIN)
		hm_check_found(check, HM_RULE_MAPPINGS_SHORT_ID,
			       "the build id of mapping %u, \"%s\", is only a part of one", index + 1,
			       build_id);
}

/* Where a mapping begins and which it is, in order of the former. */
struct beginning {
	uint64_t start_address;
	uint32_t index;
};

static int compare_beginnings(const void *left, const void *right, const void *context)
{
	const struct beginning *const l = left;
	const struct beginning *const r = right;

	(void)context;
	return (l->start_address > r->start_address) - (l->start_address < r->start_address);
}

static void check_overlap(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	const uint32_t count = profile->mapping_count;
	struct beginning *const order = hm_check_scratch(check, count, sizeof(*order));
	struct beginning *const sort_room = hm_check_scratch(check, count, sizeof(*sort_room));
	uint32_t reaching = 0; /* the one of those before that ends last */

	if (order == NULL || sort_room == NULL)
		return;
	for (uint32_t i = 0; i < count; i++)
		order[i] = (struct beginning){ profile->mappings[i].start_address, i };
	hm_sort(order, sort_room, count, sizeof(*order), compare_beginnings, NULL);
	for (uint32_t i = 0; i < count; i++) {
		const struct hm_profile_mapping *const mapping = &profile->mappings[order[i].index];
		const struct hm_profile_mapping *const before = &profile->mappings[reaching];

		if (i > 0 && mapping->start_address < before->end_address &&
		    mapping->start_address < mapping->end_address)
			hm_check_found(
				check, HM_RULE_MAPPINGS_OVERLAP,
				"mapping %u (%s) lies over mapping %u (%s): one after the other was there",
				order[i].index + 1, hm_check_text(check, mapping->file), reaching + 1,
				hm_check_text(check, before->file));
		if (i == 0 || mapping->end_address > before->end_address)
			reaching = order[i].index;
	}
}

/* --- Locations ---------------------------------------------------------------------------------------- */

/* What is known of all lines of a location. */
struct known {
	bool names;
	bool files;
	bool lines;
};

static struct known known_of(const struct hm_check *check, const struct hm_profile_location *location)
{
	const bool any = location->line_count > 0;
	struct known known = { any, any, any };

	for (uint32_t i = 0; i < location->line_count; i++) {
		const uint32_t index = location->lines[i].function;
		const struct hm_profile_function *const function =
			index == HM_PROFILE_NONE ? NULL : &check->profile->functions[index];

		known.names =
			known.names && function != NULL && hm_check_text(check, function->name)[0] != '\0';
		known.files =
			known.files && function != NULL && hm_check_text(check, function->file)[0] != '\0';
		known.lines = known.lines && location->lines[i].line != 0;
	}
	return known;
}

/* What a mapping promises of all its locations, this one has to have. */
static void check_promise(struct hm_check *check, uint32_t location_index, const struct known *known)
{
	const struct hm_profile_location *const location = &check->profile->locations[location_index];
	const struct hm_profile_mapping *const mapping = &check->profile->mappings[location->mapping];

	if (mapping->has_functions && !known->names)
		hm_check_found(check, HM_RULE_FLAGS_PROMISE,
			       "mapping %u promises functions, location %u has none", location->mapping + 1,
			       location_index + 1);
	if (mapping->has_filenames && !known->files)
		hm_check_found(check, HM_RULE_FLAGS_PROMISE,
			       "mapping %u promises source files, location %u has none",
			       location->mapping + 1, location_index + 1);
	if (mapping->has_line_numbers && !known->lines)
		hm_check_found(check, HM_RULE_FLAGS_PROMISE,
			       "mapping %u promises line numbers, location %u has none",
			       location->mapping + 1, location_index + 1);
	if (mapping->has_line_numbers && !mapping->has_inline_frames && location->line_count > 1)
		hm_check_found(check, HM_RULE_FLAGS_PROMISE,
			       "location %u has inlined functions, of which mapping %u does not tell",
			       location_index + 1, location->mapping + 1);
}

static void check_lines(struct hm_check *check, uint32_t location_index)
{
	const struct hm_profile_location *const location = &check->profile->locations[location_index];

	for (uint32_t i = 0; i < location->line_count; i++) {
		if (location->lines[i].function == HM_PROFILE_NONE)
			hm_check_found(check, HM_RULE_LOCATIONS_FUNCTION,
				       "location %u has a function that does not exist", location_index + 1);
		if (location->lines[i].line < 0)
			hm_check_found(check, HM_RULE_LOCATIONS_LINE,
				       "location %u has a negative line number", location_index + 1);
	}
}

static void check_location(struct hm_check *check, uint32_t index)
{
	const struct hm_profile *const profile = check->profile;
	const struct hm_profile_location *const location = &profile->locations[index];
	const unsigned long long address = location->address;

	check_id(check, "location", index, location->id);
	check_lines(check, index);
	if (address == 0)
		hm_check_found(check, HM_RULE_LOCATIONS_ADDRESS, "location %u has no address", index + 1);
	if (location->mapping_unknown)
		hm_check_found(check, HM_RULE_LOCATIONS_MAPPING,
			       "location %u has a mapping that does not exist", index + 1);
	else if (location->mapping == HM_PROFILE_NONE)
		hm_check_found(check, HM_RULE_LOCATIONS_UNMAPPED, "location %u (%#llx) has no mapping",
			       index + 1, address);
	if (location->mapping == HM_PROFILE_NONE)
		return;

	const struct hm_profile_mapping *const mapping = &profile->mappings[location->mapping];
	const struct known known = known_of(check, location);

	if (location->address < mapping->start_address || location->address >= mapping->end_address)
		hm_check_found(check, HM_RULE_LOCATIONS_RANGE,
			       "location %u (%#llx) lies outside of its mapping %u", index + 1, address,
			       location->mapping + 1);
	check_promise(check, index, &known);
}

/*
 * Whether names from elsewhere are in the place of all lines: a producer that finds no function may write
 * "libfoo.so+0x1234", which is no name that a symboliser would have to keep.
 */
static bool has_real_names(const struct hm_check *check, const struct hm_profile_location *location)
{
	const struct hm_profile *const profile = check->profile;

	if (!known_of(check, location).names)
		return false;
	for (uint32_t i = 0; i < location->line_count; i++) {
		const char *const name =
			hm_check_text(check, profile->functions[location->lines[i].function].name);

		if (hm_check_is_short(name) && strstr(name, "+0x") != NULL)
			return false;
	}
	return true;
}

/* Mappings of files that have all names and do not say so, and those for which nobody can find any. */
static void check_modesty(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	uint32_t *const all = hm_check_scratch(check, profile->mapping_count, sizeof(*all));
	uint32_t *const named = hm_check_scratch(check, profile->mapping_count, sizeof(*named));

	if (all == NULL || named == NULL)
		return;
	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];

		if (location->mapping == HM_PROFILE_NONE)
			continue;
		all[location->mapping]++;
		named[location->mapping] += has_real_names(check, location);
	}
	for (uint32_t i = 0; i < profile->mapping_count; i++) {
		const struct hm_profile_mapping *const mapping = &profile->mappings[i];
		const char *const file = hm_check_text(check, mapping->file);

		if (is_pseudo_file(file) || is_memory_file(file))
			continue;
		if (all[i] > 0 && named[i] == all[i] && !mapping->has_functions)
			hm_check_found(check, HM_RULE_FLAGS_MODEST,
				       "mapping %u (%s) has all functions and does not say so", i + 1, file);
		if (named[i] < all[i] && hm_check_text(check, mapping->build_id)[0] == '\0')
			hm_check_found(
				check, HM_RULE_MAPPINGS_NAMELESS,
				"%u locations of mapping %u (%s) have no function, and it has no build id",
				all[i] - named[i], i + 1, file);
	}
}

struct place {
	uint64_t address;
	uint32_t mapping;
	uint32_t index; /* of the location */
};

static int compare_places(const void *left, const void *right, const void *context)
{
	const struct place *const l = left;
	const struct place *const r = right;

	(void)context;
	if (l->address != r->address)
		return l->address < r->address ? -1 : 1;
	return (l->mapping > r->mapping) - (l->mapping < r->mapping);
}

static void check_twice(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;
	const uint32_t count = profile->location_count;
	struct place *const places = hm_check_scratch(check, count, sizeof(*places));
	struct place *const sort_room = hm_check_scratch(check, count, sizeof(*sort_room));

	if (places == NULL || sort_room == NULL)
		return;
	for (uint32_t i = 0; i < count; i++)
		places[i] = (struct place){ profile->locations[i].address, profile->locations[i].mapping, i };
	hm_sort(places, sort_room, count, sizeof(*places), compare_places, NULL);
	for (uint32_t i = 1; i < count; i++)
		if (compare_places(&places[i - 1], &places[i], NULL) == 0)
			hm_check_found(check, HM_RULE_LOCATIONS_TWICE,
				       "locations %u and %u have one address, %#llx", places[i - 1].index + 1,
				       places[i].index + 1, (unsigned long long)places[i].address);
}

/* --- Functions ---------------------------------------------------------------------------------------- */

/* Of C++ (_ZN..., _Z4name...) or of Rust (_RNv..., _RINv...). */
static bool is_mangled(const char *name)
{
	if (name[0] != '_' || name[1] == '\0' || name[2] == '\0')
		return false;
	return name[1] == 'Z' || (name[1] == 'R' && strchr("CMXYNIB", name[2]) != NULL);
}

static void check_function(struct hm_check *check, uint32_t index)
{
	const struct hm_profile_function *const function = &check->profile->functions[index];
	const char *const name = hm_check_text(check, function->name);

	check_id(check, "function", index, function->id);
	hm_check_index(check, function->name, "function", index + 1);
	hm_check_index(check, function->system_name, "function", index + 1);
	hm_check_index(check, function->file, "function", index + 1);
	if (name[0] == '\0')
		hm_check_found(check, HM_RULE_FUNCTIONS_NAME, "function %u has no name", index + 1);
	if (is_mangled(name))
		hm_check_found(check, HM_RULE_FUNCTIONS_MANGLED,
			       "the name of function %u, %s, is not demangled", index + 1, name);
	if (function->start_line < 0)
		hm_check_found(check, HM_RULE_FUNCTIONS_LINE, "function %u starts at a negative line",
			       index + 1);
}

void hm_check_tables(struct hm_check *check)
{
	const struct hm_profile *const profile = check->profile;

	if (profile->mapping_count == 0)
		hm_check_found(check, HM_RULE_MAPPINGS_NONE, "there are no mappings");
	for (uint32_t i = 0; i < profile->mapping_count; i++) {
		check_id(check, "mapping", i, profile->mappings[i].id);
		check_range(check, i);
		check_path(check, i);
		check_build_id(check, i);
	}
	check_overlap(check);
	for (uint32_t i = 0; i < profile->location_count; i++)
		check_location(check, i);
	check_modesty(check);
	check_twice(check);
	for (uint32_t i = 0; i < profile->function_count; i++)
		check_function(check, i);
}
