// SPDX-License-Identifier: Apache-2.0
/*
 * Call-frame information of any bytes, at the end of readable memory.
 *
 *	bytes 0-1     an address, counted from the object's start
 *	bytes 2-3     where .eh_frame_hdr begins, likewise
 *	and the object
 */
#include "preload/cfi.h"
#include "preload/cfi_frame.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { OBJECT_BYTES_MAX = 32768, PAGE_BYTES = 4096, ADDRESSES = 8, STEPS = 4 };

static struct hm_cfi_reader reader;

/* The bytes, such that the next one cannot be read. */
static struct hm_cfi_object make_object(const struct fuzz_input *rest, uint64_t header)
{
	static uint8_t *end;

	if (end == NULL) {
		uint8_t *const memory = mmap(NULL, OBJECT_BYTES_MAX + PAGE_BYTES, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		fuzz_require(memory != MAP_FAILED, "there is memory");
		end = memory + OBJECT_BYTES_MAX;
		fuzz_require(mprotect(end, PAGE_BYTES, PROT_NONE) == 0, "a page can be closed");
	}

	const size_t size_bytes = rest->rest_bytes < OBJECT_BYTES_MAX ? rest->rest_bytes : OBJECT_BYTES_MAX;
	uint8_t *const start = end - size_bytes;

	if (size_bytes > 0)
		memcpy(start, rest->at, size_bytes);
	return (struct hm_cfi_object){
		.start = (uintptr_t)start,
		.end = (uintptr_t)end + (header & 1) * PAGE_BYTES, /* it may say that it is longer */
		.header = (uintptr_t)start + header,
	};
}

/* Some steps by one row, in numbers and in terms of SP and FP. */
static void step_by_row(const struct hm_cfi_object *object)
{
	static struct hm_proven_pages proven;
	struct hm_cfi_frame numbers = { .proven = &proven };
	struct hm_cfi_frame terms = { .registers = { [HM_CFI_SP] = { .base = HM_CFI_FROM_SP },
						     [HM_CFI_FP] = { .base = HM_CFI_FROM_FP } } };

	for (uint32_t number = 0; number < HM_CFI_REGISTERS; number++)
		numbers.registers[number] = hm_cfi_number(object->start + 8 * number);
	for (int i = 0; i < STEPS; i++) {
		hm_cfi_step(&numbers, &reader.row);
		hm_cfi_step(&terms, &reader.row);
	}
	for (uint32_t number = 0; number < HM_CFI_REGISTERS; number++)
		fuzz_require(numbers.registers[number].base <= HM_CFI_NUMBER, "numbers make numbers");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct fuzz_input rest = { data, size_bytes };
	const uint64_t address = fuzz_take(&rest, 2);
	const uint64_t header = fuzz_take(&rest, 2);
	const struct hm_cfi_object object = make_object(&rest, header);

	for (uint64_t i = 0; i < ADDRESSES; i++) {
		const int error = hm_cfi_find(&reader, &object, object.start + address + i * 16);

		fuzz_require(error == 0 || error == -ENOENT || error == -EINVAL, "the error is one of two");
		if (error == 0)
			step_by_row(&object);
	}
	return 0;
}
