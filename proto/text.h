// SPDX-License-Identifier: Apache-2.0
/* Text without stdio and locale. */
#ifndef HM_PROTO_TEXT_H
#define HM_PROTO_TEXT_H

#include "proto/arena.h"

#include <stddef.h>
#include <stdint.h>

/* A line being put together.  What does not fit is left out; the text is always terminated. */
struct hm_text {
	char *buffer; /* borrowed */
	size_t capacity_bytes;
	size_t length_bytes;
};

/* capacity_bytes is at least 1. */
struct hm_text hm_text_begin(char *buffer, size_t capacity_bytes);
void hm_text_add(struct hm_text *text, const char *more);
void hm_text_add_number(struct hm_text *text, uint64_t number);
/* In lower case, without "0x". */
void hm_text_add_hex(struct hm_text *text, uint64_t number);
/* "512 KiB", "1.5 MiB", "100 B": at most one decimal, rounded down; exact multiples without. */
void hm_text_add_size(struct hm_text *text, uint64_t size_bytes);

/* Length in bytes of the valid UTF-8 character at the start of `text`, or 0 where there is none. */
size_t hm_utf8_character(const char *text, size_t length_bytes);

/*
 * Text fit for a profile and for a terminal: bytes that are not valid UTF-8, and control characters, become
 * \xNN.  Returns `text` itself where nothing needs to be changed, else a copy in `arena`; NULL: no memory.
 */
const char *hm_text_clean(struct hm_arena *arena, const char *text);

#endif
