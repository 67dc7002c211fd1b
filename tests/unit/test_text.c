// SPDX-License-Identifier: Apache-2.0
/* The small parts that formats are made of: memory, sorting, text, the string table. */
#include "proto/arena.h"
#include "proto/sort.h"
#include "proto/string_table.h"
#include "proto/text.h"
#include "tests/unit/check.h"

#include <stdlib.h>

static void test_arena(void)
{
	struct hm_arena arena;
	uint8_t *pieces[300];
	size_t sizes[300];

	hm_arena_init(&arena, SIZE_MAX);
	for (uint32_t i = 0; i < 300; i++) {
		sizes[i] = i % 10 == 9 ? 100000 + i : 7 * i;
		pieces[i] = hm_arena_allocate(&arena, sizes[i]);
		CHECK(pieces[i] != NULL && (uintptr_t)pieces[i] % 16 == 0);
		for (size_t k = 0; k < sizes[i]; k++) {
			if (pieces[i][k] != 0)
				CHECK(!"memory is zero");
		}
		memset(pieces[i], (int)(i % 255 + 1), sizes[i]);
	}
	for (uint32_t i = 0; i < 300; i++) {
		for (size_t k = 0; k < sizes[i]; k++) {
			if (pieces[i][k] != i % 255 + 1)
				CHECK(!"pieces do not overlap");
		}
	}
	CHECK(hm_arena_allocate(&arena, SIZE_MAX) == NULL);
	CHECK(hm_arena_allocate_array(&arena, SIZE_MAX / 8 + 2, 8) == NULL);
	CHECK_STR(hm_arena_copy_text(&arena, "abcdef", 3), "abc");
	hm_arena_done(&arena);
	CHECK_EQ(arena.mapped_bytes, 0);

	hm_arena_init(&arena, 1 << 20);
	CHECK(hm_arena_allocate(&arena, 600 << 10) != NULL);
	CHECK(hm_arena_allocate(&arena, 600 << 10) == NULL);
	CHECK(hm_arena_allocate(&arena, 100) != NULL); /* there is still room for less */
	CHECK(arena.mapped_bytes <= 1 << 20);
	hm_arena_done(&arena);
}

struct pair {
	uint32_t key;
	uint32_t place;
	char padding[5]; /* an odd size */
};

static int compare_pairs(const void *left, const void *right, const void *context)
{
	(void)context;
	return (int)((const struct pair *)left)->key - (int)((const struct pair *)right)->key;
}

static void test_sort(void)
{
	for (uint32_t count = 0; count < 200; count++) {
		struct pair pairs[200];
		struct pair scratch[200];
		uint64_t numbers[200];
		uint64_t number_scratch[200];

		for (uint32_t i = 0; i < count; i++) {
			pairs[i] = (struct pair){ .key = i * 7919 % 13, .place = i };
			numbers[i] = i * UINT64_C(0x9e3779b97f4a7c15);
		}
		hm_sort(pairs, scratch, count, sizeof(*pairs), compare_pairs, NULL);
		hm_sort(numbers, number_scratch, count, sizeof(*numbers), hm_compare_u64, NULL);
		uint64_t places = 0;
		for (uint32_t i = 0; i < count; i++)
			places += pairs[i].place;
		CHECK_EQ(places, (uint64_t)count * (count - (count > 0)) / 2);
		for (uint32_t i = 1; i < count; i++) {
			const bool later =
				pairs[i].key > pairs[i - 1].key ||
				(pairs[i].key == pairs[i - 1].key && pairs[i].place > pairs[i - 1].place);
			CHECK(later); /* equal ones keep their order */
			CHECK(numbers[i] > numbers[i - 1]);
		}
	}
}

static const char *size_text(uint64_t size_bytes)
{
	static char buffer[32];
	struct hm_text text = hm_text_begin(buffer, sizeof(buffer));

	hm_text_add_size(&text, size_bytes);
	return buffer;
}

static void test_numbers(void)
{
	char buffer[64];
	struct hm_text text = hm_text_begin(buffer, sizeof(buffer));

	hm_text_add_number(&text, 0);
	hm_text_add(&text, " ");
	hm_text_add_number(&text, UINT64_MAX);
	hm_text_add(&text, " ");
	hm_text_add_hex(&text, UINT64_C(0xdeadbeef01234567));
	CHECK_STR(buffer, "0 18446744073709551615 deadbeef01234567");
	CHECK_STR(size_text(0), "0 B");
	CHECK_STR(size_text(1023), "1023 B");
	CHECK_STR(size_text(1024), "1 KiB");
	CHECK_STR(size_text(512 << 10), "512 KiB");
	CHECK_STR(size_text(1536), "1.5 KiB");
	CHECK_STR(size_text((UINT64_C(5) << 30) - 1), "4.9 GiB");
	CHECK_STR(size_text(UINT64_MAX), "15.9 EiB");

	char small[8];
	text = hm_text_begin(small, sizeof(small));
	hm_text_add(&text, "heap");
	hm_text_add(&text, "mark");
	hm_text_add(&text, "!");
	CHECK_STR(small, "heapmar");
}

static void test_clean(void)
{
	static const struct {
		const char *raw;
		const char *clean;
	} cases[] = {
		{ "", "" },
		{ "/usr/bin/plain name", "/usr/bin/plain name" },
		{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "caf\xe9", "caf\\xe9" },
		{ "\xc3", "\\xc3" },                            /* cut off */
		{ "a\xc0\x80z", "a\\xc0\\x80z" },               /* too long a form of NUL */
		{ "\xe0\x9f\xbf", "\\xe0\\x9f\\xbf" },          /* too long a form */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },          /* a surrogate */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, /* beyond U+10FFFF */
		{ "red\x1b[31m\n", "red\\x1b[31m\\x0a" },       /* obeyed by terminals */
		{ "\xc2\x9b"
		  "31m",
		  "\\xc2\\x9b"
		  "31m" }, /* the same as one character */
		{ "\x7f\xc2\xa0", "\\x7f\xc2\xa0" },
	};
	char clean[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hm_text_clean(cases[i].raw, clean);
		CHECK_STR(clean, cases[i].clean);
		CHECK_EQ(hm_text_clean_length(cases[i].raw), strlen(cases[i].clean));
	}
}

static void test_strings(void)
{
	enum { STRINGS = 5000 };
	struct hm_string_table table;
	struct hm_arena arena;
	char text[32];

	hm_arena_init(&arena, SIZE_MAX);
	hm_string_table_init(&table, &arena);
	CHECK_EQ(hm_string_table_index(&table, ""), 0);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 1; i <= STRINGS; i++) {
			snprintf(text, sizeof(text), "text %u", i);
			CHECK_EQ(hm_string_table_index(&table, text), i);
		}
	}
	CHECK_EQ(table.count, STRINGS + 1);
	CHECK_STR(table.texts[STRINGS], "text 5000");
	CHECK_EQ(hm_string_table_index(&table, "\x01"), hm_string_table_index(&table, "\\x01"));
	CHECK(!table.failed);

	/* A text that has to be made clean takes memory the first time only. */
	char unclean[4096];
	memset(unclean, '\xff', sizeof(unclean) - 1);
	unclean[sizeof(unclean) - 1] = '\0';
	const uint32_t index = hm_string_table_index(&table, unclean);
	const size_t mapped_bytes = arena.mapped_bytes;
	for (uint32_t i = 0; i < STRINGS; i++)
		CHECK_EQ(hm_string_table_index(&table, unclean), index);
	CHECK_EQ(arena.mapped_bytes, mapped_bytes);
	CHECK_EQ(strlen(table.texts[index]), 4 * (sizeof(unclean) - 1));
	hm_arena_done(&arena);

	/* Too little memory: known afterwards, and nothing worse. */
	hm_arena_init(&arena, 1 << 20);
	hm_string_table_init(&table, &arena);
	for (uint32_t i = 0; i < 100000 && !table.failed; i++) {
		snprintf(text, sizeof(text), "text %u", i);
		hm_string_table_index(&table, text);
	}
	CHECK(table.failed);
	CHECK(table.count > STRINGS);
	CHECK_EQ(hm_string_table_index(&table, "text 1"), 0);
	hm_arena_done(&arena);
}

int main(void)
{
	test_arena();
	test_sort();
	test_numbers();
	test_clean();
	test_strings();
	return check_result();
}
