// SPDX-License-Identifier: Apache-2.0
/*
 * Steps by call-frame information: expressions, each with its value, and steps in terms of SP and FP.
 */
#include "preload/cfi_frame.h"

#include "tests/unit/cfi_build.h"
#include "tests/unit/check.h"

#include <string.h>

/* --- Expressions --------------------------------------------------------------------------------------- */

enum { RBX_VALUE = 1000, R12_VALUE = 0x7000 };

static uint64_t memory[4] = { UINT64_C(0x1122334455667788), 5, 7, 9 };

/* The CFA that an expression tells, in a frame of numbers. */
static struct hm_cfi_value value_of(struct cfi_bytes expression)
{
	static struct hm_proven_pages proven;
	struct hm_cfi_row row = {
		.cfa = { .place = HM_CFI_IS_EXPRESSION,
			 .expression = expression.bytes,
			 .expression_bytes = (uint32_t)expression.size_bytes },
	};
	struct hm_cfi_frame frame = { .proven = &proven };

	frame.registers[HM_CFI_RBX] = hm_cfi_number(RBX_VALUE);
	frame.registers[HM_CFI_R12] = hm_cfi_number((uintptr_t)memory);
	hm_cfi_step(&frame, &row);
	return frame.registers[HM_CFI_SP];
}

static void check_value(struct cfi_bytes expression, int64_t number)
{
	const struct hm_cfi_value value = value_of(expression);

	CHECK_EQ(value.base, HM_CFI_NUMBER);
	CHECK_EQ(value.offset, number);
}

static void check_no_value(struct cfi_bytes expression)
{
	CHECK_EQ(value_of(expression).base, HM_CFI_UNKNOWN);
}

static void test_constants(void)
{
	check_value(CFI_BYTES(0x03, 1, 2, 3, 4, 5, 6, 7, 8), 0x0807060504030201);
	check_value(CFI_BYTES(0x08, 0xff), 255);
	check_value(CFI_BYTES(0x09, 0xff), -1);
	check_value(CFI_BYTES(0x0a, 0xfe, 0xff), 65534);
	check_value(CFI_BYTES(0x0b, 0xfe, 0xff), -2);
	check_value(CFI_BYTES(0x0c, 0xfe, 0xff, 0xff, 0xff), 0xfffffffe);
	check_value(CFI_BYTES(0x0d, 0xfe, 0xff, 0xff, 0xff), -2);
	check_value(CFI_BYTES(0x0e, 1, 0, 0, 0, 0, 0, 0, 1), 0x0100000000000001);
	check_value(CFI_BYTES(0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), -1);
	check_value(CFI_BYTES(0x10, 0x80, 1), 128);
	check_value(CFI_BYTES(0x11, 0x7f), -1);
	check_value(CFI_BYTES(0x30), 0);
	check_value(CFI_BYTES(0x4f), 31);
	check_value(CFI_BYTES(0x73, 0x7f), RBX_VALUE - 1); /* breg3 */
	check_value(CFI_BYTES(0x73, 1), RBX_VALUE + 1);
	check_value(CFI_BYTES(0x92, 3, 2), RBX_VALUE + 2); /* bregx */
	check_no_value(CFI_BYTES(0x70, 0));                /* rax is not known */
	check_no_value(CFI_BYTES(0x8f, 0));                /* there is no such register */
	check_no_value(CFI_BYTES(0x08));                   /* cut off */
}

static void test_stack_operations(void)
{
	check_value(CFI_BYTES(0x32, 0x33, 0x12, 0x22), 6);    /* dup, plus */
	check_value(CFI_BYTES(0x32, 0x33, 0x13), 2);          /* drop */
	check_value(CFI_BYTES(0x32, 0x33, 0x14), 2);          /* over */
	check_value(CFI_BYTES(0x32, 0x33, 0x34, 0x15, 2), 2); /* pick */
	check_value(CFI_BYTES(0x32, 0x33, 0x16), 2);          /* swap */
	check_value(CFI_BYTES(0x32, 0x33, 0x34, 0x17), 3);    /* rot: 4 2 3 */
	check_value(CFI_BYTES(0x32, 0x33, 0x34, 0x17, 0x13), 2);
	check_value(CFI_BYTES(0x32, 0x33, 0x34, 0x17, 0x13, 0x13), 4);
	check_value(CFI_BYTES(0x32, 0x96), 2); /* nop */
	check_no_value(CFI_BYTES(0x13));       /* nothing to drop */
	check_no_value(CFI_BYTES(0x32, 0x14));
	check_no_value(CFI_BYTES(0x32, 0x16));
	check_no_value(CFI_BYTES(0x32, 0x33, 0x17));
	check_no_value(CFI_BYTES(0x32, 0x15, 1));
	check_no_value(((struct cfi_bytes){ 0 }));
	check_no_value(CFI_BYTES(0x32, 0x13));
}

static void test_arithmetic(void)
{
	check_value(CFI_BYTES(0x09, 0xfb, 0x19), 5); /* abs */
	check_value(CFI_BYTES(0x35, 0x19), 5);
	check_value(CFI_BYTES(0x3c, 0x3a, 0x1a), 8);            /* and */
	check_value(CFI_BYTES(0x09, 0xf9, 0x32, 0x1b), -3);     /* div, to zero */
	check_value(CFI_BYTES(0x35, 0x37, 0x1c), -2);           /* minus */
	check_value(CFI_BYTES(0x37, 0x35, 0x1d), 2);            /* mod */
	check_value(CFI_BYTES(0x37, 0x35, 0x1e), 35);           /* mul */
	check_value(CFI_BYTES(0x35, 0x1f), -5);                 /* neg */
	check_value(CFI_BYTES(0x35, 0x20), -6);                 /* not */
	check_value(CFI_BYTES(0x38, 0x32, 0x21), 10);           /* or */
	check_value(CFI_BYTES(0x38, 0x32, 0x22), 10);           /* plus */
	check_value(CFI_BYTES(0x38, 0x23, 0x80, 1), 136);       /* plus_uconst */
	check_value(CFI_BYTES(0x33, 0x32, 0x24), 12);           /* shl */
	check_value(CFI_BYTES(0x09, 0xf8, 0x08, 60, 0x25), 15); /* shr */
	check_value(CFI_BYTES(0x09, 0xf8, 0x31, 0x26), -4);     /* shra */
	check_value(CFI_BYTES(0x31, 0x08, 64, 0x24), 0);        /* beyond the width */
	check_value(CFI_BYTES(0x09, 0xf8, 0x08, 64, 0x25), 0);
	check_value(CFI_BYTES(0x09, 0xf8, 0x08, 64, 0x26), -1);
	check_value(CFI_BYTES(0x3c, 0x3a, 0x27), 6); /* xor */
	check_no_value(CFI_BYTES(0x35, 0x30, 0x1b)); /* by zero */
	check_no_value(CFI_BYTES(0x35, 0x30, 0x1d));
	check_no_value(CFI_BYTES(0x0f, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x09, 0xff, 0x1b)); /* INT64_MIN / -1 */
	check_no_value(CFI_BYTES(0x35, 0x22));                                        /* one operand */
	check_no_value(CFI_BYTES(0x35, 0x70, 0, 0x1e)); /* one that is not known */
	check_no_value(CFI_BYTES(0x35, 0x35, 0xa8));    /* no such operation */
	/* Nor where operands are unknown; what comes then may be its operand. */
	check_no_value(CFI_BYTES(0x70, 0, 0x70, 0, 0xa8, 0x35));
	check_no_value(CFI_BYTES(0x50)); /* a register is no value */
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
			check_value(CFI_BYTES(0x09, left[k], 0x32, comparisons[i].code),
				    comparisons[i].results[k]);
}

static void test_branches(void)
{
	check_value(CFI_BYTES(0x32, 0x2f, 1, 0, 0x33, 0x96), 2); /* skip one */
	check_value(CFI_BYTES(0x32, 0x31, 0x28, 1, 0, 0x33), 2); /* bra: taken, to the end */
	check_value(CFI_BYTES(0x32, 0x30, 0x28, 1, 0, 0x33), 3); /* not taken */
	/* 5 times around: counts down from 5, adds 2 to what is below. */
	check_value(CFI_BYTES(0x30, 0x35, 0x16, 0x32, 0x22, 0x16, 0x31, 0x1c, 0x12, 0x28, 0xf6, 0xff, 0x13),
		    10);
	check_no_value(CFI_BYTES(0x30, 0x2f, 0xfd, 0xff)); /* for ever */
	check_no_value(CFI_BYTES(0x30, 0x2f, 0xfb, 0xff)); /* in front of the beginning */
	check_no_value(CFI_BYTES(0x30, 0x2f, 1, 0));       /* behind the end */
	/* There is an instruction in front of it that would lead to the end. */
	const struct cfi_bytes more = CFI_BYTES(0x2f, 4, 0, 0x32, 0x2f, 0xf9, 0xff);

	check_no_value((struct cfi_bytes){ more.bytes + 3, more.size_bytes - 3 });
	check_no_value(CFI_BYTES(0x30, 0x70, 0, 0x28, 0, 0)); /* on what is not known */
}

static void test_loads(void)
{
	check_value(CFI_BYTES(0x7c, 0, 0x06), (int64_t)memory[0]);
	check_value(CFI_BYTES(0x7c, 16, 0x06), 7);
	check_value(CFI_BYTES(0x7c, 0, 0x94, 1), 0x88);
	check_value(CFI_BYTES(0x7c, 0, 0x94, 4), 0x55667788);
	check_no_value(CFI_BYTES(0x7c, 0, 0x94, 0));
	check_no_value(CFI_BYTES(0x7c, 0, 0x94, 9));
	check_no_value(CFI_BYTES(0x30, 0x06)); /* nothing is there */
	check_no_value(CFI_BYTES(0x70, 0, 0x06));
}

/* As many values as there is room for, and one more. */
static void test_depth(void)
{
	uint8_t expression[33];

	memset(expression, 0x31, sizeof(expression));
	check_value((struct cfi_bytes){ expression, 32 }, 1);
	check_no_value((struct cfi_bytes){ expression, 33 });
}

/* --- Steps --------------------------------------------------------------------------------------------- */

/* One in terms of SP and FP; the words that compilers and the C library write. */
static struct hm_cfi_frame step_in_terms(struct cfi_bytes program)
{
	static struct hm_cfi_reader reader;
	const struct cfi_shape shape = cfi_usual(program);
	const struct cfi_made made = cfi_make(&shape);
	struct hm_cfi_frame frame = {
		.registers = { [HM_CFI_SP] = { .base = HM_CFI_FROM_SP },
			       [HM_CFI_FP] = { .base = HM_CFI_FROM_FP },
			       [HM_CFI_PC] = { .base = HM_CFI_NUMBER, .offset = 0x40103c } },
	};

	CHECK_EQ(hm_cfi_find(&reader, &made.object, made.function), 0);
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
	struct hm_cfi_frame frame = step_in_terms(CFI_BYTES(0x0e, 32, 0x86, 2));

	check_term(&frame, HM_CFI_SP, HM_CFI_FROM_SP, 0, 32);
	check_term(&frame, HM_CFI_PC, HM_CFI_WORD_AT_SP, 24, 0);
	check_term(&frame, HM_CFI_FP, HM_CFI_WORD_AT_SP, 16, 0);

	/* gcc's frame that was aligned: CFA is the word at FP - 8, FP was saved where it points. */
	frame = step_in_terms(CFI_BYTES(0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0));
	check_term(&frame, HM_CFI_SP, HM_CFI_WORD_AT_FP, -8, 0);
	check_term(&frame, HM_CFI_PC, HM_CFI_WORD_AT_WORD, -8, -8);
	check_term(&frame, HM_CFI_FP, HM_CFI_WORD_AT_FP, 0, 0);

	/* ld's linkage table: SP + 8 + ((PC & 15) >= 11) * 8; at ...c it is 16. */
	frame = step_in_terms(
		CFI_BYTES(0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22));
	check_term(&frame, HM_CFI_SP, HM_CFI_FROM_SP, 0, 16);

	/* Registers that hold one another, and offsets that are values. */
	frame = step_in_terms(CFI_BYTES(0x09, 3, 6, 0x14, 12, 1, 0x16, 13, 1, 0x34));
	check_term(&frame, HM_CFI_RBX, HM_CFI_FROM_FP, 0, 0);
	check_term(&frame, HM_CFI_R12, HM_CFI_FROM_SP, 0, 0);
	check_term(&frame, HM_CFI_R13, HM_CFI_NUMBER, 0, 4);
	CHECK_EQ(frame.registers[HM_CFI_R14].base, HM_CFI_UNKNOWN);

	/* The rule of a register finds the CFA on its stack. */
	frame = step_in_terms(CFI_BYTES(0x10, 3, 2, 0x23, 8));
	check_term(&frame, HM_CFI_RBX, HM_CFI_WORD_AT_SP, 16, 0);

	/* A word at a word: nothing can be added, but zero can; and what is there is not asked. */
	frame = step_in_terms(
		CFI_BYTES(0x0f, 4, 0x76, 0x78, 0x06, 0x06, 0x14, 3, 0, 0x14, 12, 1, 0x10, 13, 0));
	check_term(&frame, HM_CFI_SP, HM_CFI_WORD_AT_WORD, -8, 0);
	check_term(&frame, HM_CFI_RBX, HM_CFI_WORD_AT_WORD, -8, 0);
	CHECK_EQ(frame.registers[HM_CFI_R12].base, HM_CFI_UNKNOWN);
	CHECK_EQ(frame.registers[HM_CFI_R13].base, HM_CFI_UNKNOWN);

	/* There are no terms for half a word, nor for words of memory that is no stack. */
	frame = step_in_terms(CFI_BYTES(0x16, 3, 4, 0x77, 8, 0x94, 4, 0x16, 12, 5, 0x76, 8, 0x06, 0x94, 4,
					0x16, 13, 3, 0x08, 64, 0x06, 0x16, 14, 4, 0x77, 8, 0x06, 0x06));
	CHECK_EQ(frame.registers[HM_CFI_RBX].base, HM_CFI_UNKNOWN);
	CHECK_EQ(frame.registers[HM_CFI_R12].base, HM_CFI_UNKNOWN);
	CHECK_EQ(frame.registers[HM_CFI_R13].base, HM_CFI_UNKNOWN);
	CHECK_EQ(frame.registers[HM_CFI_R14].base, HM_CFI_UNKNOWN);

	/* SP by a rule of its own. */
	frame = step_in_terms(CFI_BYTES(0x09, 7, 6));
	check_term(&frame, HM_CFI_SP, HM_CFI_FROM_FP, 0, 0);
}

int main(void)
{
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
