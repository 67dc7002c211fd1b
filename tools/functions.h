// SPDX-License-Identifier: Apache-2.0
/*
 * The figures of many samples, added up by function: `flat` what a function allocated itself, `cum` with all
 * that it called.  One that stands in a stack several times is counted once.
 *
 * In a file any number of functions may have one long name, and any number of lines one long path; so rows
 * are told apart by the first HM_FRAME_NAME_BYTES_MAX bytes of either, and when their names together take
 * TEXT_BYTES_MAX, what is new is added to a row "<others>".
 */
#ifndef HM_TOOLS_FUNCTIONS_H
#define HM_TOOLS_FUNCTIONS_H

#include "tools/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hm_function {
	char *name; /* owned; with file and line where lines were asked for and are known */
	struct hm_view_figures flat;
	struct hm_view_figures cum;
	uint64_t last_sample; /* number of the last sample that was added to cum */
};

struct hm_functions {
	struct hm_function *rows; /* owned */
	size_t row_count;
	size_t row_room;
	size_t *slots;     /* owned; row index + 1 by hash of the name; 0: empty */
	size_t slot_count; /* a power of two, at least twice row_room */
	size_t text_bytes; /* of all names */
	uint64_t sample_count;
	bool has_lines;               /* a file or a line was known somewhere */
	struct hm_view_figures total; /* of all samples, also those without a function */
};

/*
 * Adds the samples of a view.  by_lines: a function's lines are rows of their own.  Frames that the profile
 * `rules` wants hidden (the view's own, or the one it is compared with; borrowed for the call) are left out;
 * where its expression cannot be understood, returns -EINVAL and has hidden none.
 */
int hm_functions_add(struct hm_functions *functions, const struct hm_view *view,
		     const struct hm_profile *rules, bool by_lines);

/* The row of that name, borrowed; NULL where there is none. */
const struct hm_function *hm_functions_find(const struct hm_functions *functions, const char *name);

/* Accepts a zeroed table. */
void hm_functions_done(struct hm_functions *functions);

#endif
