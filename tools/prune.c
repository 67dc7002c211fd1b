// SPDX-License-Identifier: Apache-2.0
#include "tools/prune.h"

#include <errno.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	EXPRESSION_BYTES_MAX = 4096, /* ours has some 200, Go's of other profiles up to 900 */
	PARENTHESES_MAX = 32,
	NAME_BYTES_MAX = 4096, /* proto/elf_symbols.c cuts names there */
};

/* Both anchored; `none` where the profile gives no expression. */
struct expression {
	regex_t compiled;
	bool none;
};

/* Whether the C library may be trusted with it: see prune.h. */
static bool is_harmless(const char *text)
{
	int depth = 0;
	int depth_max = 0;

	if (strnlen(text, EXPRESSION_BYTES_MAX + 1) > EXPRESSION_BYTES_MAX)
		return false;
	for (; *text != '\0'; text++) {
		if (*text == '{' || (*text == '\\' && text[1] >= '1' && text[1] <= '9'))
			return false;
		depth += (*text == '(') - (*text == ')');
		if (depth > depth_max)
			depth_max = depth;
	}
	return depth_max <= PARENTHESES_MAX;
}

static int compile(const struct hm_profile *profile, uint32_t text_index, struct expression *ret_expression)
{
	const char *const text = hm_profile_string(profile, text_index);
	char *anchored = NULL;
	int error = 0;

	ret_expression->none = text[0] == '\0';
	if (ret_expression->none)
		return 0;
	ret_expression->none = true;
	if (!is_harmless(text))
		return -EINVAL;
	if (asprintf(&anchored, "^(%s)$", text) < 0)
		abort();
	error = regcomp(&ret_expression->compiled, anchored, REG_EXTENDED | REG_NOSUB);
	free(anchored);
	ret_expression->none = error != 0;
	return error != 0 ? -EINVAL : 0;
}

static void release(struct expression *expression)
{
	if (!expression->none)
		regfree(&expression->compiled);
}

static bool matches(const struct expression *expression, const char *name)
{
	return !expression->none && regexec(&expression->compiled, name, 0, NULL, 0) == 0;
}

/* A part of a name that has parentheses of its own. */
static size_t part_length(const char *text)
{
	static const char *const parts[] = { "(anonymous namespace)", "operator()" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strncmp(text, parts[i], strlen(parts[i])) == 0)
			return strlen(parts[i]);
	return 0;
}

/* The function's name without its arguments, as a copy. */
static char *plain_name(const char *name)
{
	size_t length = 0;

	name += name[0] == '.';
	while (name[length] != '\0') {
		const size_t part = part_length(name + length);

		if (part == 0 && name[length] == '(')
			break;
		length += part > 0 ? part : 1;
	}

	char *const plain = strndup(name, length);

	if (plain == NULL)
		abort();
	return plain;
}

static bool is_hidden(const char *name, const struct expression *drop, const struct expression *keep)
{
	if (strnlen(name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX)
		return false;

	char *const plain = plain_name(name);
	const bool hidden = plain[0] != '\0' && matches(drop, plain) && !matches(keep, plain);

	free(plain);
	return hidden;
}

/* For each text of the profile, whether it is the name of a function to be hidden. */
static bool *find_hidden(const struct hm_profile *profile, const struct expression *drop,
			 const struct expression *keep)
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
		hidden[name] = is_hidden(hm_profile_string(profile, name), drop, keep);
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
	struct expression drop = { .none = true };
	struct expression keep = { .none = true };
	int error = compile(rules, rules->drop_frames, &drop);

	if (error == 0)
		error = compile(rules, rules->keep_frames, &keep);
	ret_prune->hidden_lines = calloc(profile->location_count + 1, sizeof(ret_prune->hidden_lines[0]));
	if (ret_prune->hidden_lines == NULL)
		abort();
	if (error == 0 && !drop.none) {
		bool *const hidden = find_hidden(profile, &drop, &keep);

		for (uint32_t i = 0; i < profile->location_count; i++)
			ret_prune->hidden_lines[i] = count_hidden(profile, &profile->locations[i], hidden);
		free(hidden);
	}
	release(&drop);
	release(&keep);
	return error;
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
