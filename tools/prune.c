// SPDX-License-Identifier: Apache-2.0
#include "tools/prune.h"

#include "proto/frame_expression.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* For each text of the profile, whether it is the name of a function to be hidden. */
static bool *find_hidden(const struct hm_profile *profile, const struct hm_frame_expression *drop,
			 const struct hm_frame_expression *keep)
{
	bool *const hidden = calloc((size_t)profile->string_count + 1, sizeof(hidden[0]));
	bool *const seen = calloc((size_t)profile->string_count + 1, sizeof(seen[0]));

	if (hidden == NULL || seen == NULL)
		abort();
	for (uint32_t i = 0; i < profile->function_count; i++) {
		const uint32_t name = profile->functions[i].name;

		if (name == HM_PROFILE_NONE || seen[name])
			continue;
		seen[name] = true;
		const char *const text = hm_profile_string(profile, name);

		hidden[name] =
			hm_frame_expression_matches(drop, text) && !hm_frame_expression_matches(keep, text);
	}
	free(seen);
	return hidden;
}

/* One more than the index of the outermost line that matches. */
static uint32_t count_hidden(const struct hm_profile *profile, const struct hm_profile_location *location,
			     const bool *hidden)
{
	for (uint32_t line = location->line_count; line > 0; line--) {
		const uint32_t function = location->lines[line - 1].function;
		const uint32_t name =
			function != HM_PROFILE_NONE ? profile->functions[function].name : HM_PROFILE_NONE;

		if (name != HM_PROFILE_NONE && hidden[name])
			return line;
	}
	return 0;
}

int hm_prune_init(const struct hm_profile *profile, const struct hm_profile *rules,
		  struct hm_prune *ret_prune)
{
	struct hm_frame_expression drop;
	struct hm_frame_expression keep;
	const int drop_error = hm_frame_expression_init(hm_profile_string(rules, rules->drop_frames), &drop);
	const int keep_error = hm_frame_expression_init(hm_profile_string(rules, rules->keep_frames), &keep);
	const bool understood = drop_error == 0 && keep_error == 0;

	ret_prune->hidden_lines = calloc(profile->location_count + 1, sizeof(ret_prune->hidden_lines[0]));
	if (ret_prune->hidden_lines == NULL)
		abort();
	if (understood && !drop.none) {
		bool *const hidden = find_hidden(profile, &drop, &keep);

		for (uint32_t i = 0; i < profile->location_count; i++)
			ret_prune->hidden_lines[i] = count_hidden(profile, &profile->locations[i], hidden);
		free(hidden);
	}
	hm_frame_expression_done(&drop);
	hm_frame_expression_done(&keep);
	return understood ? 0 : -EINVAL;
}

void hm_prune_done(struct hm_prune *prune)
{
	free(prune->hidden_lines);
	*prune = (struct hm_prune){ 0 };
}

static bool is_wholly_hidden(const struct hm_prune *prune, const struct hm_profile *profile,
			     uint32_t location)
{
	return prune->hidden_lines[location] > 0 &&
	       prune->hidden_lines[location] == profile->locations[location].line_count;
}

uint32_t hm_prune_innermost(const struct hm_prune *prune, const struct hm_profile *profile,
			    const struct hm_profile_sample *sample)
{
	bool found_shown = false;

	for (uint32_t place = sample->location_count; place > 0; place--) {
		const uint32_t location = sample->locations[place - 1];

		if (location == HM_PROFILE_NONE || prune->hidden_lines[location] == 0) {
			found_shown = true;
			continue;
		}
		/* a stack of nothing but such frames is shown as it is */
		if (found_shown)
			return is_wholly_hidden(prune, profile, location) ? place : place - 1;
	}
	return 0;
}

uint32_t hm_prune_first_line(const struct hm_prune *prune, const struct hm_profile *profile,
			     uint32_t location)
{
	return is_wholly_hidden(prune, profile, location) ? 0 : prune->hidden_lines[location];
}
