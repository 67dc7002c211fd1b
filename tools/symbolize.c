// SPDX-License-Identifier: Apache-2.0
#include "tools/symbolize.h"

#include "proto/output_file.h"
#include "proto/profile_rewrite.h"
#include "proto/sort.h"
#include "tools/load_bias.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The locations of one mapping. */
struct run {
	struct hm_snapshot_module module;
	uint64_t *addresses; /* ascending, each once */
	struct hm_location_name *names;
	uint32_t count;
};

/* A build id of two letters for each byte.  One that is not is none: the file is then taken by its path. */
static uint32_t read_build_id(const char *text, uint8_t build_id[HM_BUILD_ID_MAX])
{
	const size_t length = strlen(text);

	if (length % 2 != 0 || length / 2 > HM_BUILD_ID_MAX)
		return 0;
	for (size_t i = 0; i < length; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *const digit = strchr(digits, tolower((unsigned char)text[i]));

		if (digit == NULL || *digit == '\0')
			return 0;
		build_id[i / 2] = (uint8_t)(build_id[i / 2] << 4 | (digit - digits));
	}
	return (uint32_t)(length / 2);
}

/* False where the mapping is of no file: "[vdso]", "[anon]", "//anon". */
static bool make_module(const struct hm_profile *profile, const struct hm_profile_mapping *mapping,
			struct hm_snapshot_module *ret_module)
{
	const char *const path = hm_profile_string(profile, mapping->file);
	struct hm_snapshot_module module = {
		.start_address = mapping->start_address,
		.end_address = mapping->end_address,
		.file_offset = mapping->file_offset,
		.path = path,
	};

	if (path[0] != '/' || path[1] == '/')
		return false;
	module.build_id_size = read_build_id(hm_profile_string(profile, mapping->build_id), module.build_id);
	/* Nearly all files have address and offset alike where their code is; the child knows better, where
	 * it finds another file for this one. */
	module.load_bias = mapping->start_address >= mapping->file_offset
				   ? mapping->start_address - mapping->file_offset
				   : 0;
	(void)hm_load_bias(path, mapping->start_address, mapping->file_offset, &module.load_bias);
	*ret_module = module;
	return true;
}

static bool is_in(const struct hm_profile *profile, uint32_t location, uint32_t mapping)
{
	const struct hm_profile_location *const candidate = &profile->locations[location];
	const struct hm_profile_mapping *const range = &profile->mappings[mapping];

	return candidate->mapping == mapping && candidate->address >= range->start_address &&
	       candidate->address < range->end_address;
}

/* Lists the addresses of a mapping.  Returns 0 or -ENOMEM. */
static int list_addresses(const struct hm_profile *profile, uint32_t mapping, struct hm_arena *arena,
			  struct run *run)
{
	uint32_t count = 0;
	uint32_t distinct = 0;

	for (uint32_t i = 0; i < profile->location_count; i++)
		count += is_in(profile, i, mapping);
	run->addresses = hm_arena_allocate_array(arena, 2 * (size_t)count, sizeof(*run->addresses));
	run->names = hm_arena_allocate_array(arena, count, sizeof(*run->names));
	if (run->addresses == NULL || run->names == NULL)
		return -ENOMEM;
	count = 0;
	for (uint32_t i = 0; i < profile->location_count; i++)
		if (is_in(profile, i, mapping))
			run->addresses[count++] = profile->locations[i].address;
	hm_sort(run->addresses, run->addresses + count, count, sizeof(*run->addresses), hm_compare_u64, NULL);
	for (uint32_t i = 0; i < count; i++)
		if (i == 0 || run->addresses[i] != run->addresses[i - 1])
			run->addresses[distinct++] = run->addresses[i];
	run->count = distinct;
	return 0;
}

static const struct hm_location_name *name_of(const struct run *run, uint64_t address)
{
	uint32_t low = 0;
	uint32_t high = run->count;

	while (high - low > 1) {
		const uint32_t middle = low + (high - low) / 2;

		if (run->addresses[middle] <= address)
			low = middle;
		else
			high = middle;
	}
	return &run->names[low];
}

static bool has_function(const struct hm_profile *profile, const struct hm_profile_location *location)
{
	for (uint32_t i = 0; i < location->line_count; i++) {
		const uint32_t function = location->lines[i].function;

		if (function != HM_PROFILE_NONE &&
		    hm_profile_string(profile, profile->functions[function].name)[0] != '\0')
			return true;
	}
	return false;
}

static bool has_line(const struct hm_profile_location *location)
{
	for (uint32_t i = 0; i < location->line_count; i++)
		if (location->lines[i].line != 0)
			return true;
	return false;
}

/*
 * Whether what was found tells more than what is there.  What stands for a name where a file has no symbol is
 * of use only if the file was there to be looked at.
 */
static bool is_better(const struct hm_profile *profile, const struct hm_profile_location *location,
		      const struct hm_location_name *name, enum hm_names_outcome outcome)
{
	if (!has_function(profile, location))
		return !name->placeholder || outcome == HM_NAMES_FOUND;
	return !name->placeholder && (name->lines[0].line != 0 || !has_line(location));
}

static void count_outcome(struct hm_profile_written *unnamed, enum hm_names_outcome outcome)
{
	unnamed->modules_no_file += outcome == HM_NAMES_NO_FILE;
	unnamed->modules_other_file += outcome == HM_NAMES_OTHER_FILE;
	unnamed->modules_not_elf += outcome == HM_NAMES_NOT_ELF;
}

static int name_mapping(const struct hm_profile *profile, const struct hm_resolver *resolver,
			uint32_t mapping, struct hm_symbolized *symbolized)
{
	struct run run = { 0 };
	enum hm_names_outcome outcome = HM_NAMES_FOUND;
	int error = 0;

	if (!make_module(profile, &profile->mappings[mapping], &run.module))
		return 0;
	error = list_addresses(profile, mapping, &symbolized->arena, &run);
	if (error == 0 && run.count > 0)
		error = resolver->resolve(resolver->context, &symbolized->arena, &run.module, run.addresses,
					  run.count, run.names, &outcome);
	if (error != 0 || run.count == 0)
		return error;
	count_outcome(&symbolized->unnamed, outcome);
	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];
		const struct hm_location_name *const name =
			is_in(profile, i, mapping) ? name_of(&run, location->address) : NULL;

		if (name != NULL && is_better(profile, location, name, outcome))
			symbolized->names[i] = name;
	}
	return 0;
}

static void count_names(const struct hm_profile *profile, struct hm_symbolized *symbolized)
{
	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];
		const struct hm_location_name *const name = symbolized->names[i];

		symbolized->changed_count += name != NULL;
		symbolized->function_count +=
			name != NULL ? !name->placeholder : has_function(profile, location);
		symbolized->line_count += name != NULL ? name->lines[0].line != 0 : has_line(location);
	}
}

int hm_symbolize(const struct hm_profile *profile, struct hm_symbols *symbols,
		 struct hm_symbolized *ret_symbolized)
{
	struct hm_symbolized symbolized = { 0 };
	int error = 0;

	hm_arena_init(&symbolized.arena, SIZE_MAX);
	hm_symbols_begin(symbols, NULL);
	symbols->has_guessed_biases = true;
	symbolized.names = hm_arena_allocate_array(&symbolized.arena, (size_t)profile->location_count + 1,
						   sizeof(*symbolized.names));
	if (symbolized.names == NULL)
		error = -ENOMEM;

	const struct hm_resolver resolver = hm_symbols_resolver(symbols);

	for (uint32_t i = 0; i < profile->mapping_count && error == 0; i++)
		error = name_mapping(profile, &resolver, i, &symbolized);
	if (error != 0) {
		hm_arena_done(&symbolized.arena);
		return error;
	}
	count_names(profile, &symbolized);
	*ret_symbolized = symbolized;
	return 0;
}

void hm_symbolized_done(struct hm_symbolized *symbolized)
{
	hm_arena_done(&symbolized->arena);
}

/* What is replaced keeps its mode and owner. */
static void keep_mode(const char *path, int descriptor)
{
	struct stat status;

	if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
		return;
	/* before the mode: a change of owner takes bits away */
	(void)!fchown(descriptor, status.st_uid, status.st_gid);
	(void)fchmod(descriptor, status.st_mode & ALLPERMS);
}

int hm_symbolized_write(const struct hm_profile *profile, const struct hm_symbolized *symbolized,
			const char *path)
{
	struct hm_output_file file;
	int standard_output = STDOUT_FILENO;

	if (strcmp(path, "-") == 0) {
		const struct hm_sink sink = hm_descriptor_sink(&standard_output);

		return hm_profile_rewrite(profile, symbolized->names, &sink);
	}
	int error = hm_output_open(path, HM_OUTPUT_REPLACE, &file);
	if (error != 0)
		return error;
	const struct hm_sink sink = hm_output_sink(&file);
	error = hm_profile_rewrite(profile, symbolized->names, &sink);
	if (error != 0) {
		hm_output_abandon(&file);
		return error;
	}
	if (!file.in_place)
		keep_mode(path, file.descriptor);
	return hm_output_commit(&file);
}

int hm_symbolize_file(const char *path, struct hm_symbols *symbols)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct hm_profile profile = { 0 };
	struct hm_symbolized symbolized = { 0 };
	int error = descriptor >= 0 ? 0 : -errno;

	if (error != 0)
		return error;
	error = hm_profile_read_descriptor(descriptor, &profile, NULL);
	(void)close(descriptor);
	if (error == 0)
		error = hm_symbolize(&profile, symbols, &symbolized);
	if (error == 0 && symbolized.changed_count > 0)
		error = hm_symbolized_write(&profile, &symbolized, path);
	hm_symbolized_done(&symbolized);
	hm_profile_done(&profile);
	return error;
}
