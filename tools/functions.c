// SPDX-License-Identifier: Apache-2.0
#include "tools/functions.h"

#include "tools/frame_name.h"
#include "tools/prune.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 256 << 20 };

/* FNV-1a, 64 bits. */
static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* The slot of a name, or the empty one where it belongs. */
static size_t *find_slot(const struct hm_functions *functions, const char *name)
{
	const size_t mask = functions->slot_count - 1;
	size_t slot = hash_text(name) & mask;

	while (functions->slots[slot] != 0 &&
	       strcmp(functions->rows[functions->slots[slot] - 1].name, name) != 0)
		slot = (slot + 1) & mask;
	return &functions->slots[slot];
}

static void make_room(struct hm_functions *functions)
{
	enum { FIRST_ROOM = 1024 };
	const size_t room = functions->row_room > 0 ? 2 * functions->row_room : FIRST_ROOM;

	functions->rows = reallocarray(functions->rows, room, sizeof(functions->rows[0]));
	free(functions->slots);
	functions->slots = calloc(2 * room, sizeof(functions->slots[0]));
	if (functions->rows == NULL || functions->slots == NULL)
		abort();
	functions->row_room = room;
	functions->slot_count = 2 * room;
	for (size_t i = 0; i < functions->row_count; i++)
		*find_slot(functions, functions->rows[i].name) = i + 1;
}

/* The index of the row of that name, made where it is new; takes over `name`. */
static size_t find_row(struct hm_functions *functions, char *name)
{
	if (functions->row_count == functions->row_room)
		make_room(functions);

	size_t *slot = find_slot(functions, name);

	if (*slot == 0 && functions->text_bytes > TEXT_BYTES_MAX) {
		free(name);
		name = strdup("<others>");
		if (name == NULL)
			abort();
		slot = find_slot(functions, name);
	}
	if (*slot != 0) {
		free(name);
	} else {
		functions->rows[functions->row_count] = (struct hm_function){ .name = name };
		functions->text_bytes += strlen(name) + 1;
		*slot = ++functions->row_count;
	}
	return *slot - 1;
}

static char *name_of_line(struct hm_functions *functions, const struct hm_profile *profile,
			  const struct hm_profile_location *location, const struct hm_profile_line *line,
			  bool by_lines)
{
	const struct hm_profile_function *const function =
		line->function != HM_PROFILE_NONE ? &profile->functions[line->function] : NULL;
	const char *const function_name = function != NULL ? hm_profile_string(profile, function->name) : "";
	const char *const file = function != NULL ? hm_profile_string(profile, function->file) : "";
	char *name = NULL;

	if (function_name[0] == '\0')
		return hm_frame_module_name(profile, location->mapping);
	if (!by_lines || file[0] == '\0') {
		name = strndup(function_name, HM_FRAME_NAME_BYTES_MAX);
	} else {
		functions->has_lines = true;
		if (asprintf(&name, "%.*s %.*s:%" PRId64, HM_FRAME_NAME_BYTES_MAX, function_name,
			     HM_FRAME_NAME_BYTES_MAX, file, line->line) < 0)
			name = NULL;
	}
	if (name == NULL)
		abort();
	return name;
}

/* The rows of a view's locations: rows[first[location] + line]; a location without lines has one. */
struct location_rows {
	size_t *first; /* owned */
	size_t *rows;  /* owned */
};

static void location_rows_init(struct hm_functions *functions, const struct hm_profile *profile,
			       bool by_lines, struct location_rows *ret_rows)
{
	size_t count = 0;

	ret_rows->first = calloc((size_t)profile->location_count + 1, sizeof(ret_rows->first[0]));
	if (ret_rows->first == NULL)
		abort();
	for (uint32_t i = 0; i < profile->location_count; i++) {
		ret_rows->first[i] = count;
		count += profile->locations[i].line_count > 0 ? profile->locations[i].line_count : 1;
	}
	ret_rows->rows = calloc(count + 1, sizeof(ret_rows->rows[0]));
	if (ret_rows->rows == NULL)
		abort();
	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];
		size_t *const rows = &ret_rows->rows[ret_rows->first[i]];

		if (location->line_count == 0)
			rows[0] = find_row(functions, hm_frame_module_name(profile, location->mapping));
		for (uint32_t line = 0; line < location->line_count; line++)
			rows[line] = find_row(functions, name_of_line(functions, profile, location,
								      &location->lines[line], by_lines));
	}
}

static void location_rows_done(struct location_rows *rows)
{
	free(rows->first);
	free(rows->rows);
}

static void add_to_row(struct hm_functions *functions, size_t row_index,
		       const struct hm_view_figures *figures, bool is_innermost)
{
	struct hm_function *const row = &functions->rows[row_index];

	if (is_innermost)
		hm_view_add(&row->flat, figures);
	if (row->last_sample != functions->sample_count)
		hm_view_add(&row->cum, figures);
	row->last_sample = functions->sample_count;
}

static void add_sample(struct hm_functions *functions, const struct hm_view *view, uint32_t sample_index,
		       const struct hm_prune *prune, const struct location_rows *rows)
{
	const struct hm_profile *const profile = &view->profile;
	const struct hm_profile_sample *const sample = &profile->samples[sample_index];
	const struct hm_view_figures *const figures = &view->samples[sample_index];
	bool is_innermost = true;

	functions->sample_count++; /* from 1: a row that was never counted has 0 */
	hm_view_add(&functions->total, figures);
	for (uint32_t i = hm_prune_innermost(prune, profile, sample); i < sample->location_count; i++) {
		const uint32_t location = sample->locations[i];

		if (location == HM_PROFILE_NONE)
			continue;

		const uint32_t line_count = profile->locations[location].line_count;
		uint32_t line = hm_prune_first_line(prune, profile, location);

		do {
			add_to_row(functions, rows->rows[rows->first[location] + line], figures,
				   is_innermost);
			is_innermost = false;
		} while (++line < line_count);
	}
}

int hm_functions_add(struct hm_functions *functions, const struct hm_view *view,
		     const struct hm_profile *rules, bool by_lines)
{
	struct location_rows rows;
	struct hm_prune prune;
	const int error = hm_prune_init(&view->profile, rules, &prune);

	location_rows_init(functions, &view->profile, by_lines, &rows);
	for (uint32_t i = 0; i < view->profile.sample_count; i++)
		add_sample(functions, view, i, &prune, &rows);
	location_rows_done(&rows);
	hm_prune_done(&prune);
	return error;
}

const struct hm_function *hm_functions_find(const struct hm_functions *functions, const char *name)
{
	if (functions->slot_count == 0)
		return NULL;

	const size_t index = *find_slot(functions, name);

	return index != 0 ? &functions->rows[index - 1] : NULL;
}

void hm_functions_done(struct hm_functions *functions)
{
	for (size_t i = 0; i < functions->row_count; i++)
		free(functions->rows[i].name);
	free(functions->rows);
	free(functions->slots);
	*functions = (struct hm_functions){ 0 };
}
