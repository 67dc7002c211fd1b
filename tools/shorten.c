// SPDX-License-Identifier: Apache-2.0
#include "tools/shorten.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char ellipsis[] = "...";

/* What is nested deeper goes at once: each level is a pass over the name, which may be all brackets. */
enum { LEVELS_MAX = 16 };

static bool is_first_byte(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

size_t hm_text_columns(const char *text)
{
	size_t columns = 0;

	for (; *text != '\0'; text++)
		columns += is_first_byte(*text);
	return columns;
}

static bool is_of_a_word(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	       byte == '_';
}

/* Length of what looks like brackets at `place` and are none: "operator<<", "operator()", "->". */
static size_t plain_length(const char *name, const char *place)
{
	static const char word[] = "operator";
	static const char *const symbols[] = { "<=>", "<<=", ">>=", "->*", "<<", ">>",
					       "<=",  ">=",  "->",  "()",  "<",  ">" };
	const size_t before = (size_t)(place - name);
	const bool is_operator =
		before >= strlen(word) && memcmp(place - strlen(word), word, strlen(word)) == 0 &&
		(before == strlen(word) || !is_of_a_word(place[-(ptrdiff_t)strlen(word) - 1]));

	for (size_t i = 0; is_operator && i < sizeof(symbols) / sizeof(symbols[0]); i++)
		if (strncmp(place, symbols[i], strlen(symbols[i])) == 0)
			return strlen(symbols[i]);
	if (strncmp(place, "->", 2) == 0)
		return 2;
	if (strncmp(place, "(anonymous namespace)", 21) == 0)
		return 21;
	return 0;
}

/* One step through a name: more than one byte where these are no brackets. */
static size_t step_length(const char *name, const char *place)
{
	const size_t plain = plain_length(name, place);

	return plain > 0 ? plain : 1;
}

static bool is_bracket(const char *name, const char *place, char bracket)
{
	return *place == bracket && plain_length(name, place) == 0;
}

/* The deepest nesting of `open`..`close`, at most LEVELS_MAX. */
static size_t depth_of(const char *name, char open, char close)
{
	size_t depth = 0;
	size_t deepest = 0;

	for (const char *place = name; *place != '\0'; place += step_length(name, place)) {
		depth += is_bracket(name, place, open);
		depth -= is_bracket(name, place, close) && depth > 0;
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest < LEVELS_MAX ? deepest : LEVELS_MAX;
}

/* Behind the bracket that closes the one at `place`; NULL where none does. */
static const char *end_of_pair(const char *name, const char *place, char open, char close)
{
	size_t depth = 0;

	do {
		depth += is_bracket(name, place, open);
		depth -= is_bracket(name, place, close);
		place += step_length(name, place);
	} while (*place != '\0' && depth > 0);
	return depth == 0 ? place : NULL;
}

/* Puts "..." in place of what is inside the pairs that are `level` deep, where that is shorter. */
static void collapse(char *name, char open, char close, size_t level)
{
	char *const copy = strdup(name);
	size_t depth = 0;

	if (copy == NULL)
		abort();
	for (const char *place = copy; *place != '\0';) {
		const char *end = NULL;

		depth += is_bracket(copy, place, open);
		if (is_bracket(copy, place, open) && depth == level)
			end = end_of_pair(copy, place, open, close);
		else
			depth -= is_bracket(copy, place, close) && depth > 0;
		if (end == NULL) {
			end = place + step_length(copy, place);
		} else {
			depth--;
			if ((size_t)(end - place) > strlen("<...>")) {
				*name++ = open;
				name = stpcpy(name, ellipsis);
				*name++ = close;
				place = end;
			}
		}
		while (place < end)
			*name++ = *place++;
	}
	*name = '\0';
	free(copy);
}

/* The byte at which the character of that number begins. */
static size_t byte_of(const char *text, size_t column)
{
	size_t byte = 0;

	for (;; byte++) {
		if (text[byte] == '\0' || (is_first_byte(text[byte]) && column-- == 0))
			return byte;
	}
}

/* Keeps more of the end, where the function's own name and its line are. */
static void cut_middle(char *name, size_t columns)
{
	const size_t all = hm_text_columns(name);
	const size_t kept = columns > strlen(ellipsis) ? columns - strlen(ellipsis) : 0;
	const size_t head = kept / 3;

	if (all <= columns || all < strlen(ellipsis))
		return;

	const size_t head_bytes = byte_of(name, head);
	const size_t tail_byte = byte_of(name, all - (kept - head));

	memmove(name + head_bytes + strlen(ellipsis), name + tail_byte, strlen(name + tail_byte) + 1);
	memset(name + head_bytes, ellipsis[0], strlen(ellipsis));
}

char *hm_shorten_name(const char *name, size_t columns)
{
	char *const text = strdup(name);

	if (text == NULL)
		abort();
	for (size_t depth = depth_of(text, '<', '>'); depth > 0 && hm_text_columns(text) > columns; depth--)
		collapse(text, '<', '>', depth);
	for (size_t depth = depth_of(text, '(', ')'); depth > 0 && hm_text_columns(text) > columns; depth--)
		collapse(text, '(', ')', depth);
	if (hm_text_columns(text) > columns)
		cut_middle(text, columns);
	return text;
}
