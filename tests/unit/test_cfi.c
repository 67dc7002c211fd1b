// SPDX-License-Identifier: Apache-2.0
/*
 * Call-frame information that is made up: every instruction and every way of writing a pointer, each with
 * what it means; expressions, each with its value; and all of it damaged.  The object ends where memory ends,
 * so that whoever reads beyond it faults.
 */
#include "preload/cfi.h"
#include "preload/cfi_frame.h"

#include "tests/unit/check.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
	AREA_BYTES = 64 * 1024,
	FUNCTION_DISTANCE = 0x1000, /* from .eh_frame_hdr; nothing is ever read there */
	FUNCTION_BYTES = 0x100,
	ABSOLUTE = 0x00,
	HERE_I32 = 0x1b,
};

struct bytes {
	const uint8_t *at;
	size_t count;
};

/* For as long as the block lasts, as all literals of this kind. */
#define BYTES(...) \
	((struct bytes){ (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) })
#define NOTHING ((struct bytes){ NULL, 0 })

/* What an object says. */
struct parts {
	uint8_t version;
	const char *augmentation;
	struct bytes cie_data; /* of the augmentation */
	struct bytes cie_program;
	uint8_t encoding; /* of the function's address */
	struct bytes fde_program;
};

static struct parts usual_parts(void)
{
	static const uint8_t encoding[] = { HERE_I32 };
	static const uint8_t entry[] = { 0x0c, 7, 8, 0x90, 1 }; /* CFA = SP + 8, return address at CFA - 8 */

	return (struct parts){
		.version = 1,
		.augmentation = "zR",
		.cie_data = { encoding, sizeof(encoding) },
		.cie_program = { entry, sizeof(entry) },
		.encoding = HERE_I32,
		.fde_program = NOTHING,
	};
}

static uint8_t *area_end; /* behind it lies a page that cannot be read */
static struct hm_cfi_reader reader;

/* --- Making objects ------------------------------------------------------------------------------------ */

struct writer {
	uint8_t bytes[8192];
	size_t count;
};

static void put(struct writer *writer, const void *bytes, size_t count)
{
	if (count > 0)
		memcpy(writer->bytes + writer->count, bytes, count);
	writer->count += count;
}

static void put_number(struct writer *writer, uint64_t number, size_t count)
{
	put(writer, &number, count);
}

static void put_bytes(struct writer *writer, struct bytes bytes)
{
	put(writer, bytes.at, bytes.count);
}

static void set_length(struct writer *writer, size_t start)
{
	const uint32_t length = (uint32_t)(writer->count - start - sizeof(length));

	memcpy(writer->bytes + start, &length, sizeof(length));
}

static size_t put_cie(struct writer *writer, const struct parts *parts)
{
	const size_t start = writer->count;

	put_number(writer, 0, 4); /* length */
	put_number(writer, 0, 4); /* it is a CIE */
	put_number(writer, parts->version, 1);
	put(writer, parts->augmentation, strlen(parts->augmentation) + 1);
	put_number(writer, 1, 1);    /* code alignment */
	put_number(writer, 0x78, 1); /* data alignment: -8 */
	put_number(writer, 16, 1);   /* return address */
	if (parts->augmentation[0] == 'z')
		put_number(writer, parts->cie_data.count, 1);
	put_bytes(writer, parts->cie_data);
	put_bytes(writer, parts->cie_program);
	set_length(writer, start);
	return start;
}

/* A pointer whose first byte will lie at `at`. */
static void put_pointer(struct writer *writer, uint8_t encoding, uint64_t value, uint64_t at)
{
	static const size_t widths[16] = { 8, 5, 2, 4, 8, 0, 0, 0, 0, 5, 2, 4, 8 };
	const uint8_t format = encoding & 0x0f;

	if ((encoding & 0x70) == 0x10)
		value -= at;
	if (format == 1 || format == 9) { /* of five bytes */
		for (int i = 0; i < 4; i++)
			put_number(writer, (value >> 7 * i & 0x7f) | 0x80, 1);
		value = value >> 28 & 0x7f;
	}
	put_number(writer, value, format == 1 || format == 9 ? 1 : widths[format]);
}

static size_t put_fde(struct writer *writer, const struct parts *parts, size_t cie, uint64_t function,
		      uint64_t base)
{
	const size_t start = writer->count;

	put_number(writer, 0, 4);
	put_number(writer, writer->count - cie, 4);
	put_pointer(writer, parts->encoding, function, base + writer->count);
	put_pointer(writer, parts->encoding & 0x0f, FUNCTION_BYTES, 0);
	if (parts->augmentation[0] == 'z')
		put_number(writer, 0, 1);
	put_bytes(writer, parts->fde_program);
	set_length(writer, start);
	return start;
}

/* Writes the object so that it ends at area_end, on the second try, when it is known how long it is. */
static struct hm_cfi_object make(const struct parts *parts, uintptr_t *ret_function)
{
	struct writer writer = { .count = 0 };
	uintptr_t base = 0;

	for (int tries = 0; tries < 2; tries++) {
		writer.count = 0;
		put_bytes(&writer, BYTES(1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0));
		put_number(&writer, FUNCTION_DISTANCE, 4);
		put_number(&writer, 0, 4);

		const size_t cie = put_cie(&writer, parts);
		const uint32_t fde = (uint32_t)put_fde(&writer, parts, cie, base + FUNCTION_DISTANCE, base);

		memcpy(writer.bytes + 16, &fde, sizeof(fde));
		while (writer.count % 4 != 0)
			put_number(&writer, 0, 1);
		base = (uintptr_t)area_end - writer.count;
	}
	memcpy((void *)base, writer.bytes, writer.count);
	*ret_function = base + FUNCTION_DISTANCE;
	return (struct hm_cfi_object){ .start = base, .end = (uintptr_t)area_end, .header = base };
}

static int find(const struct parts *parts, uintptr_t distance)
{
	uintptr_t function;
	const struct hm_cfi_object object = make(parts, &function);

	return hm_cfi_find(&reader, &object, function + distance);
}

/* --- Rows ---------------------------------------------------------------------------------------------- */

static void check_register(struct bytes program, uint32_t number, enum hm_cfi_place place, int64_t offset)
{
	struct parts parts = usual_parts();

	parts.fde_program = program;
	CHECK_EQ(find(&parts, 0), 0);
	CHECK_EQ(reader.row.registers[number].place, place);
	CHECK_EQ(reader.row.registers[number].offset, offset);
}

static void test_register_instructions(void)
{
	check_register(NOTHING, HM_CFI_PC, HM_CFI_AT_OFFSET, -8);
	check_register(NOTHING, HM_CFI_RBX, HM_CFI_UNTOUCHED, 0);
	check_register(BYTES(0x83, 3), 3, HM_CFI_AT_OFFSET, -24);              /* offset */
	check_register(BYTES(0x83, 0x81, 1), 3, HM_CFI_AT_OFFSET, -1032);      /* of two bytes */
	check_register(BYTES(0x05, 12, 2), 12, HM_CFI_AT_OFFSET, -16);         /* offset_extended */
	check_register(BYTES(0x11, 12, 0x7f), 12, HM_CFI_AT_OFFSET, 8);        /* offset_extended_sf */
	check_register(BYTES(0x2f, 12, 2), 12, HM_CFI_AT_OFFSET, 16);          /* negative_offset_extended */
	check_register(BYTES(0x14, 12, 2), 12, HM_CFI_IS_OFFSET, -16);         /* val_offset */
	check_register(BYTES(0x15, 12, 0x7e), 12, HM_CFI_IS_OFFSET, 16);       /* val_offset_sf */
	check_register(BYTES(0x09, 6, 13), 6, HM_CFI_IN_REGISTER, 13);         /* register */
	check_register(BYTES(0x07, 16), 16, HM_CFI_LOST, 0);                   /* undefined */
	check_register(BYTES(0x83, 3, 0x08, 3), 3, HM_CFI_UNTOUCHED, 0);       /* same_value */
	check_register(BYTES(0x07, 16, 0xd0), 16, HM_CFI_AT_OFFSET, -8);       /* restore */
	check_register(BYTES(0x07, 16, 0x06, 16), 16, HM_CFI_AT_OFFSET, -8);   /* restore_extended */
	check_register(BYTES(0x0a, 0x83, 3, 0x0b), 3, HM_CFI_UNTOUCHED, 0);    /* remember, restore_state */
	check_register(BYTES(0x2e, 16, 0, 0x83, 3), 3, HM_CFI_AT_OFFSET, -24); /* args_size, nop */
	check_register(BYTES(0x05, 33, 2, 0x83, 3), 3, HM_CFI_AT_OFFSET, -24); /* of the vector unit */
	check_register(BYTES(0x10, 6, 2, 0x77, 8), 6, HM_CFI_AT_EXPRESSION, 0);
	CHECK_EQ(reader.row.registers[6].expression_bytes, 2);
	CHECK_EQ(reader.row.registers[6].expression[1], 8);
	check_register(BYTES(0x16, 6, 1, 0x30), 6, HM_CFI_IS_EXPRESSION, 0);
	CHECK_EQ(reader.row.registers[6].expression_bytes, 1);
}

static void check_cfa(struct bytes program, uint64_t number, int64_t offset)
{
	struct parts parts = usual_parts();

	parts.fde_program = program;
	CHECK_EQ(find(&parts, 0), 0);
	CHECK_EQ(reader.row.cfa.place, HM_CFI_IS_OFFSET);
	CHECK_EQ(reader.row.cfa_register, number);
	CHECK_EQ(reader.row.cfa.offset, offset);
}

static void test_cfa_instructions(void)
{
	check_cfa(NOTHING, 7, 8);
	check_cfa(BYTES(0x0c, 6, 16), 6, 16);                    /* def_cfa */
	check_cfa(BYTES(0x12, 6, 0x7e), 6, 16);                  /* def_cfa_sf */
	check_cfa(BYTES(0x0d, 6), 6, 8);                         /* def_cfa_register */
	check_cfa(BYTES(0x0e, 0x80, 1), 7, 128);                 /* def_cfa_offset */
	check_cfa(BYTES(0x13, 0x7c), 7, 32);                     /* def_cfa_offset_sf */
	check_cfa(BYTES(0x0a, 0x0e, 16, 0x0b), 7, 8);            /* remember, restore_state */
	check_cfa(BYTES(0x0f, 1, 0x77, 0x0c, 6, 24), 6, 24);     /* an expression, and a register again */
	check_cfa(BYTES(0x0a, 0x0a, 0x0e, 9, 0x0b, 0x0b), 7, 8); /* nested */
}

static void check_refused(struct bytes program)
{
	struct parts parts = usual_parts();

	parts.fde_program = program;
	CHECK_EQ(find(&parts, 0), -EINVAL);
}

static void test_refused_instructions(void)
{
	check_refused(BYTES(0x0b));                   /* nothing was remembered */
	check_refused(BYTES(0x0f, 1, 0x77, 0x0e, 8)); /* an expression has no offset */
	check_refused(BYTES(0x0f, 1, 0x77, 0x0d, 6)); /* nor a register */
	check_refused(BYTES(0x17));                   /* no such instructions */
	check_refused(BYTES(0x3f));
	check_refused(BYTES(0x0f, 9, 0x77)); /* an expression longer than there is room */
	check_refused(BYTES(0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a)); /* a ninth row */
	check_register(BYTES(0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a), 3, HM_CFI_UNTOUCHED, 0);
}

/* Each way of moving on: the next row holds from there, and not one byte before. */
static void test_locations(void)
{
	const struct {
		struct bytes advance;
		uint32_t distance;
	} ways[] = {
		{ { (const uint8_t[]){ 0x45 }, 1 }, 5 },
		{ { (const uint8_t[]){ 0x02, 0x80 }, 2 }, 0x80 },
		{ { (const uint8_t[]){ 0x03, 0x81, 0x00 }, 3 }, 0x81 },
		{ { (const uint8_t[]){ 0x04, 0x82, 0x00, 0x00, 0x00 }, 5 }, 0x82 },
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct writer program = { .count = 0 };
		struct parts parts = usual_parts();

		put_bytes(&program, ways[i].advance);
		put_bytes(&program, BYTES(0x0e, 16));
		parts.fde_program = (struct bytes){ program.bytes, program.count };
		CHECK_EQ(find(&parts, ways[i].distance - 1), 0);
		CHECK_EQ(reader.row.cfa.offset, 8);
		CHECK_EQ(find(&parts, ways[i].distance), 0);
		CHECK_EQ(reader.row.cfa.offset, 16);
		CHECK_EQ(find(&parts, FUNCTION_BYTES - 1), 0);
		CHECK_EQ(reader.row.cfa.offset, 16);
	}

	const struct parts parts = usual_parts();

	CHECK_EQ(find(&parts, FUNCTION_BYTES), -ENOENT);
	CHECK_EQ(find(&parts, (uintptr_t)-1), -ENOENT);
}

/* set_loc names the address itself. */
static void test_set_location(void)
{
	struct parts parts = usual_parts();
	uintptr_t function;

	parts.fde_program = BYTES(0x01, 0, 0, 0, 0, 0x0e, 16);

	const struct hm_cfi_object object = make(&parts, &function);
	uint8_t *at = area_end;

	while (at[-1] != 16 || at[-2] != 0x0e)
		at--;
	at -= 6;

	const int32_t distance = (int32_t)(function + 7 - (uintptr_t)at);

	memcpy(at, &distance, sizeof(distance));
	CHECK_EQ(hm_cfi_find(&reader, &object, function + 6), 0);
	CHECK_EQ(reader.row.cfa.offset, 8);
	CHECK_EQ(hm_cfi_find(&reader, &object, function + 7), 0);
	CHECK_EQ(reader.row.cfa.offset, 16);
}

/* --- How things are written ---------------------------------------------------------------------------- */

static void test_encodings(void)
{
	/* Absolute and relative, of each width that holds the distance. */
	static const uint8_t understood[] = { 0x00, 0x04, 0x0c, 0x1b, 0x1c, 0x14 };
	static const uint8_t refused[] = { 0x2b, 0x3b, 0x4b, 0x5b, 0x9b, 0x05, 0x0d, 0x0f, 0x80 };

	for (size_t i = 0; i < sizeof(understood); i++) {
		struct parts parts = usual_parts();

		parts.encoding = understood[i];
		parts.cie_data = BYTES(0);
		parts.cie_data.at = &understood[i];
		CHECK_EQ(find(&parts, 0), 0);
		CHECK_EQ(reader.row.cfa.offset, 8);
	}
	for (size_t i = 0; i < sizeof(refused); i++) {
		struct parts parts = usual_parts();

		parts.cie_data.at = &refused[i];
		CHECK_EQ(find(&parts, 0), -EINVAL);
	}

	/* LEB128 relative to here: five bytes hold the distance. */
	struct parts parts = usual_parts();

	parts.encoding = 0x11;
	parts.cie_data = BYTES(0x11);
	CHECK_EQ(find(&parts, 0), 0);
	parts.encoding = 0x19;
	parts.cie_data = BYTES(0x19);
	CHECK_EQ(find(&parts, 0), 0);
}

static void test_augmentations(void)
{
	const struct {
		const char *letters;
		struct bytes data;
		bool is_signal_frame;
	} understood[] = {
		{ "zR", { (const uint8_t[]){ HERE_I32 }, 1 }, false },
		{ "zRS", { (const uint8_t[]){ HERE_I32 }, 1 }, true },
		{ "zPLR", { (const uint8_t[]){ 0x9b, 1, 2, 3, 4, 0x1b, HERE_I32 }, 7 }, false },
		{ "zPLR", { (const uint8_t[]){ 0xff, 0x1b, HERE_I32 }, 3 }, false },
		{ "zRB", { (const uint8_t[]){ HERE_I32 }, 1 }, false },
	};

	for (size_t i = 0; i < sizeof(understood) / sizeof(understood[0]); i++) {
		struct parts parts = usual_parts();

		parts.augmentation = understood[i].letters;
		parts.cie_data = understood[i].data;
		CHECK_EQ(find(&parts, 0), 0);
		CHECK_EQ(reader.is_signal_frame, understood[i].is_signal_frame);
		CHECK_EQ(reader.row.registers[HM_CFI_PC].offset, -8);
	}

	struct parts parts = usual_parts();

	parts.augmentation = "";
	parts.cie_data = NOTHING;
	parts.encoding = ABSOLUTE;
	CHECK_EQ(find(&parts, 0), 0);
	parts.augmentation = "eh";
	CHECK_EQ(find(&parts, 0), -EINVAL);

	parts = usual_parts();
	parts.version = 3;
	CHECK_EQ(find(&parts, 0), 0);
	parts.version = 4;
	CHECK_EQ(find(&parts, 0), -EINVAL);
}

static void test_headers(void)
{
	const struct parts parts = usual_parts();
	uintptr_t function;
	struct hm_cfi_object object = make(&parts, &function);
	uint8_t *const header = (uint8_t *)object.header;

	CHECK_EQ(hm_cfi_find(&reader, &object, function), 0);
	for (size_t i = 0; i < 4; i++) { /* the version and three encodings */
		header[i] ^= 4;
		CHECK_EQ(hm_cfi_find(&reader, &object, function), -ENOENT);
		header[i] ^= 4;
	}
	header[11] = 1; /* 2^24 entries more */
	CHECK_EQ(hm_cfi_find(&reader, &object, function), -ENOENT);
	header[11] = 0;
	header[8] = 0; /* none */
	CHECK_EQ(hm_cfi_find(&reader, &object, function), -ENOENT);
	header[8] = 1;
	object.header++;
	CHECK_EQ(hm_cfi_find(&reader, &object, function), -ENOENT);
	object.header = 0;
	CHECK_EQ(hm_cfi_find(&reader, &object, function), -ENOENT);
	object.header = (uintptr_t)header;
	object.start = (uintptr_t)header + 1; /* it lies outside */
	CHECK_EQ(hm_cfi_find(&reader, &object, function), -ENOENT);
}

/* --- Damage -------------------------------------------------------------------------------------------- */

/* A program with everything in it. */
static struct parts full_parts(void)
{
	static const uint8_t data[] = { 0x9b, 1, 2, 3, 4, 0x1b, HERE_I32 };
	static const uint8_t program[] = { 0x41, 0x0e, 16,   0x86, 2,    0x43, 0x0d, 6,   0x02, 9,
					   0x0a, 0x0f, 3,    0x76, 0x78, 6,    0x10, 6,   2,    0x76,
					   0,    0x16, 3,    1,    0x30, 0x03, 1,    0,   0x0b, 0x11,
					   12,   0x7f, 0x04, 1,    0,    0,    0,    0xc6 };
	struct parts parts = usual_parts();

	parts.augmentation = "zPLR";
	parts.cie_data = (struct bytes){ data, sizeof(data) };
	parts.fde_program = (struct bytes){ program, sizeof(program) };
	return parts;
}

static void find_everywhere(const struct hm_cfi_object *object, uintptr_t function, int *ret_errors)
{
	for (uintptr_t distance = 0; distance < FUNCTION_BYTES; distance += 3) {
		struct hm_cfi_frame frame = { .registers = { [HM_CFI_SP] = { .base = HM_CFI_FROM_SP } } };
		const int error = hm_cfi_find(&reader, object, function + distance);

		if (error == 0)
			hm_cfi_step(&frame, &reader.row);
		*ret_errors += error != 0;
		CHECK(error == 0 || error == -EINVAL || error == -ENOENT);
	}
}

/* Each byte, with each of its bits turned, and with all of them. */
static void test_damage(void)
{
	const struct parts parts = full_parts();
	uintptr_t function;
	const struct hm_cfi_object object = make(&parts, &function);
	int errors = 0;

	find_everywhere(&object, function, &errors);
	CHECK_EQ(errors, 0);
	for (uint8_t *at = (uint8_t *)object.start; at < area_end; at++) {
		const uint8_t saved = *at;

		for (int bit = 0; bit <= 8; bit++) {
			*at = saved ^ (uint8_t)(bit < 8 ? 1 << bit : 0xff);
			find_everywhere(&object, function, &errors);
		}
		*at = saved;
	}
	CHECK(errors > 0);
}

/* The object says that it ends earlier. */
static void test_truncation(void)
{
	const struct parts parts = full_parts();
	uintptr_t function;
	struct hm_cfi_object object = make(&parts, &function);
	int errors = 0;

	while (--object.end > object.start)
		find_everywhere(&object, function, &errors);
	CHECK(errors > 0);
}

/* It says that it goes on where there is no memory. */
static void test_beyond_memory(void)
{
	const struct parts parts = full_parts();
	uintptr_t function;
	struct hm_cfi_object object = make(&parts, &function);
	int errors = 0;

	object.end += AREA_BYTES;
	for (uint8_t *at = (uint8_t *)object.start; at + 4 <= area_end; at += 4) {
		uint32_t saved;
		const uint32_t large = 0xfff;

		memcpy(&saved, at, sizeof(saved));
		memcpy(at, &large, sizeof(large));
		find_everywhere(&object, function, &errors);
		memcpy(at, &saved, sizeof(saved));
	}
	CHECK(errors > 0);
}

/* --- Expressions --------------------------------------------------------------------------------------- */

enum { RBX_VALUE = 1000, R12_VALUE = 0x7000 };

static uint64_t memory[4] = { UINT64_C(0x1122334455667788), 5, 7, 9 };

/* The CFA that an expression tells, in a frame of numbers. */
static struct hm_cfi_value value_of(struct bytes expression)
{
	static struct hm_proven_pages proven;
	struct hm_cfi_row row = {
		.cfa = { .place = HM_CFI_IS_EXPRESSION,
			 .expression = expression.at,
			 .expression_bytes = (uint32_t)expression.count },
	};
	struct hm_cfi_frame frame = { .proven = &proven };

	frame.registers[HM_CFI_RBX] = hm_cfi_number(RBX_VALUE);
	frame.registers[HM_CFI_R12] = hm_cfi_number((uintptr_t)memory);
	hm_cfi_step(&frame, &row);
	return frame.registers[HM_CFI_SP];
}

static void check_value(struct bytes expression, int64_t number)
{
	const struct hm_cfi_value value = value_of(expression);

	CHECK_EQ(value.base, HM_CFI_NUMBER);
	CHECK_EQ(value.offset, number);
}

static void check_no_value(struct bytes expression)
{
	CHECK_EQ(value_of(expression).base, HM_CFI_UNKNOWN);
}

static void test_constants(void)
{
	check_value(BYTES(0x03, 1, 2, 3, 4, 5, 6, 7, 8), 0x0807060504030201);
	check_value(BYTES(0x08, 0xff), 255);
	check_value(BYTES(0x09, 0xff), -1);
	check_value(BYTES(0x0a, 0xfe, 0xff), 65534);
	check_value(BYTES(0x0b, 0xfe, 0xff), -2);
	check_value(BYTES(0x0c, 0xfe, 0xff, 0xff, 0xff), 0xfffffffe);
	check_value(BYTES(0x0d, 0xfe, 0xff, 0xff, 0xff), -2);
	check_value(BYTES(0x0e, 1, 0, 0, 0, 0, 0, 0, 1), 0x0100000000000001);
	check_value(BYTES(0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), -1);
	check_value(BYTES(0x10, 0x80, 1), 128);
	check_value(BYTES(0x11, 0x7f), -1);
	check_value(BYTES(0x30), 0);
	check_value(BYTES(0x4f), 31);
	check_value(BYTES(0x73, 0x7f), RBX_VALUE - 1); /* breg3 */
	check_value(BYTES(0x73, 1), RBX_VALUE + 1);
	check_value(BYTES(0x92, 3, 2), RBX_VALUE + 2); /* bregx */
	check_no_value(BYTES(0x70, 0));                /* rax is not known */
	check_no_value(BYTES(0x8f, 0));                /* there is no such register */
	check_no_value(BYTES(0x08));                   /* cut off */
}

static void test_stack_operations(void)
{
	check_value(BYTES(0x32, 0x33, 0x12, 0x22), 6);    /* dup, plus */
	check_value(BYTES(0x32, 0x33, 0x13), 2);          /* drop */
	check_value(BYTES(0x32, 0x33, 0x14), 2);          /* over */
	check_value(BYTES(0x32, 0x33, 0x34, 0x15, 2), 2); /* pick */
	check_value(BYTES(0x32, 0x33, 0x16), 2);          /* swap */
	check_value(BYTES(0x32, 0x33, 0x34, 0x17), 3);    /* rot: 4 2 3 */
	check_value(BYTES(0x32, 0x33, 0x34, 0x17, 0x13), 2);
	check_value(BYTES(0x32, 0x33, 0x34, 0x17, 0x13, 0x13), 4);
	check_value(BYTES(0x32, 0x96), 2); /* nop */
	check_no_value(BYTES(0x13));       /* nothing to drop */
	check_no_value(BYTES(0x32, 0x14));
	check_no_value(BYTES(0x32, 0x16));
	check_no_value(BYTES(0x32, 0x33, 0x17));
	check_no_value(BYTES(0x32, 0x15, 1));
	check_no_value(NOTHING);
	check_no_value(BYTES(0x32, 0x13));
}

static void test_arithmetic(void)
{
	check_value(BYTES(0x09, 0xfb, 0x19), 5); /* abs */
	check_value(BYTES(0x35, 0x19), 5);
	check_value(BYTES(0x3c, 0x3a, 0x1a), 8);            /* and */
	check_value(BYTES(0x09, 0xf9, 0x32, 0x1b), -3);     /* div, to zero */
	check_value(BYTES(0x35, 0x37, 0x1c), -2);           /* minus */
	check_value(BYTES(0x37, 0x35, 0x1d), 2);            /* mod */
	check_value(BYTES(0x37, 0x35, 0x1e), 35);           /* mul */
	check_value(BYTES(0x35, 0x1f), -5);                 /* neg */
	check_value(BYTES(0x35, 0x20), -6);                 /* not */
	check_value(BYTES(0x38, 0x32, 0x21), 10);           /* or */
	check_value(BYTES(0x38, 0x32, 0x22), 10);           /* plus */
	check_value(BYTES(0x38, 0x23, 0x80, 1), 136);       /* plus_uconst */
	check_value(BYTES(0x33, 0x32, 0x24), 12);           /* shl */
	check_value(BYTES(0x09, 0xf8, 0x08, 60, 0x25), 15); /* shr */
	check_value(BYTES(0x09, 0xf8, 0x31, 0x26), -4);     /* shra */
	check_value(BYTES(0x31, 0x08, 64, 0x24), 0);        /* beyond the width */
	check_value(BYTES(0x09, 0xf8, 0x08, 64, 0x25), 0);
	check_value(BYTES(0x09, 0xf8, 0x08, 64, 0x26), -1);
	check_value(BYTES(0x3c, 0x3a, 0x27), 6); /* xor */
	check_no_value(BYTES(0x35, 0x30, 0x1b)); /* by zero */
	check_no_value(BYTES(0x35, 0x30, 0x1d));
	check_no_value(BYTES(0x0f, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x09, 0xff, 0x1b)); /* INT64_MIN / -1 */
	check_no_value(BYTES(0x35, 0x22));                                        /* one operand */
	check_no_value(BYTES(0x35, 0x70, 0, 0x1e));                               /* one that is not known */
	check_no_value(BYTES(0x35, 0x35, 0xa8));                                  /* no such operation */
	check_no_value(BYTES(0x50));                                              /* a register is no value */
}

static void test_comparisons(void)
{
	/* Signed: -1 against 2, 2 against 2, 3 against 2. */
	static const struct {
		uint8_t code;
		bool results[3];
	} comparisons[] = {
		{ 0x29, { false, true, false } }, { 0x2a, { false, true, true } },
		{ 0x2b, { false, false, true } }, { 0x2c, { true, true, false } },
		{ 0x2d, { true, false, false } }, { 0x2e, { true, false, true } },
	};
	static const uint8_t left[3] = { 0xff, 2, 3 };

	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		for (size_t k = 0; k < 3; k++)
			check_value(BYTES(0x09, left[k], 0x32, comparisons[i].code),
				    comparisons[i].results[k]);
}

static void test_branches(void)
{
	check_value(BYTES(0x32, 0x2f, 1, 0, 0x33, 0x96), 2); /* skip one */
	check_value(BYTES(0x32, 0x31, 0x28, 1, 0, 0x33), 2); /* bra: taken, to the end */
	check_value(BYTES(0x32, 0x30, 0x28, 1, 0, 0x33), 3); /* not taken */
	/* 5 times around: counts down from 5, adds 2 to what is below. */
	check_value(BYTES(0x30, 0x35, 0x16, 0x32, 0x22, 0x16, 0x31, 0x1c, 0x12, 0x28, 0xf6, 0xff, 0x13), 10);
	check_no_value(BYTES(0x30, 0x2f, 0xfd, 0xff)); /* for ever */
	check_no_value(BYTES(0x30, 0x2f, 0xfb, 0xff)); /* in front of the beginning */
	check_no_value(BYTES(0x30, 0x2f, 1, 0));       /* behind the end */
	/* There is an instruction in front of it that would lead to the end. */
	const struct bytes more = BYTES(0x2f, 4, 0, 0x32, 0x2f, 0xf9, 0xff);

	check_no_value((struct bytes){ more.at + 3, more.count - 3 });
	check_no_value(BYTES(0x30, 0x70, 0, 0x28, 0, 0)); /* on what is not known */
}

static void test_loads(void)
{
	check_value(BYTES(0x7c, 0, 0x06), (int64_t)memory[0]);
	check_value(BYTES(0x7c, 16, 0x06), 7);
	check_value(BYTES(0x7c, 0, 0x94, 1), 0x88);
	check_value(BYTES(0x7c, 0, 0x94, 4), 0x55667788);
	check_no_value(BYTES(0x7c, 0, 0x94, 0));
	check_no_value(BYTES(0x7c, 0, 0x94, 9));
	check_no_value(BYTES(0x30, 0x06)); /* nothing is there */
	check_no_value(BYTES(0x70, 0, 0x06));
}

/* As many values as there is room for, and one more. */
static void test_depth(void)
{
	uint8_t expression[33];

	memset(expression, 0x31, sizeof(expression));
	check_value((struct bytes){ expression, 32 }, 1);
	check_no_value((struct bytes){ expression, 33 });
}

/* --- Steps --------------------------------------------------------------------------------------------- */

/* One in terms of SP and FP; the words that compilers and the C library write. */
static struct hm_cfi_frame step_in_terms(struct bytes program)
{
	struct parts parts = usual_parts();
	struct hm_cfi_frame frame = {
		.registers = { [HM_CFI_SP] = { .base = HM_CFI_FROM_SP },
			       [HM_CFI_FP] = { .base = HM_CFI_FROM_FP },
			       [HM_CFI_PC] = { .base = HM_CFI_NUMBER, .offset = 0x40103c } },
	};

	parts.fde_program = program;
	CHECK_EQ(find(&parts, 0), 0);
	hm_cfi_step(&frame, &reader.row);
	return frame;
}

static void check_term(const struct hm_cfi_frame *frame, uint32_t number, enum hm_cfi_base base,
		       int64_t place, int64_t offset)
{
	CHECK_EQ(frame->registers[number].base, base);
	CHECK_EQ(frame->registers[number].place, place);
	CHECK_EQ(frame->registers[number].offset, offset);
}

static void test_terms(void)
{
	struct hm_cfi_frame frame = step_in_terms(BYTES(0x0e, 32, 0x86, 2));

	check_term(&frame, HM_CFI_SP, HM_CFI_FROM_SP, 0, 32);
	check_term(&frame, HM_CFI_PC, HM_CFI_WORD_AT_SP, 24, 0);
	check_term(&frame, HM_CFI_FP, HM_CFI_WORD_AT_SP, 16, 0);

	/* gcc's frame that was aligned: CFA is the word at FP - 8, FP was saved where it points. */
	frame = step_in_terms(BYTES(0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0));
	check_term(&frame, HM_CFI_SP, HM_CFI_WORD_AT_FP, -8, 0);
	check_term(&frame, HM_CFI_PC, HM_CFI_WORD_AT_WORD, -8, -8);
	check_term(&frame, HM_CFI_FP, HM_CFI_WORD_AT_FP, 0, 0);

	/* ld's linkage table: SP + 8 + ((PC & 15) >= 11) * 8; at ...c it is 16. */
	frame = step_in_terms(BYTES(0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22));
	check_term(&frame, HM_CFI_SP, HM_CFI_FROM_SP, 0, 16);

	/* Registers that hold one another, and offsets that are values. */
	frame = step_in_terms(BYTES(0x09, 3, 6, 0x14, 12, 1, 0x16, 13, 1, 0x34));
	check_term(&frame, HM_CFI_RBX, HM_CFI_FROM_FP, 0, 0);
	check_term(&frame, HM_CFI_R12, HM_CFI_FROM_SP, 0, 0);
	check_term(&frame, HM_CFI_R13, HM_CFI_NUMBER, 0, 4);
	CHECK_EQ(frame.registers[HM_CFI_R14].base, HM_CFI_UNKNOWN);

	/* The rule of a register finds the CFA on its stack. */
	frame = step_in_terms(BYTES(0x10, 3, 2, 0x23, 8));
	check_term(&frame, HM_CFI_RBX, HM_CFI_WORD_AT_SP, 16, 0);

	/* SP by a rule of its own. */
	frame = step_in_terms(BYTES(0x09, 7, 6));
	check_term(&frame, HM_CFI_SP, HM_CFI_FROM_FP, 0, 0);
}

int main(void)
{
	uint8_t *const area =
		mmap(NULL, 2 * AREA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(area != MAP_FAILED);
	area_end = area + AREA_BYTES;
	CHECK_EQ(mprotect(area_end, AREA_BYTES, PROT_NONE), 0);

	test_register_instructions();
	test_cfa_instructions();
	test_refused_instructions();
	test_locations();
	test_set_location();
	test_encodings();
	test_augmentations();
	test_headers();
	test_damage();
	test_truncation();
	test_beyond_memory();
	test_constants();
	test_stack_operations();
	test_arithmetic();
	test_comparisons();
	test_branches();
	test_loads();
	test_depth();
	test_terms();
	return check_result();
}
