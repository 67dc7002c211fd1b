// SPDX-License-Identifier: Apache-2.0
/*
 * Function names out of a file of any bytes.
 *
 *	byte 0        how many addresses are asked for, modulo 33, and one more
 *	byte 1        length of the module's build id, modulo 33
 *	bytes 2-5     where the module begins, in pages
 *	bytes 6-9     its load bias, in pages less than its beginning
 *	bytes 10-41   its build id
 *	then 2 bytes for each address: its distance from the one before, less one
 *	and the file
 */
#include "proto/elf_symbols.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ADDRESSES_MAX = 33,
	PAGE_BYTES = 4096,
	/* A piece and two names, 1024 segments of 56 bytes; for each address a line, a name and a finding. */
	RESOLVE_BYTES_FIXED = 128 << 10,
	RESOLVE_BYTES_PER_ADDRESS = 4096 + 512,
};

/* The file without a name that holds the bytes. */
static const char *make_file(const struct fuzz_input *rest)
{
	static char path[32];
	static int descriptor = -1;

	if (descriptor < 0) {
		descriptor = memfd_create("module", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
	}
	fuzz_require(ftruncate(descriptor, 0) == 0 &&
			     pwrite(descriptor, rest->at, rest->rest_bytes, 0) == (ssize_t)rest->rest_bytes,
		     "the file is there");
	return path;
}

static struct hm_snapshot_module take_module(struct fuzz_input *rest)
{
	struct hm_snapshot_module module = { .build_id_size =
						     (uint32_t)(fuzz_take(rest, 1) % (HM_BUILD_ID_MAX + 1)) };

	module.start_address = (1 + fuzz_take(rest, 4)) * PAGE_BYTES;
	module.end_address = UINT64_C(1) << HM_FRAME_ADDRESS_BITS;
	/* Wraps around where the bias is more than the beginning: a ledger can say that too. */
	module.load_bias = module.start_address - fuzz_take(rest, 4) * PAGE_BYTES;
	for (uint32_t i = 0; i < HM_BUILD_ID_MAX; i++)
		module.build_id[i] = (uint8_t)fuzz_take(rest, 1);
	return module;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	const struct hm_resolver resolver = hm_elf_resolver();
	struct fuzz_input rest = { data, size_bytes };
	const uint32_t count = 1 + (uint32_t)(fuzz_take(&rest, 1) % ADDRESSES_MAX);
	struct hm_snapshot_module module = take_module(&rest);
	uint64_t address = module.start_address;
	uint64_t addresses[ADDRESSES_MAX];
	struct hm_location_name names[ADDRESSES_MAX] = { 0 };
	enum hm_names_outcome outcome = (enum hm_names_outcome)99;
	struct hm_arena arena;

	for (uint32_t i = 0; i < count; i++) {
		address += fuzz_take(&rest, 2);
		addresses[i] = address++;
	}
	module.path = make_file(&rest);

	fuzz_memory_reset();
	hm_arena_init(&arena, SIZE_MAX);
	fuzz_require(resolver.resolve(resolver.context, &arena, &module, addresses, count, names, &outcome) ==
			     0,
		     "there is memory");
	fuzz_require(outcome == HM_NAMES_FOUND || outcome == HM_NAMES_OTHER_FILE ||
			     outcome == HM_NAMES_NOT_ELF,
		     "the outcome is told");
	fuzz_require(fuzz_memory_peak_bytes() <= RESOLVE_BYTES_FIXED + count * RESOLVE_BYTES_PER_ADDRESS,
		     "names take memory in proportion to the addresses");
	for (uint32_t i = 0; i < count; i++) {
		fuzz_require(names[i].line_count == 1 && names[i].lines[0].name[0] != '\0' &&
				     names[i].lines[0].system_name[0] != '\0',
			     "every address has a name");
		fuzz_require(names[i].placeholder || outcome == HM_NAMES_FOUND,
			     "a file that is not the module's names nothing");
	}
	hm_arena_done(&arena);
	return 0;
}
