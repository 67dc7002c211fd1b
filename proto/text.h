// SPDX-License-Identifier: Apache-2.0
/* Text without stdio and locale. */
#ifndef HM_PROTO_TEXT_H
#define HM_PROTO_TEXT_H

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
 * \xNN.  The length of `text` when it is clean, which is its own where nothing needs to be changed; and the
 * clean text itself, for which ret_clean has room, terminated.
 */
size_t hm_text_clean_length(const char *text);
void hm_text_clean(const char *text, char *ret_clean);

#endif
