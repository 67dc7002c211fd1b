// SPDX-License-Identifier: Apache-2.0
/*
 * What call-frame information says about an instruction: every instruction of its own and every way of
 * writing a pointer, each with what it means.
 */
#include "preload/cfi.h"

#include "tests/unit/cfi_build.h"
#include "tests/unit/check.h"

#include <errno.h>

static struct hm_cfi_reader reader;

static int find(const struct cfi_made *made, uintptr_t pc)
{
	return cfi_find(&reader, made, pc);
}

static int find_in(const struct cfi_shape *shape, uintptr_t distance)
{
	const struct cfi_made made = cfi_make(shape);

	return find(&made, made.function + distance);
}

static int find_by(struct cfi_bytes program, uintptr_t distance)
{
	const struct cfi_shape shape = cfi_usual(program);

	return find_in(&shape, distance);
}

static void tell(bool passed, const char *name)
{
	if (!passed)
		fprintf(stderr, "\tit was: %s\n", name);
}

/* The row that the usual CIE begins with. */
static bool is_initial_row(void)
{
	return reader.row.cfa.place == HM_CFI_IS_OFFSET && reader.row.cfa_register == HM_CFI_SP &&
	       reader.row.cfa.offset == 8 && reader.row.registers[HM_CFI_PC].place == HM_CFI_AT_OFFSET &&
	       reader.row.registers[HM_CFI_PC].offset == -8 &&
	       reader.row.registers[HM_CFI_FP].place == HM_CFI_UNTOUCHED;
}

/* --- Instructions -------------------------------------------------------------------------------------- */

enum { CFA = HM_CFI_REGISTERS }; /* as a register that a case is about */

struct instruction_case {
	const char *name;
	struct cfi_bytes program;
	unsigned int number; /* of the register it is about */
	enum hm_cfi_place place;
	int64_t offset;
	unsigned int cfa_register; /* where it is about the CFA */
	uint32_t expression_bytes; /* which are the last of the program */
};

static void check_instruction(const struct instruction_case *one)
{
	const struct cfi_shape shape = cfi_usual(one->program);
	const struct cfi_made made = cfi_make(&shape);
	const struct hm_cfi_rule *const rule =
		one->number == CFA ? &reader.row.cfa : &reader.row.registers[one->number];

	tell(CHECK_EQ(find(&made, made.function), 0), one->name);
	tell(CHECK_EQ(rule->place, one->place), one->name);
	tell(CHECK_EQ(rule->offset, one->offset), one->name);
	tell(CHECK_EQ(rule->expression_bytes, one->expression_bytes), one->name);
	if (one->expression_bytes != 0)
		tell(CHECK(rule->expression == made.end - one->expression_bytes), one->name);
	if (one->number == CFA && one->place == HM_CFI_IS_OFFSET)
		tell(CHECK_EQ(reader.row.cfa_register, one->cfa_register), one->name);
	/* Others are as they were, and what lies behind the last. */
	tell(CHECK(!reader.is_signal_frame), one->name);
	if (one->number != CFA)
		tell(CHECK(reader.row.cfa.offset == 8 && reader.row.cfa_register == HM_CFI_SP), one->name);
	if (one->number != HM_CFI_PC)
		tell(CHECK_EQ(reader.row.registers[HM_CFI_PC].offset, -8), one->name);
	if (one->number != HM_CFI_R15)
		tell(CHECK_EQ(reader.row.registers[HM_CFI_R15].place, HM_CFI_UNTOUCHED), one->name);
}

/* clang-format off */
static void test_instructions(void)
{
	const struct instruction_case cases[] = {
		{ "nop", CFI_BYTES(0x00), CFA, HM_CFI_IS_OFFSET, 8, HM_CFI_SP, 0 },
		{ "offset", CFI_BYTES(0x86, 2), HM_CFI_FP, HM_CFI_AT_OFFSET, -16, 0, 0 },
		{ "offset of the return address", CFI_BYTES(0x90, 3), HM_CFI_PC, HM_CFI_AT_OFFSET, -24, 0, 0 },
		{ "restore", CFI_BYTES(0x90, 2, 0xd0), HM_CFI_PC, HM_CFI_AT_OFFSET, -8, 0, 0 },
		{ "restore of what the CIE leaves", CFI_BYTES(0x86, 2, 0xc6), HM_CFI_FP, HM_CFI_UNTOUCHED, 0, 0, 0 },
		{ "offset_extended", CFI_BYTES(0x05, 6, 0x82, 0x01), HM_CFI_FP, HM_CFI_AT_OFFSET, -1040, 0, 0 },
		{ "restore_extended", CFI_BYTES(0x90, 2, 0x06, 16), HM_CFI_PC, HM_CFI_AT_OFFSET, -8, 0, 0 },
		{ "undefined", CFI_BYTES(0x07, 16), HM_CFI_PC, HM_CFI_LOST, 0, 0, 0 },
		{ "same_value", CFI_BYTES(0x83, 2, 0x08, 3), HM_CFI_RBX, HM_CFI_UNTOUCHED, 0, 0, 0 },
		{ "register", CFI_BYTES(0x09, 16, 0), HM_CFI_PC, HM_CFI_IN_REGISTER, HM_CFI_RAX, 0, 0 },
		{ "remember_state", CFI_BYTES(0x0a, 0x86, 2), HM_CFI_FP, HM_CFI_AT_OFFSET, -16, 0, 0 },
		{ "restore_state", CFI_BYTES(0x0a, 0x86, 2, 0x0b), HM_CFI_FP, HM_CFI_UNTOUCHED, 0, 0, 0 },
		{ "restore_state of the CFA", CFI_BYTES(0x0a, 0x0c, 6, 16, 0x0b), CFA, HM_CFI_IS_OFFSET, 8, HM_CFI_SP, 0 },
		{ "def_cfa", CFI_BYTES(0x0c, 6, 0x80, 0x01), CFA, HM_CFI_IS_OFFSET, 128, HM_CFI_FP, 0 },
		{ "def_cfa_register", CFI_BYTES(0x0d, 6), CFA, HM_CFI_IS_OFFSET, 8, HM_CFI_FP, 0 },
		{ "def_cfa_offset", CFI_BYTES(0x0e, 24), CFA, HM_CFI_IS_OFFSET, 24, HM_CFI_SP, 0 },
		{ "def_cfa_expression", CFI_BYTES(0x0f, 3, 0x76, 0x78, 0x06), CFA, HM_CFI_IS_EXPRESSION, 0, 0, 3 },
		{ "def_cfa after an expression", CFI_BYTES(0x0f, 1, 0x30, 0x0c, 7, 32), CFA, HM_CFI_IS_OFFSET, 32, HM_CFI_SP, 0 },
		{ "expression", CFI_BYTES(0x10, 6, 2, 0x76, 0), HM_CFI_FP, HM_CFI_AT_EXPRESSION, 0, 0, 2 },
		{ "offset_extended_sf", CFI_BYTES(0x11, 6, 0x7e), HM_CFI_FP, HM_CFI_AT_OFFSET, 16, 0, 0 },
		{ "def_cfa_sf", CFI_BYTES(0x12, 6, 0x7e), CFA, HM_CFI_IS_OFFSET, 16, HM_CFI_FP, 0 },
		{ "def_cfa_offset_sf", CFI_BYTES(0x13, 0x7d), CFA, HM_CFI_IS_OFFSET, 24, HM_CFI_SP, 0 },
		{ "val_offset", CFI_BYTES(0x14, 6, 2), HM_CFI_FP, HM_CFI_IS_OFFSET, -16, 0, 0 },
		{ "val_offset_sf", CFI_BYTES(0x15, 6, 0x7e), HM_CFI_FP, HM_CFI_IS_OFFSET, 16, 0, 0 },
		{ "val_expression", CFI_BYTES(0x16, 6, 1, 0x40), HM_CFI_FP, HM_CFI_IS_EXPRESSION, 0, 0, 1 },
		{ "GNU_args_size", CFI_BYTES(0x2e, 0x80, 0x01, 0x86, 2), HM_CFI_FP, HM_CFI_AT_OFFSET, -16, 0, 0 },
		{ "GNU_negative_offset_extended", CFI_BYTES(0x2f, 6, 2), HM_CFI_FP, HM_CFI_AT_OFFSET, 16, 0, 0 },
		{ "registers that are not ours", CFI_BYTES(0x0a, 0x91, 2, 0x05, 0x80, 0x01, 2, 0x06, 17, 0xd1, 0x09, 17, 3, 0x07, 0xff, 0xff, 0x03),
			HM_CFI_FP, HM_CFI_UNTOUCHED, 0, 0, 0 },
		{ "a CFA that counts from one", CFI_BYTES(0x0d, 17), CFA, HM_CFI_IS_OFFSET, 8, 17, 0 },
		{ "a number of eleven bytes", CFI_BYTES(0x0e, 0x98, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f), CFA, HM_CFI_IS_OFFSET, 24, HM_CFI_SP, 0 },
		{ "a negative one of ten", CFI_BYTES(0x13, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), CFA, HM_CFI_IS_OFFSET, 24, HM_CFI_SP, 0 },
		{ "an offset that wraps", CFI_BYTES(0x05, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), HM_CFI_FP, HM_CFI_AT_OFFSET, 8, 0, 0 },
		{ "eight rows remembered", CFI_BYTES(0x0a, 0x86, 2, 0x0a, 0x86, 3, 0x0a, 0x86, 4, 0x0a, 0x86, 5, 0x0a, 0x86, 6, 0x0a, 0x86, 7,
			0x0a, 0x86, 8, 0x0a, 0x86, 9, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b), HM_CFI_FP, HM_CFI_AT_OFFSET, -16, 0, 0 },
	};
	const struct { const char *name; struct cfi_bytes program; } refused[] = {
		{ "nine rows remembered", CFI_BYTES(0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a) },
		{ "nothing remembered", CFI_BYTES(0x0b) },
		{ "recalled twice", CFI_BYTES(0x0a, 0x0b, 0x0b) },
		{ "def_cfa_register of an expression", CFI_BYTES(0x0f, 1, 0x30, 0x0d, 6) },
		{ "def_cfa_offset of an expression", CFI_BYTES(0x0f, 1, 0x30, 0x0e, 16) },
		{ "def_cfa_offset_sf of an expression", CFI_BYTES(0x0f, 1, 0x30, 0x13, 0x7e) },
		{ "an expression longer than the program", CFI_BYTES(0x10, 6, 3, 0x76, 0) },
		{ "an expression longer than all", CFI_BYTES(0x10, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01) },
		{ "an operand that is cut", CFI_BYTES(0x0e, 0x80) },
		{ "an operand that is missing", CFI_BYTES(0x86) },
		{ "advance_loc1 cut", CFI_BYTES(0x02) },
		{ "advance_loc2 cut", CFI_BYTES(0x03, 0) },
		{ "advance_loc4 cut", CFI_BYTES(0x04, 0, 0, 0) },
		{ "set_loc cut", CFI_BYTES(0x01, 0, 0, 0) },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_instruction(&cases[i]);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		tell(CHECK_EQ(find_by(refused[i].program, 0), -EINVAL), refused[i].name);
	for (int code = 0; code < 0x40; code++) {
		const bool is_known = code <= 0x16 || code == 0x2e || code == 0x2f;

		if (!is_known)
			tell(CHECK_EQ(find_by(CFI_BYTES((uint8_t)code, 0, 0, 0, 0), 0), -EINVAL), "an unknown instruction");
	}
}
/* clang-format on */

/* Each says that the CFA is SP + 16 from a place on; a row holds from its first byte on. */
static void test_advances(void)
{
	const struct {
		const char *name;
		struct cfi_bytes program;
		uint64_t code_alignment;
		uintptr_t distance;
	} cases[] = {
		{ "advance_loc", CFI_BYTES(0x45, 0x0e, 16), 1, 5 },
		{ "advance_loc by 63", CFI_BYTES(0x7f, 0x0e, 16), 1, 63 },
		{ "advance_loc in units", CFI_BYTES(0x45, 0x0e, 16), 4, 20 },
		{ "advance_loc1", CFI_BYTES(0x02, 0xf0, 0x0e, 16), 1, 0xf0 },
		{ "advance_loc1 in units", CFI_BYTES(0x02, 0xf0, 0x0e, 16), 3, 3 * 0xf0 },
		{ "advance_loc2", CFI_BYTES(0x03, 0x34, 0xf2, 0x0e, 16), 1, 0xf234 },
		{ "advance_loc2 in units", CFI_BYTES(0x03, 0x34, 0x12, 0x0e, 16), 2, 0x2468 },
		{ "advance_loc4", CFI_BYTES(0x04, 0x01, 0x02, 0x03, 0x00, 0x0e, 16), 1, 0x030201 },
		{ "advance_loc4 in units", CFI_BYTES(0x04, 0x01, 0x02, 0x00, 0x00, 0x0e, 16), 2, 0x0402 },
		{ "two of them", CFI_BYTES(0x45, 0x0e, 24, 0x41, 0x0e, 16), 1, 6 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cfi_shape shape = cfi_usual(cases[i].program);
		const uintptr_t at = cases[i].distance;

		shape.code_alignment = cases[i].code_alignment;
		shape.function_bytes = 0x40000;
		tell(CHECK_EQ(find_in(&shape, at - 1), 0), cases[i].name);
		tell(CHECK(reader.row.cfa.offset != 16), cases[i].name);
		tell(CHECK_EQ(find_in(&shape, at), 0), cases[i].name);
		tell(CHECK_EQ(reader.row.cfa.offset, 16), cases[i].name);
		tell(CHECK_EQ(find_in(&shape, at + 1), 0), cases[i].name);
		tell(CHECK_EQ(reader.row.cfa.offset, 16), cases[i].name);
		tell(CHECK_EQ(find_in(&shape, 0x3ffff), 0), cases[i].name);
	}
	/* What lies beyond the instruction is not run. */
	CHECK_EQ(find_by(CFI_BYTES(0x45, 0x3f), 4), 0);
	CHECK_EQ(find_by(CFI_BYTES(0x45, 0x3f), 5), -EINVAL);
}

static void test_set_location(void)
{
	const uintptr_t distance = 0x20;
	struct cfi_shape shape = cfi_usual(CFI_BYTES(0x01, 0, 0, 0, 0, 0x0e, 16));
	struct cfi_made made = cfi_make(&shape);
	uint8_t *const operand = made.end - 6;

	cfi_write_u32(operand, (uint32_t)(made.function + distance - (uintptr_t)operand));
	CHECK_EQ(find(&made, made.function + distance - 1), 0);
	CHECK(is_initial_row());
	CHECK_EQ(find(&made, made.function + distance), 0);
	CHECK_EQ(reader.row.cfa.offset, 16);
}

/* --- Pointers ------------------------------------------------------------------------------------------ */

static bool is_understood(int encoding)
{
	const int format = encoding & 0x0f;
	const int base = encoding & 0xf0;

	return (base == 0x00 || base == 0x10) && (format <= 4 || (format >= 9 && format <= 0x0c));
}

static bool has_two_bytes(int encoding)
{
	return (encoding & 0x07) == 2 && (encoding & 0x0f) != 0x07;
}

/* All 256: found where it is understood, with the function before and behind what is written about it. */
static void test_pointers(void)
{
	for (int encoding = 0; encoding < 0x100; encoding++) {
		for (int is_behind = 0; is_behind <= 1; is_behind++) {
			const bool is_from_here = (encoding & 0x70) == 0x10;
			struct cfi_shape shape = {
				.pointer_encoding = (uint8_t)encoding,
				.function_offset = is_behind ? CFI_MADE_BYTES + 0x100 : CFI_PAGE_BYTES,
			};
			const struct cfi_made made = cfi_make(&shape);

			if (!is_understood(encoding)) {
				CHECK_EQ(find(&made, made.function), -EINVAL);
				continue;
			}
			/* What it cannot say: two bytes no address, and without a sign nothing that is
			 * before. */
			if ((has_two_bytes(encoding) && !is_from_here) ||
			    ((encoding & 0x0f) >= 2 && (encoding & 0x0f) <= 3 && is_from_here && !is_behind))
				continue;
			if (!CHECK_EQ(find(&made, made.function), 0))
				fprintf(stderr, "\tencoding %#x\n", (unsigned int)encoding);
			CHECK_EQ(find(&made, made.function + CFI_FUNCTION_BYTES - 1), 0);
			CHECK_EQ(find(&made, made.function + CFI_FUNCTION_BYTES), -ENOENT);
		}
	}
}

/* --- CIEs ---------------------------------------------------------------------------------------------- */

static void test_versions(void)
{
	struct cfi_shape shape = cfi_usual((struct cfi_bytes){ 0 });

	for (int version = 1; version < 0x100; version++) {
		shape.version = (uint8_t)version;
		CHECK_EQ(find_in(&shape, 0), version == 1 || version == 3 ? 0 : -EINVAL);
	}
	/* The return address is one byte in version 1, and LEB128 in 3. */
	shape.return_register = CFI_BYTES(0x90, 0x00);
	shape.version = 3;
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK(is_initial_row());
	shape.version = 1;
	CHECK_EQ(find_in(&shape, 0), -EINVAL);
	shape.return_register = CFI_BYTES(15);
	CHECK_EQ(find_in(&shape, 0), -EINVAL);
	shape.version = 3;
	CHECK_EQ(find_in(&shape, 0), -EINVAL);
}

/* clang-format off */
static void test_augmentations(void)
{
	const struct {
		struct cfi_shape shape;
		int error;
		bool is_signal_frame;
	} cases[] = {
		{ { .augmentation = "", .has_no_augmentation_data = true }, 0, false },
		{ { .augmentation = "z" }, 0, false },
		{ { .augmentation = "zR", .pointer_encoding = 0x1b }, 0, false },
		{ { .augmentation = "zRS", .pointer_encoding = 0x1b }, 0, true },
		{ { .augmentation = "zSR", .pointer_encoding = 0x1b }, 0, true },
		{ { .augmentation = "zPLR", .pointer_encoding = 0x1b,
			.augmentation_data = CFI_BYTES(0x9b, 1, 2, 3, 4, 0x1b, 0x1b) }, 0, false },
		{ { .augmentation = "zPLR", .pointer_encoding = 0x1b,
			.augmentation_data = CFI_BYTES(0x00, 1, 2, 3, 4, 5, 6, 7, 8, 0x1b, 0x1b) }, 0, false },
		{ { .augmentation = "zPR", .pointer_encoding = 0x1b, .augmentation_data = CFI_BYTES(0xff, 0x1b) }, 0, false },
		/* Letters that are unknown, and so are those behind them. */
		{ { .augmentation = "zRX", .pointer_encoding = 0x1b, .augmentation_data = CFI_BYTES(0x1b, 1, 2, 3) }, 0, false },
		{ { .augmentation = "zRXS", .pointer_encoding = 0x1b, .augmentation_data = CFI_BYTES(0x1b, 1, 2, 3) }, 0, false },
		/* Data that nobody announced is skipped. */
		{ { .augmentation = "z", .augmentation_data = CFI_BYTES(0x3f, 0x3f) }, 0, false },
		/* A personality that begins at the next multiple of eight, wherever that is. */
		{ { .augmentation = "zPR", .pointer_encoding = 0x1b,
			.augmentation_data = CFI_BYTES(0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0x1b, 0x1b, 0x1b, 0x1b) }, -EINVAL, false },
		{ { .augmentation = "zPR", .pointer_encoding = 0x1b, .augmentation_data = CFI_BYTES(0x1f, 0, 0, 0, 0, 0x1b) }, -EINVAL, false },
		{ { .augmentation = "zPLR", .pointer_encoding = 0x1b, .augmentation_data = CFI_BYTES(0x9b, 1, 2, 3, 4, 0x1b) }, -EINVAL, false },
		{ { .augmentation = "zRP", .pointer_encoding = 0x1b, .augmentation_data = CFI_BYTES(0x1b, 0x9b, 1, 2, 3) }, -EINVAL, false },
		{ { .augmentation = "zRR", .pointer_encoding = 0x1b }, -EINVAL, false },
		{ { .augmentation = "R", .pointer_encoding = 0x1b }, -EINVAL, false },
		{ { .augmentation = "S", .has_no_augmentation_data = true }, -EINVAL, false },
		{ { .augmentation = "eh", .has_no_augmentation_data = true }, -EINVAL, false },
	};
	struct cfi_shape lying = cfi_usual((struct cfi_bytes){ 0 });
	struct cfi_made made = cfi_make(&lying);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tell(CHECK_EQ(find_in(&cases[i].shape, 0), cases[i].error), cases[i].shape.augmentation);
		if (cases[i].error != 0)
			continue;
		tell(CHECK(is_initial_row()), cases[i].shape.augmentation);
		tell(CHECK_EQ(reader.is_signal_frame, cases[i].is_signal_frame), cases[i].shape.augmentation);
	}
	/* Lengths of augmentation data beyond the entry: the CIE's, then the FDE's. */
	made.entries[15] = 0x7f;
	CHECK_EQ(find(&made, made.function), -EINVAL);
	made = cfi_make(&lying);
	made.fde[16] = 1;
	CHECK_EQ(find(&made, made.function), -EINVAL);
	/* A string without an end. */
	lying.augmentation = "zR";
	made = cfi_make(&lying);
	memset(made.entries + 9, 'R', cfi_read_u32(made.entries) - 5);
	CHECK_EQ(find(&made, made.function), -EINVAL);
}
/* clang-format on */

static void test_cie_programs(void)
{
	struct cfi_shape shape = cfi_usual((struct cfi_bytes){ 0 });

	/* What restore restores. */
	shape.cie_program = CFI_BYTES(0x0c, HM_CFI_SP, 8, 0x90, 1, 0x83, 5);
	shape.program = CFI_BYTES(0x83, 2, 0x86, 3);
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK_EQ(reader.row.registers[HM_CFI_RBX].offset, -16);
	shape.program = CFI_BYTES(0x83, 2, 0x86, 3, 0xc3, 0xc6);
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK_EQ(reader.row.registers[HM_CFI_RBX].offset, -40);
	CHECK_EQ(reader.row.registers[HM_CFI_FP].place, HM_CFI_UNTOUCHED);
	CHECK(is_initial_row());

	/* In the CIE itself, to where it was at first, whatever the function before has had. */
	shape.cie_program = CFI_BYTES(0x0c, HM_CFI_SP, 8, 0x90, 1, 0x83, 5, 0xc3);
	shape.program = CFI_BYTES(0);
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK_EQ(reader.row.registers[HM_CFI_RBX].place, HM_CFI_UNTOUCHED);

	/* Units are the CIE's. */
	shape.data_alignment = 4;
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK_EQ(reader.row.registers[HM_CFI_PC].offset, 4);
	CHECK_EQ(reader.row.cfa.offset, 8);
	shape.data_alignment = 0;

	/* Of a CFA that nobody has defined nothing can be changed; the one before is forgotten. */
	shape.cie_program = CFI_BYTES(0x00);
	shape.program = CFI_BYTES(0x0e, 16);
	CHECK_EQ(find_in(&shape, 0), -EINVAL);
	shape.program = CFI_BYTES(0x00);
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK(reader.row.cfa_register >= HM_CFI_REGISTERS);
	CHECK_EQ(reader.row.registers[HM_CFI_PC].place, HM_CFI_UNTOUCHED);

	/* Damage in the CIE's own, and rows that it remembers and its function recalls. */
	shape.cie_program = CFI_BYTES(0x3f);
	CHECK_EQ(find_in(&shape, 0), -EINVAL);
	shape.cie_program = CFI_BYTES(0x0c, 7, 8, 0x90, 1, 0x0a);
	shape.program = CFI_BYTES(0x0e, 16, 0x0b);
	CHECK_EQ(find_in(&shape, 0), 0);
	CHECK(is_initial_row());
}

int main(void)
{
	test_instructions();
	test_advances();
	test_set_location();
	test_pointers();
	test_versions();
	test_augmentations();
	test_cie_programs();
	return check_result();
}
