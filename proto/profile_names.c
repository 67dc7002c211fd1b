// SPDX-License-Identifier: Apache-2.0
#include "proto/profile_names.h"

#include "proto/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	MODULES_NOTED_MAX = HM_UNNAMED_COMMENTS_MAX - 1, /* and one line that there are more */
};

static const char *const made_up_names[] = {
	[HM_MADE_UP_DROPPED - HM_MADE_UP_START] = "[dropped]",
	[HM_MADE_UP_OVERFLOW - HM_MADE_UP_START] = "[overflow]",
	[HM_MADE_UP_TRUNCATED - HM_MADE_UP_START] = "[truncated]",
	[HM_MADE_UP_CUT - HM_MADE_UP_START] = "[cut]",
};

static const struct hm_line anon_line = { .name = HM_ANON_NAME, .system_name = HM_ANON_NAME };

struct naming {
	const struct hm_profile_layout *layout;
	const struct hm_resolver *resolver;
	hm_comment_add *add;
	void *context; /* of `add` */
	struct hm_location_name *names;
	struct hm_unnamed_modules unnamed;
};

static int name_ours(const struct naming *naming, uint32_t index)
{
	const uint64_t address = naming->layout->addresses[index];
	struct hm_line *const line = hm_arena_allocate(naming->layout->arena, sizeof(*line));

	if (line == NULL)
		return -ENOMEM;
	line->name = made_up_names[address - HM_MADE_UP_START];
	line->system_name = line->name;
	naming->names[index] = (struct hm_location_name){ line, 1, false };
	return 0;
}

/* Counts a module that could not be named, and says so for the first few. */
static void note_outcome(struct naming *naming, const struct hm_layout_mapping *mapping,
			 enum hm_names_outcome outcome)
{
	static const char *const reasons[] = {
		[HM_NAMES_NO_FILE] = "no function names, the file cannot be opened: ",
		[HM_NAMES_OTHER_FILE] = "no function names, the file was replaced since it was loaded: ",
		[HM_NAMES_NOT_ELF] = "no function names, the file is damaged or not of this machine: ",
	};
	struct hm_unnamed_modules *const unnamed = &naming->unnamed;
	const uint32_t noted = unnamed->no_file + unnamed->other_file + unnamed->not_elf;
	char line[512];

	if (outcome == HM_NAMES_FOUND || mapping->file[0] != '/')
		return;
	unnamed->no_file += outcome == HM_NAMES_NO_FILE;
	unnamed->other_file += outcome == HM_NAMES_OTHER_FILE;
	unnamed->not_elf += outcome == HM_NAMES_NOT_ELF;
	if (noted < MODULES_NOTED_MAX) {
		struct hm_text text = hm_text_begin(line, sizeof(line));

		hm_text_add(&text, reasons[outcome]);
		hm_text_add(&text, mapping->file);
		naming->add(naming->context, line);
	} else if (noted == MODULES_NOTED_MAX) {
		naming->add(naming->context, "no function names for more files than these");
	}
}

static int name_module(struct naming *naming, const struct hm_layout_mapping *mapping, uint32_t first,
		       uint32_t count)
{
	const struct hm_resolver *const resolver = naming->resolver;
	enum hm_names_outcome outcome = HM_NAMES_FOUND;

	if (resolver->resolve == NULL)
		return 0;
	const int error =
		resolver->resolve(resolver->context, naming->layout->arena, mapping->module,
				  naming->layout->addresses + first, count, naming->names + first, &outcome);
	if (error == 0)
		note_outcome(naming, mapping, outcome);
	return error;
}

static void note_name(struct hm_layout_mapping *mapping, const struct hm_location_name *name)
{
	bool all_files = name->line_count > 0;
	bool all_lines = name->line_count > 0;

	for (uint32_t i = 0; i < name->line_count; i++) {
		all_files = all_files && name->lines[i].file != NULL && name->lines[i].file[0] != '\0';
		all_lines = all_lines && name->lines[i].line != 0;
	}
	mapping->placeholder_count += name->placeholder || name->line_count == 0;
	mapping->fileless_count += !all_files;
	mapping->lineless_count += !all_lines;
	mapping->has_inline_frames |= name->line_count > 1;
}

/* Addresses outside of every module: "[anon]" where nobody knows better. */
static int name_elsewhere(const struct naming *naming, uint32_t first, uint32_t count)
{
	const struct hm_resolver *const resolver = naming->resolver;

	for (uint32_t i = first; i < first + count; i++)
		naming->names[i] = (struct hm_location_name){ &anon_line, 1, true };
	if (resolver->resolve_elsewhere == NULL)
		return 0;
	return resolver->resolve_elsewhere(resolver->context, naming->layout->arena,
					   naming->layout->addresses + first, count, naming->names + first);
}

/* `count` locations from `first` on, which all lie in `mapping`. */
static int name_run(struct naming *naming, const struct hm_layout_mapping *mapping, uint32_t first,
		    uint32_t count)
{
	if (mapping->module != NULL)
		return name_module(naming, mapping, first, count);
	if (mapping == hm_layout_anon(naming->layout))
		return name_elsewhere(naming, first, count);
	return name_ours(naming, first);
}

/* How many locations from `first` on are named at once: what lies in one mapping, or one address of ours. */
static uint32_t run_length(const struct hm_profile_layout *layout, uint32_t first)
{
	const struct hm_layout_mapping *const mapping = hm_layout_mapping_of(layout, first);
	uint32_t count = 1;

	while (first + count < layout->location_count && mapping != hm_layout_made_up(layout) &&
	       hm_layout_mapping_of(layout, first + count) == mapping)
		count++;
	return count;
}

static int name_all(struct naming *naming)
{
	const struct hm_profile_layout *const layout = naming->layout;

	for (uint32_t first = 0; first < layout->location_count;) {
		struct hm_layout_mapping *const mapping = hm_layout_mapping_of(layout, first);
		const uint32_t count = run_length(layout, first);
		const int error = name_run(naming, mapping, first, count);

		if (error != 0)
			return error;
		for (uint32_t i = first; i < first + count; i++)
			note_name(mapping, &naming->names[i]);
		first += count;
	}
	return 0;
}

int hm_profile_name_locations(struct hm_profile_layout *layout, const struct hm_resolver *resolver,
			      hm_comment_add *add, void *context, struct hm_location_name **ret_names,
			      struct hm_unnamed_modules *ret_unnamed)
{
	struct naming naming = {
		.layout = layout,
		.resolver = resolver,
		.add = add,
		.context = context,
		.names =
			hm_arena_allocate_array(layout->arena, layout->location_count, sizeof(*naming.names)),
	};
	const int error = naming.names == NULL ? -ENOMEM : name_all(&naming);

	*ret_names = naming.names;
	*ret_unnamed = naming.unnamed;
	return error;
}
