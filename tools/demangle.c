// SPDX-License-Identifier: Apache-2.0
#include "tools/demangle.h"

#include <libiberty/demangle.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* GCC and clang give up long before; the demangler's time grows faster than the name. */
	LINKAGE_NAME_BYTES_MAX = 16 << 10,
	/* A name of a few bytes can stand for gigabytes: each substitution may double it. */
	READABLE_BYTES_MAX = 64 << 10,
};

/* What is replaced wherever it stands; never by something longer. */
static const struct {
	const char *from;
	const char *to;
} replacements[] = {
	{ "std::__cxx11::", "std::" },
	{ "std::__1::", "std::" },
	{ " >", ">" },
	{ "std::basic_string<char, std::char_traits<char>, std::allocator<char>>", "std::string" },
};

/* Template arguments that are there because nobody said otherwise. */
static const char *const usual_arguments[] = {
	", std::allocator<", ", std::char_traits<", ", std::default_delete<",
	", std::equal_to<",  ", std::hash<",        ", std::less<",
};

/* How a compiler marks a piece or a copy of a function; what follows is a number or the end. */
static const char *const copy_suffixes[] = {
	".part.", ".cold", ".constprop.", ".isra.", ".lto_priv.", ".llvm.", ".localalias",
};

static void replace_all(char *name, const char *from, const char *to)
{
	const size_t from_bytes = strlen(from);
	const size_t to_bytes = strlen(to);

	for (char *found = strstr(name, from); found != NULL; found = strstr(found + to_bytes, from)) {
		memmove(found + to_bytes, found + from_bytes, strlen(found + from_bytes) + 1);
		for (size_t i = 0; i < to_bytes; i++)
			found[i] = to[i];
	}
}

/*
 * If an operator's name begins here, its length, else 0: its brackets open and close nothing. What follows
 * "operator" is the sign, as in "operator<<" or "operator->"; "operator new" has none.
 */
static size_t operator_length(const char *at)
{
	static const char word[] = "operator";
	const size_t word_bytes = sizeof(word) - 1;

	if (at[0] == '-' && at[1] == '>')
		return 2;
	if (strncmp(at, word, word_bytes) != 0)
		return 0;
	return word_bytes + strspn(at + word_bytes, "<>=-");
}

/* The bracket that closes the one at `open`, or NULL. */
static char *closing_bracket(char *open)
{
	size_t depth = 0;

	for (char *at = open; *at != '\0';) {
		const size_t skipped = operator_length(at);

		if (skipped > 0) {
			at += skipped;
			continue;
		}
		depth += *at == '<';
		if (*at == '>' && --depth == 0)
			return at;
		at++;
	}
	return NULL;
}

static void remove_usual_arguments(char *name)
{
	for (size_t i = 0; i < sizeof(usual_arguments) / sizeof(usual_arguments[0]); i++) {
		const size_t length = strlen(usual_arguments[i]);

		for (char *found = strstr(name, usual_arguments[i]); found != NULL;
		     found = strstr(found, usual_arguments[i])) {
			char *const close = closing_bracket(found + length - 1);

			if (close == NULL)
				break;
			memmove(found, close + 1, strlen(close + 1) + 1);
		}
	}
}

/* Replaces what stands in more than `depth_kept` brackets by "...", where that is shorter. */
static void fold_arguments(char *name, size_t depth_kept)
{
	static const char dots[] = "...";
	size_t depth = 0;

	for (char *at = name; *at != '\0';) {
		const size_t skipped = operator_length(at);

		if (skipped > 0) {
			at += skipped;
			continue;
		}
		if (*at == '<' && depth++ == depth_kept) {
			char *const close = closing_bracket(at);

			if (close == NULL)
				return;
			if (close - at > (ptrdiff_t)sizeof(dots)) {
				memcpy(at + 1, dots, strlen(dots));
				memmove(at + sizeof(dots), close, strlen(close) + 1);
				at += sizeof(dots);
			} else {
				at = close;
			}
			continue;
		}
		depth -= *at == '>' && depth > 0;
		at++;
	}
}

void hm_demangle_shorten(char *name)
{
	for (size_t i = 0; i < sizeof(replacements) / sizeof(replacements[0]); i++)
		replace_all(name, replacements[i].from, replacements[i].to);
	remove_usual_arguments(name);
	for (size_t depth_kept = 2; depth_kept-- > 0 && strlen(name) > HM_DEMANGLE_LONG_BYTES;)
		fold_arguments(name, depth_kept);
}

/* Where the suffixes of a plain name begin: its length where there are none. */
static size_t plain_length(const char *name)
{
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(copy_suffixes) / sizeof(copy_suffixes[0]); i++) {
		const char *const found = strstr(name, copy_suffixes[i]);

		if (found != NULL && found != name && (first == NULL || found < first))
			first = found;
	}
	return first != NULL ? (size_t)(first - name) : strlen(name);
}

/* The demangler hands out a name piece by piece. */
struct readable {
	char *text; /* owned */
	size_t length_bytes;
	bool failed; /* no memory, or longer than anybody reads */
};

static void take_piece(const char *piece, size_t size_bytes, void *context)
{
	struct readable *const readable = context;

	if (readable->failed || size_bytes > READABLE_BYTES_MAX - readable->length_bytes) {
		readable->failed = true;
		return;
	}
	memcpy(readable->text + readable->length_bytes, piece, size_bytes);
	readable->length_bytes += size_bytes;
}

static bool make_readable(const char *linkage_name, struct readable *readable)
{
	const int options = DMGL_ANSI | DMGL_RET_DROP;

	if (rust_demangle_callback(linkage_name, options, take_piece, readable) != 0 && !readable->failed)
		return true;
	readable->length_bytes = 0;
	readable->failed = false;
	return cplus_demangle_v3_callback(linkage_name, options, take_piece, readable) != 0 &&
	       !readable->failed;
}

static const char *demangle_mangled(struct hm_arena *arena, const char *linkage_name)
{
	struct readable readable = { .text = malloc(READABLE_BYTES_MAX + 1) };
	const char *name = linkage_name;

	if (readable.text == NULL)
		return NULL;
	if (make_readable(linkage_name, &readable) && readable.length_bytes > 0) {
		readable.text[readable.length_bytes] = '\0';
		char *const clone = strstr(readable.text, " [clone ");
		if (clone != NULL && clone != readable.text)
			*clone = '\0';
		hm_demangle_shorten(readable.text);
		name = hm_arena_copy_text(arena, readable.text, strlen(readable.text));
	}
	free(readable.text);
	return name;
}

bool hm_is_mangled(const char *linkage_name)
{
	return strncmp(linkage_name, "_Z", 2) == 0 || strncmp(linkage_name, "_R", 2) == 0;
}

const char *hm_demangle(struct hm_arena *arena, const char *linkage_name)
{
	const size_t length = strnlen(linkage_name, LINKAGE_NAME_BYTES_MAX);

	if (length == LINKAGE_NAME_BYTES_MAX)
		return linkage_name;
	if (hm_is_mangled(linkage_name))
		return demangle_mangled(arena, linkage_name);
	return plain_length(linkage_name) < length
		       ? hm_arena_copy_text(arena, linkage_name, plain_length(linkage_name))
		       : linkage_name;
}
