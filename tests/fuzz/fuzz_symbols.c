// SPDX-License-Identifier: Apache-2.0
/*
 * Names out of a file of any bytes, with debug information in it, as `heapmark dump` looks them up; and what
 * the tool makes of any bytes that its child may send.
 *
 *	byte 0        bit 0: what follows is 0: a file, 1: what a child sends
 *	              bits 1-5: how many addresses are asked for, and one more
 *	of a file:
 *	bytes 1-4     the first address
 *	then 1 byte for each address: its distance from the one before, less one
 *	and the file
 *
 * elfutils is not instrumented, and reads the file in a child, as always: what kills it there must not be
 * seen here but by its note.
 */
#include "tests/fuzz/fuzz.h"
#include "tools/symbols.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 32 };

static void require_named(const struct hm_location_name *name)
{
	fuzz_require(name->line_count > 0, "every address has a function");
	for (uint32_t i = 0; i < name->line_count; i++) {
		const struct hm_line *const line = &name->lines[i];

		fuzz_require(line->name[0] != '\0' && line->system_name[0] != '\0',
			     "every function has a name");
		fuzz_require(line->file == NULL || line->file[0] != '\0', "a file has a name, or is none");
	}
}

/* --- A file ------------------------------------------------------------------------------------------- */

static const char *make_file(const struct fuzz_input *rest)
{
	static char path[64];
	static int descriptor = -1;

	if (descriptor < 0) {
		descriptor = memfd_create("program", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), descriptor);
	}
	fuzz_require(ftruncate(descriptor, 0) == 0 &&
			     pwrite(descriptor, rest->at, rest->rest_bytes, 0) == (ssize_t)rest->rest_bytes,
		     "the file is there");
	return path;
}

static void name_file(struct fuzz_input rest, uint32_t count)
{
	uint64_t addresses[ADDRESSES_MAX];
	struct hm_location_name names[ADDRESSES_MAX] = { 0 };
	struct hm_snapshot_module module = { .end_address = UINT64_C(1) << HM_FRAME_ADDRESS_BITS };
	enum hm_names_outcome outcome = (enum hm_names_outcome)99;
	struct hm_symbols symbols;
	struct hm_arena arena;
	uint64_t address = fuzz_take(&rest, 4);

	for (uint32_t i = 0; i < count; i++) {
		address += fuzz_take(&rest, 1);
		addresses[i] = address++;
	}
	module.path = make_file(&rest);
	hm_arena_init(&arena, SIZE_MAX);
	hm_symbols_init(&symbols);
	hm_symbols_begin(&symbols, NULL);

	const struct hm_resolver resolver = hm_symbols_resolver(&symbols);

	fuzz_require(resolver.resolve(resolver.context, &arena, &module, addresses, count, names, &outcome) ==
			     0,
		     "there is memory");
	fuzz_require(outcome == HM_NAMES_FOUND || outcome == HM_NAMES_NOT_ELF, "the outcome is told");
	fuzz_require(symbols.note_count <= 1, "one file, one note");
	for (uint32_t i = 0; i < count; i++)
		require_named(&names[i]);
	hm_symbols_done(&symbols);
	hm_arena_done(&arena);
}

/* --- A child's messages ------------------------------------------------------------------------------- */

static void take_fact(void *context, enum hm_symbol_fact fact)
{
	(void)context;
	fuzz_require(fact < HM_SYMBOL_FACTS, "a fact is one of ours");
}

static void take_progress(void *context, enum hm_symbol_stage stage, uint64_t done, uint64_t total)
{
	(void)context;
	(void)done;
	(void)total;
	fuzz_require(stage == HM_SYMBOL_DOWNLOADING || stage == HM_SYMBOL_NAMING, "a stage is one of ours");
}

static int take_answer(void *context, uint32_t index, const struct hm_location_name *name)
{
	(void)context;
	(void)index;
	require_named(name);
	return 0;
}

static void read_messages(struct fuzz_input rest)
{
	struct hm_symbol_reader reader = {
		.fact = take_fact,
		.progress = take_progress,
		.answer = take_answer,
	};
	int error = 0;

	while (rest.rest_bytes > 0 && error == 0) {
		const size_t piece = rest.rest_bytes < 100 ? rest.rest_bytes : 100;

		error = hm_symbol_reader_take(&reader, rest.at, piece);
		rest.at += piece;
		rest.rest_bytes -= piece;
	}
	hm_symbol_reader_done(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct fuzz_input rest = { data, size_bytes };
	const uint32_t choice = (uint32_t)fuzz_take(&rest, 1);

	fuzz_memory_reset();
	if ((choice & 1) != 0)
		read_messages(rest);
	else
		name_file(rest, 1 + (choice >> 1) % ADDRESSES_MAX);
	return 0;
}
