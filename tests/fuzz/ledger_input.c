// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/ledger_input.h"

#include "tests/unit/ledger_build.h"

#include <stdlib.h>
#include <string.h>

/* A file to begin with, made once. */
struct beginning {
	uint8_t *bytes;
	uint64_t length_bytes;
	uint32_t *words; /* offsets of the words that are not zero */
	uint32_t word_count;
};

static struct beginning beginnings[LEDGER_INPUT_KINDS];

static void add_modules(struct ledger_build *build)
{
	static const struct hm_ledger_module modules[] = {
		{ .flags = HM_MODULE_MAIN,
		  .start_address = 0x555555554000,
		  .end_address = 0x555555664000,
		  .load_bias = 0x555555554000 },
		{ .start_address = 0x7f0000001000,
		  .end_address = 0x7f0000009000,
		  .file_offset = 0x1000,
		  .load_bias = 0x7f0000000000,
		  .build_id_size = 20,
		  .build_id = { 0xab, 0xcd, 0xef } },
		{ .flags = HM_MODULE_VDSO, .start_address = 0x7ffff7fc1000, .end_address = 0x7ffff7fc3000 },
	};
	static const char *const paths[] = { "/usr/bin/subject", "/usr/lib/libsubject.so.1", NULL };

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		ledger_build_module(build, &modules[i], paths[i]);
}

/* What the stack had at the high-water mark: kept for it, for another, half kept, or not at all. */
static void keep_peak(const struct ledger_build *build, uint32_t unit, uint32_t number)
{
	enum { KINDS = 5, MARK = 2 * 50000 };
	static const uint64_t marks[KINDS] = { MARK, 0, MARK | 1, MARK - 2, MARK + 2 };
	struct hm_ledger_stack *const record = ledger_build_stack_at(build, unit);

	ledger_build_header(build)->peak_mark = MARK;
	ledger_build_header(build)->peak_realtime_ns = UINT64_C(1700000007) * 1000000000;
	record->peak_mark = marks[number % KINDS];
	record->peak_objects = (8ul + number) << HM_OBJECTS_FRACTION_BITS;
	record->peak_bytes = 900ul * number << HM_BYTES_FRACTION_BITS;
	record->peak_objects_variance = UINT64_C(0x3ff0000000000000); /* 1.0 */
	record->peak_bytes_variance = UINT64_C(0x4059000000000000);   /* 100.0 */
}

/* Twelve stacks: some under one root, two of one hash, one in no module, all flags. */
static void add_stacks(struct ledger_build *build)
{
	for (uint32_t i = 0; i < 12; i++) {
		const uint64_t frames[] = {
			i == 7 ? hm_frame_make(0, 0x7e0000000010)
			       : hm_frame_make(2, 0x7f0000001010 + 8ul * i),
			hm_frame_make(1, 0x555555554100 + 16ul * (i % 3)),
			hm_frame_make(1, 0x555555555200),
			hm_frame_make(3, 0x7ffff7fc1800),
		};
		const uint8_t flags = i == 4 ? HM_STACK_TRUNCATED : i == 5 ? HM_STACK_CUT : 0;
		const uint64_t hash =
			i < 6 ? UINT64_C(0xabc) << 52 | (uint64_t)(i / 2 * 2 + 1) << 44 : (uint64_t)i << 56;
		const uint32_t unit = ledger_build_stack_hashed(build, frames, 1 + i % 4, flags, hash);

		ledger_build_count(build, unit,
				   &(struct ledger_counts){ .samples = 2 + i,
							    .alloc_objects = 10ul + i,
							    .alloc_bytes = 1000ul * i + 1,
							    .freed_objects = i,
							    .freed_bytes = 100ul * i,
							    .alloc_bytes_variance = 1e6,
							    .freed_bytes_variance = 1e5 });
		keep_peak(build, unit, i);
		ledger_build_live(build, 0x1000000 + 16ul * i, unit, 100, 1.5f, 16 * i);
	}
}

static void build_ledger(struct ledger_build *build, enum ledger_input_kind kind)
{
	ledger_build_begin(build, (uint64_t)LEDGER_INPUT_UNITS_MAX * HM_UNIT);
	if (kind != LEDGER_INPUT_SMALL)
		return;
	add_modules(build);
	add_stacks(build);
	ledger_build_count(build, ledger_build_header(build)->dropped_unit,
			   &(struct ledger_counts){ 1, 7, 70, 7, 70, 0.0, 0.0 });
	ledger_build_gauge(build, "hashmap/overflow_ratio", 0.25);
	ledger_build_header(build)->losses[HM_LOSS_LIVE] = 7;
}

static const struct beginning *begin_as(enum ledger_input_kind kind)
{
	struct beginning *const beginning = &beginnings[kind];

	if (beginning->bytes != NULL)
		return beginning;
	beginning->length_bytes = HM_LEDGER_ARENA_OFFSET;
	if (kind == LEDGER_INPUT_ZEROS) {
		beginning->bytes = calloc(1, beginning->length_bytes);
	} else {
		struct ledger_build build;

		build_ledger(&build, kind);
		beginning->length_bytes = ledger_build_length(&build);
		beginning->bytes = malloc(beginning->length_bytes);
		memcpy(beginning->bytes, build.bytes, beginning->length_bytes);
		ledger_build_end(&build);
	}
	beginning->words = malloc(beginning->length_bytes / sizeof(uint64_t) * sizeof(uint32_t));
	for (uint32_t at = 0; at < beginning->length_bytes; at += sizeof(uint64_t)) {
		static const uint8_t zeros[sizeof(uint64_t)];

		if (memcmp(beginning->bytes + at, zeros, sizeof(zeros)) != 0)
			beginning->words[beginning->word_count++] = at;
	}
	return beginning;
}

static uint64_t offset_of_place(const struct beginning *beginning, enum ledger_input_place place,
				uint32_t number)
{
	enum { HEADER_BYTES = 512 };

	if (place == LEDGER_INPUT_HEADER)
		return number % HEADER_BYTES;
	if (place == LEDGER_INPUT_WORD && beginning->word_count > 0)
		return beginning->words[number % beginning->word_count];
	return number;
}

/* False where the input is at its end. */
static bool take_change(struct fuzz_input *rest, const struct beginning *beginning,
			struct ledger_change *ret_change)
{
	enum { CHANGE_BYTES = 6 };

	if (rest->rest_bytes < CHANGE_BYTES)
		return false;
	const enum ledger_input_place place = fuzz_take(rest, 1) % LEDGER_INPUT_PLACES;

	ret_change->tick = (uint8_t)fuzz_take(rest, 1);
	ret_change->size_bytes = (uint8_t)fuzz_take(rest, 1);
	ret_change->offset = offset_of_place(beginning, place, (uint32_t)fuzz_take(rest, 3));
	ret_change->bytes = rest->at;
	if (ret_change->size_bytes > rest->rest_bytes)
		ret_change->size_bytes = (uint8_t)rest->rest_bytes;
	rest->at += ret_change->size_bytes;
	rest->rest_bytes -= ret_change->size_bytes;
	return true;
}

void ledger_input_begin(struct ledger_input *ret_input, const uint8_t *data, size_t size_bytes)
{
	struct fuzz_input rest = { data, size_bytes };
	const struct beginning *const beginning = begin_as(fuzz_take(&rest, 1) % LEDGER_INPUT_KINDS);
	const uint64_t units = fuzz_take(&rest, 2) % (LEDGER_INPUT_UNITS_MAX + 1);
	const uint64_t length_bytes = units == 0 ? beginning->length_bytes : units * HM_UNIT;

	ret_input->length_bytes = length_bytes;
	ret_input->bytes = calloc(1, length_bytes);
	memcpy(ret_input->bytes, beginning->bytes,
	       length_bytes < beginning->length_bytes ? length_bytes : beginning->length_bytes);
	ret_input->changes = malloc(size_bytes * sizeof(*ret_input->changes));
	ret_input->change_count = 0;
	while (take_change(&rest, beginning, &ret_input->changes[ret_input->change_count]))
		ret_input->change_count++;
}

void ledger_input_end(struct ledger_input *input)
{
	free(input->bytes);
	free(input->changes);
}

void ledger_input_change(uint8_t *bytes, uint64_t *length_bytes, const struct ledger_change *change)
{
	if (change->offset >= *length_bytes)
		return;
	const uint64_t room = *length_bytes - change->offset;

	if (change->size_bytes == 0)
		*length_bytes = change->offset;
	else
		memcpy(bytes + change->offset, change->bytes,
		       change->size_bytes < room ? change->size_bytes : room);
}
