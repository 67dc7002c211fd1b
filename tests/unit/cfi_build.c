// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/cfi_build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* As in .eh_frame_hdr: an address is a distance from its start. */
struct table_entry {
	int32_t start;
	int32_t fde;
};

struct header {
	uint8_t encodings[4];
	int32_t eh_frame;
	uint32_t count;
	struct table_entry entries[CFI_FUNCTIONS_MAX];
};

/* Bytes that are written one behind the other; first nowhere, to learn how many there are. */
struct pen {
	uint8_t *at; /* NULL: nowhere */
	size_t size_bytes;
};

static void put(struct pen *pen, const void *bytes, size_t size_bytes)
{
	if (pen->at != NULL && size_bytes > 0)
		memcpy(pen->at + pen->size_bytes, bytes, size_bytes);
	pen->size_bytes += size_bytes;
}

static void put_u8(struct pen *pen, uint8_t number)
{
	put(pen, &number, sizeof(number));
}

static void put_u32(struct pen *pen, uint32_t number)
{
	put(pen, &number, sizeof(number));
}

/* As many bytes as sign and number need; the uppermost bit of the last is the sign's. */
static void put_sleb(struct pen *pen, int64_t number)
{
	while (number > 63 || number < -64) {
		put_u8(pen, (uint8_t)(0x80 | (number & 0x7f)));
		number = (number - (number & 0x7f)) / 128;
	}
	put_u8(pen, (uint8_t)(number & 0x7f));
}

static void put_uleb(struct pen *pen, uint64_t number)
{
	for (; number > 0x7f; number >>= 7)
		put_u8(pen, (uint8_t)(0x80 | (number & 0x7f)));
	put_u8(pen, (uint8_t)number);
}

static void put_bytes(struct pen *pen, struct cfi_bytes bytes)
{
	put(pen, bytes.bytes, bytes.size_bytes);
}

/* By the format of the encoding alone. */
static void put_formatted(struct pen *pen, uint8_t encoding, uint64_t number)
{
	switch (encoding & 0x0f) {
	case 0x01:
		put_uleb(pen, number);
		break;
	case 0x09:
		put_sleb(pen, (int64_t)number);
		break;
	case 0x02:
	case 0x0a:
		put(pen, &number, sizeof(uint16_t));
		break;
	case 0x03:
	case 0x0b:
		put(pen, &number, sizeof(uint32_t));
		break;
	default:
		put(pen, &number, sizeof(uint64_t));
		break;
	}
}

static void put_pointer(struct pen *pen, uint8_t encoding, uintptr_t address)
{
	const bool is_from_here = (encoding & 0x70) == 0x10;

	put_formatted(pen, encoding, address - (is_from_here ? (uintptr_t)(pen->at + pen->size_bytes) : 0));
}

/* Writes the length of what was written since, which begins with four bytes for it. */
static void end_entry(struct pen *pen, size_t start)
{
	if (pen->at != NULL)
		cfi_write_u32(pen->at + start, (uint32_t)(pen->size_bytes - start - sizeof(uint32_t)));
}

static void put_cie(struct pen *pen, const struct cfi_shape *shape)
{
	const size_t start = pen->size_bytes;
	const char *const augmentation = shape->augmentation != NULL ? shape->augmentation : "zR";

	put_u32(pen, 0);
	put_u32(pen, 0); /* it is a CIE */
	put_u8(pen, shape->version != 0 ? shape->version : 1);
	put(pen, augmentation, strlen(augmentation) + 1);
	put_uleb(pen, shape->code_alignment != 0 ? shape->code_alignment : 1);
	put_sleb(pen, shape->data_alignment != 0 ? shape->data_alignment : -8);
	put_bytes(pen,
		  shape->return_register.size_bytes != 0 ? shape->return_register : CFI_BYTES(HM_CFI_PC));
	if (!shape->has_no_augmentation_data) {
		const struct cfi_bytes data = shape->augmentation_data.size_bytes != 0
						      ? shape->augmentation_data
						      : CFI_BYTES(shape->pointer_encoding);

		put_uleb(pen, data.size_bytes);
		put_bytes(pen, data);
	}
	put_bytes(pen, shape->cie_program.bytes != NULL ? shape->cie_program
							: CFI_BYTES(0x0c, HM_CFI_SP, 8, 0x90, 1));
	end_entry(pen, start);
}

static uint32_t function_bytes(const struct cfi_shape *shape)
{
	return shape->function_bytes != 0 ? shape->function_bytes : CFI_FUNCTION_BYTES;
}

/* The distance to the CIE, which is the first entry, counts from where it is written. */
static void put_fde(struct pen *pen, const struct cfi_shape *shape, uintptr_t function,
		    struct cfi_bytes program)
{
	const size_t start = pen->size_bytes;

	put_u32(pen, 0);
	put_u32(pen, (uint32_t)pen->size_bytes);
	put_pointer(pen, shape->pointer_encoding, function);
	put_formatted(pen, shape->pointer_encoding, function_bytes(shape));
	if (!shape->has_no_augmentation_data)
		put_uleb(pen, 0);
	put_bytes(pen, program);
	end_entry(pen, start);
}

static uintptr_t function_at(const struct cfi_made *made, uint32_t index)
{
	return made->function + (uintptr_t)index * 2 * CFI_FUNCTION_BYTES;
}

static size_t put_entries(uint8_t *at, const struct cfi_shape *shape, struct cfi_made *made)
{
	struct header *const header = (struct header *)made->object.header;
	struct pen pen = { .at = at };

	put_cie(&pen, shape);
	for (uint32_t index = 0; index < header->count; index++) {
		header->entries[index] = (struct table_entry){
			.start = (int32_t)(function_at(made, index) - made->object.header),
			.fde = (int32_t)((uintptr_t)at + pen.size_bytes - made->object.header),
		};
		if (index == 0)
			made->fde = at + pen.size_bytes;
		put_fde(&pen, shape, function_at(made, index),
			index == 0 ? shape->program : (struct cfi_bytes){ 0 });
		if (index == 0)
			made->fde_end = at + pen.size_bytes;
	}
	return pen.size_bytes;
}

static uint8_t *memory_below_2_gib(void)
{
	static uint8_t *memory;
	const size_t size_bytes = CFI_MADE_BYTES + CFI_PAGE_BYTES;

	if (memory == NULL) {
		void *const mapped = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

		if (mapped == MAP_FAILED ||
		    mprotect((uint8_t *)mapped + CFI_MADE_BYTES, CFI_PAGE_BYTES, PROT_NONE) != 0) {
			perror("memory for made-up objects");
			exit(1);
		}
		memory = mapped;
	}
	return memory;
}

struct cfi_shape cfi_usual(struct cfi_bytes program)
{
	return (struct cfi_shape){ .pointer_encoding = CFI_POINTER_USUAL, .program = program };
}

struct cfi_made cfi_make(const struct cfi_shape *shape)
{
	uint8_t *const start = memory_below_2_gib();
	uint8_t *const end = start + CFI_MADE_BYTES;
	struct header *const header = (struct header *)start;
	struct cfi_made made = {
		.object = { .start = (uintptr_t)start, .end = (uintptr_t)end, .header = (uintptr_t)start },
		.start = start,
		.end = end,
		.function = (uintptr_t)start +
			    (shape->function_offset != 0 ? shape->function_offset : CFI_PAGE_BYTES),
		.table = (uint8_t *)header->entries,
	};

	memset(start, 0, CFI_MADE_BYTES);
	*header = (struct header){
		.encodings = { 1, CFI_POINTER_USUAL, 0x03, 0x3b },
		.count = shape->function_count != 0 ? shape->function_count : 1,
	};

	/* How many bytes a distance takes may depend on where it is written from: twice, until it is so. */
	size_t size_bytes = 0;
	uint8_t scratch[1024];

	size_bytes = put_entries(scratch, shape, &made);
	made.entries = end - size_bytes;
	for (int i = 0; i < 3; i++) {
		const size_t now_bytes = put_entries(made.entries, shape, &made);

		if (now_bytes == size_bytes)
			break;
		size_bytes = now_bytes;
		made.entries = end - size_bytes;
	}
	made.pointers = made.fde + 2 * sizeof(uint32_t);
	return made;
}

void cfi_cut(struct cfi_made *made, size_t size_bytes)
{
	uint8_t *const moved = made->end - size_bytes;
	const ptrdiff_t distance = moved - made->entries;

	memmove(moved, made->entries, size_bytes);
	made->entries = moved;
	cfi_point_at(made, made->fde + distance);
}

void cfi_point_at(struct cfi_made *made, const uint8_t *fde)
{
	struct header *const header = (struct header *)made->object.header;

	header->entries[0].fde = (int32_t)((uintptr_t)fde - made->object.header);
}

struct cfi_made cfi_move_header(const struct cfi_made *made, size_t distance_bytes)
{
	struct header header;
	struct cfi_made moved = *made;

	memcpy(&header, made->start, sizeof(header));
	header.entries[0].start -= (int32_t)distance_bytes;
	header.entries[0].fde -= (int32_t)distance_bytes;
	moved.object.header = made->object.header + distance_bytes;
	memcpy(made->start + distance_bytes, &header, sizeof(header));
	return moved;
}

int cfi_find(struct hm_cfi_reader *reader, const struct cfi_made *made, uintptr_t pc)
{
	int error;

	hm_proven_forget(&reader->proven);
	errno = 4711;
	error = hm_cfi_find(reader, &made->object, pc);
	if (errno != 4711) {
		fprintf(stderr, "errno was not kept\n");
		exit(1);
	}
	return error;
}

void cfi_write_u32(uint8_t *at, uint32_t number)
{
	memcpy(at, &number, sizeof(number));
}

uint32_t cfi_read_u32(const uint8_t *at)
{
	uint32_t number;

	memcpy(&number, at, sizeof(number));
	return number;
}
