// SPDX-License-Identifier: Apache-2.0
#include "proto/text.h"

#include <stdbool.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

struct hm_text hm_text_begin(char *buffer, size_t capacity_bytes)
{
	buffer[0] = '\0';
	return (struct hm_text){ .buffer = buffer, .capacity_bytes = capacity_bytes };
}

void hm_text_add(struct hm_text *text, const char *more)
{
	const size_t room = text->capacity_bytes - 1 - text->length_bytes;
	const size_t wanted = strlen(more);
	const size_t taken = wanted < room ? wanted : room;

	memcpy(text->buffer + text->length_bytes, more, taken);
	text->length_bytes += taken;
	text->buffer[text->length_bytes] = '\0';
}

static void add_in_base(struct hm_text *text, uint64_t number, uint32_t base)
{
	char digits[24]; /* 2^64 has 20 decimal digits */
	size_t first = sizeof(digits) - 1;

	digits[first] = '\0';
	do {
		digits[--first] = hex_digits[number % base];
		number /= base;
	} while (number != 0);
	hm_text_add(text, digits + first);
}

void hm_text_add_number(struct hm_text *text, uint64_t number)
{
	add_in_base(text, number, 10);
}

void hm_text_add_hex(struct hm_text *text, uint64_t number)
{
	add_in_base(text, number, 16);
}

void hm_text_add_size(struct hm_text *text, uint64_t size_bytes)
{
	static const char *const units[] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
	uint32_t unit = 0;

	while (unit < 6 && size_bytes >> (10 * (unit + 1)) != 0)
		unit++;
	hm_text_add_number(text, size_bytes >> (10 * unit));
	const uint64_t rest = unit == 0 ? 0 : size_bytes & ((UINT64_C(1) << (10 * unit)) - 1);
	/* Shifted down to ten bits first: rest * 10 would not fit for EiB. */
	const uint64_t tenth = unit == 0 ? 0 : (rest >> (10 * (unit - 1))) * 10 / 1024;
	if (tenth != 0) {
		hm_text_add(text, ".");
		hm_text_add_number(text, tenth);
	}
	hm_text_add(text, units[unit]);
}

size_t hm_utf8_character(const char *text, size_t length_bytes)
{
	if (length_bytes == 0)
		return 0;
	const uint8_t *const bytes = (const uint8_t *)text;
	const uint8_t first = bytes[0];
	size_t size;
	uint32_t point;

	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0) {
		size = 2;
		point = first & 0x1f;
	} else if (first >= 0xe0 && first < 0xf0) {
		size = 3;
		point = first & 0x0f;
	} else if (first >= 0xf0 && first < 0xf5) {
		size = 4;
		point = first & 0x07;
	} else {
		return 0;
	}
	if (size > length_bytes)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (bytes[i] & 0x3f);
	}
	const bool too_long = (size == 3 && point < 0x800) || (size == 4 && point < 0x10000);
	const bool surrogate = point >= 0xd800 && point < 0xe000;
	return too_long || surrogate || point > 0x10ffff ? 0 : size;
}

/* Size of the character at `text`, or 0 where its first byte has to be written as \xNN. */
static size_t clean_character(const char *text, size_t length_bytes)
{
	const uint8_t first = (uint8_t)text[0];

	if (first < 0x20 || first == 0x7f)
		return 0;
	/* U+0080 to U+009F: control characters too, some of which terminals obey. */
	if (first == 0xc2 && length_bytes > 1 && (uint8_t)text[1] < 0xa0)
		return 0;
	return hm_utf8_character(text, length_bytes);
}

size_t hm_text_clean_length(const char *text)
{
	const size_t length_bytes = strlen(text);
	size_t clean_bytes = 0;

	for (size_t i = 0; i < length_bytes;) {
		const size_t size = clean_character(text + i, length_bytes - i);

		clean_bytes += size == 0 ? strlen("\\xNN") : size;
		i += size == 0 ? 1 : size;
	}
	return clean_bytes;
}

void hm_text_clean(const char *text, char *ret_clean)
{
	const size_t length_bytes = strlen(text);
	char *end = ret_clean;

	for (size_t i = 0; i < length_bytes;) {
		const size_t size = clean_character(text + i, length_bytes - i);

		if (size == 0) {
			*end++ = '\\';
			*end++ = 'x';
			*end++ = hex_digits[(uint8_t)text[i] >> 4];
			*end++ = hex_digits[(uint8_t)text[i] & 0xf];
			i++;
		} else {
			memcpy(end, text + i, size);
			end += size;
			i += size;
		}
	}
	*end = '\0';
}
