// SPDX-License-Identifier: Apache-2.0
#include "proto/frame_expression.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARENTHESES_MAX = 32 };

/* Whether the C library may be trusted with it: see the header. */
static bool is_harmless(const char *text)
{
	int depth = 0;
	int depth_max = 0;

	if (strnlen(text, HM_FRAME_EXPRESSION_BYTES_MAX + 1) > HM_FRAME_EXPRESSION_BYTES_MAX)
		return false;
	for (; *text != '\0'; text++) {
		if (*text == '{' || (*text == '\\' && text[1] >= '1' && text[1] <= '9') ||
		    (*text == '(' && text[1] == '?'))
			return false;
		depth += (*text == '(') - (*text == ')');
		if (depth > depth_max)
			depth_max = depth;
	}
	return depth_max <= PARENTHESES_MAX;
}

int hm_frame_expression_init(const char *text, struct hm_frame_expression *ret_expression)
{
	char *anchored = NULL;

	*ret_expression = (struct hm_frame_expression){ .none = true };
	if (text[0] == '\0')
		return 0;
	if (!is_harmless(text))
		return -ENOTSUP;
	if (asprintf(&anchored, "^(%s)$", text) < 0)
		abort();
	ret_expression->none = regcomp(&ret_expression->compiled, anchored, REG_EXTENDED | REG_NOSUB) != 0;
	free(anchored);
	return ret_expression->none ? -EINVAL : 0;
}

void hm_frame_expression_done(struct hm_frame_expression *expression)
{
	if (!expression->none)
		regfree(&expression->compiled);
	expression->none = true;
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

bool hm_frame_expression_matches(const struct hm_frame_expression *expression, const char *name)
{
	if (expression->none || strnlen(name, HM_FRAME_NAME_MATCHED_BYTES + 1) > HM_FRAME_NAME_MATCHED_BYTES)
		return false;

	char *const plain = plain_name(name);
	const bool matches = plain[0] != '\0' && regexec(&expression->compiled, plain, 0, NULL, 0) == 0;

	free(plain);
	return matches;
}
