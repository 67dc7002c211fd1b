// SPDX-License-Identifier: Apache-2.0
#include "preload/cfi_frame.h"

#include "preload/cfi_bytes.h"

#include <string.h>

/* DW_OP_*: DWARF 5, 2.5 and 7.7.1. */
enum {
	OP_ADDRESS = 0x03,
	OP_DEREFERENCE = 0x06,
	OP_CONSTANT_1U = 0x08,
	OP_CONSTANT_1S,
	OP_CONSTANT_2U,
	OP_CONSTANT_2S,
	OP_CONSTANT_4U,
	OP_CONSTANT_4S,
	OP_CONSTANT_8U,
	OP_CONSTANT_8S,
	OP_CONSTANT_U,
	OP_CONSTANT_S,
	OP_DUP,
	OP_DROP,
	OP_OVER,
	OP_PICK,
	OP_SWAP,
	OP_ROTATE,
	OP_ABSOLUTE = 0x19,
	OP_AND,
	OP_DIVIDE,
	OP_MINUS,
	OP_MODULO,
	OP_MULTIPLY,
	OP_NEGATE,
	OP_NOT,
	OP_OR,
	OP_PLUS,
	OP_PLUS_CONSTANT,
	OP_SHIFT_LEFT,
	OP_SHIFT_RIGHT,
	OP_SHIFT_RIGHT_SIGNED,
	OP_XOR,
	OP_BRANCH,
	OP_EQUAL,
	OP_GREATER_OR_EQUAL,
	OP_GREATER,
	OP_LESS_OR_EQUAL,
	OP_LESS,
	OP_NOT_EQUAL,
	OP_SKIP,
	OP_LITERAL_0 = 0x30,
	OP_LITERAL_31 = 0x4f,
	OP_BASE_REGISTER_0 = 0x70,
	OP_BASE_REGISTER_31 = 0x8f,
	OP_BASE_REGISTER = 0x92,
	OP_DEREFERENCE_SIZE = 0x94,
	OP_NOP = 0x96,
};

enum {
	DEPTH_MAX = 32,          /* values */
	INSTRUCTIONS_MAX = 1000, /* an expression can branch backwards */
};

struct machine {
	const struct hm_cfi_frame *frame;
	struct hm_cfi_value values[DEPTH_MAX];
	uint32_t depth;
	bool has_failed;
};

static const struct hm_cfi_value unknown = { .base = HM_CFI_UNKNOWN };

/* Offsets wrap as the machine's do. */
static struct hm_cfi_value add(struct hm_cfi_value value, int64_t offset)
{
	if (offset == 0)
		return value;
	if (value.base == HM_CFI_UNKNOWN || value.base == HM_CFI_WORD_AT_WORD)
		return unknown;
	value.offset = (int64_t)((uint64_t)value.offset + (uint64_t)offset);
	return value;
}

/* Whatever lies there, between variables too. */
__attribute__((no_sanitize("address", "thread"))) static uint64_t read_bytes(uintptr_t address,
									     size_t size_bytes)
{
	const volatile uint8_t *const bytes = (const uint8_t *)address;
	uint64_t value = 0;

	for (size_t i = 0; i < size_bytes; i++)
		value |= (uint64_t)bytes[i] << i * 8;
	return value;
}

static struct hm_cfi_value load(const struct hm_cfi_frame *frame, struct hm_cfi_value address,
				size_t size_bytes)
{
	const bool is_word = size_bytes == sizeof(uint64_t);

	switch (address.base) {
	case HM_CFI_NUMBER:
		if (frame->proven == NULL ||
		    !hm_proven_readable(frame->proven, (uintptr_t)address.offset, size_bytes))
			return unknown;
		return hm_cfi_number(read_bytes((uintptr_t)address.offset, size_bytes));
	case HM_CFI_FROM_SP:
	case HM_CFI_FROM_FP:
		return is_word ? (struct hm_cfi_value){ .base = address.base == HM_CFI_FROM_SP
									? HM_CFI_WORD_AT_SP
									: HM_CFI_WORD_AT_FP,
							.place = address.offset }
			       : unknown;
	case HM_CFI_WORD_AT_FP:
		address.base = is_word ? HM_CFI_WORD_AT_WORD : HM_CFI_UNKNOWN;
		return address;
	case HM_CFI_UNKNOWN:
	case HM_CFI_WORD_AT_SP:
	case HM_CFI_WORD_AT_WORD:
		break;
	}
	return unknown;
}

struct hm_cfi_value hm_cfi_load(const struct hm_cfi_frame *frame, struct hm_cfi_value address)
{
	return load(frame, address, sizeof(uint64_t));
}

static struct hm_cfi_value register_of(const struct hm_cfi_frame *frame, uint64_t number)
{
	return number < HM_CFI_REGISTERS ? frame->registers[number] : unknown;
}

/* --- Expressions --------------------------------------------------------------------------------------- */

static void push(struct machine *machine, struct hm_cfi_value value)
{
	if (machine->depth == DEPTH_MAX)
		machine->has_failed = true;
	else
		machine->values[machine->depth++] = value;
}

static void push_number(struct machine *machine, uint64_t number)
{
	push(machine, hm_cfi_number(number));
}

static struct hm_cfi_value pop(struct machine *machine)
{
	if (machine->depth == 0) {
		machine->has_failed = true;
		return unknown;
	}
	return machine->values[--machine->depth];
}

/* The value that many below the uppermost. */
static void push_again(struct machine *machine, uint64_t below)
{
	if (below >= machine->depth)
		machine->has_failed = true;
	else
		push(machine, machine->values[machine->depth - 1 - below]);
}

/* The uppermost goes below the `count` - 1 that were under it. */
static void rotate(struct machine *machine, uint32_t count)
{
	if (machine->depth < count) {
		machine->has_failed = true;
		return;
	}

	struct hm_cfi_value *const lowest = &machine->values[machine->depth - count];
	const struct hm_cfi_value uppermost = lowest[count - 1];

	memmove(lowest + 1, lowest, (count - 1) * sizeof(*lowest));
	*lowest = uppermost;
}

/* Of two numbers.  Division by zero and what is no operation fail. */
static bool calculate(uint8_t code, uint64_t a, uint64_t b, uint64_t *ret_number)
{
	enum { WORD_BITS = 64 };
	const int64_t signed_a = (int64_t)a;
	const int64_t signed_b = (int64_t)b;
	const bool is_shifted_out = b >= WORD_BITS;
	const uint64_t sign = signed_a < 0 ? UINT64_MAX : 0;

	switch (code) {
	case OP_AND:
		*ret_number = a & b;
		return true;
	case OP_OR:
		*ret_number = a | b;
		return true;
	case OP_XOR:
		*ret_number = a ^ b;
		return true;
	case OP_MULTIPLY:
		*ret_number = a * b;
		return true;
	case OP_DIVIDE:
		if (b == 0 || (signed_b == -1 && signed_a == INT64_MIN))
			return false;
		*ret_number = (uint64_t)(signed_a / signed_b);
		return true;
	case OP_MODULO:
		if (b == 0)
			return false;
		*ret_number = a % b;
		return true;
	case OP_SHIFT_LEFT:
		*ret_number = is_shifted_out ? 0 : a << b;
		return true;
	case OP_SHIFT_RIGHT:
		*ret_number = is_shifted_out ? 0 : a >> b;
		return true;
	case OP_SHIFT_RIGHT_SIGNED:
		*ret_number = is_shifted_out ? sign : (uint64_t)(signed_a >> b);
		return true;
	case OP_EQUAL:
		*ret_number = a == b;
		return true;
	case OP_NOT_EQUAL:
		*ret_number = a != b;
		return true;
	case OP_GREATER_OR_EQUAL:
		*ret_number = signed_a >= signed_b;
		return true;
	case OP_GREATER:
		*ret_number = signed_a > signed_b;
		return true;
	case OP_LESS_OR_EQUAL:
		*ret_number = signed_a <= signed_b;
		return true;
	case OP_LESS:
		*ret_number = signed_a < signed_b;
		return true;
	default:
		return false;
	}
}

/* Whether it is an operation at all: of an instruction that is not known, nobody knows where it ends. */
static bool is_calculated(uint8_t code)
{
	uint64_t number;

	return calculate(code, 1, 1, &number);
}

/* The uppermost is the second operand.  To add a number is all that can be done to what is not one. */
static void run_binary(struct machine *machine, uint8_t code)
{
	const struct hm_cfi_value b = pop(machine);
	const struct hm_cfi_value a = pop(machine);
	const bool are_numbers = a.base == HM_CFI_NUMBER && b.base == HM_CFI_NUMBER;
	uint64_t number = 0;

	if (code == OP_PLUS && b.base == HM_CFI_NUMBER)
		push(machine, add(a, b.offset));
	else if (code == OP_PLUS && a.base == HM_CFI_NUMBER)
		push(machine, add(b, a.offset));
	else if (code == OP_MINUS && b.base == HM_CFI_NUMBER)
		push(machine, add(a, (int64_t)(0 - (uint64_t)b.offset)));
	else if (are_numbers && calculate(code, (uint64_t)a.offset, (uint64_t)b.offset, &number))
		push_number(machine, number);
	else if (!are_numbers && is_calculated(code))
		push(machine, unknown);
	else
		machine->has_failed = true;
}

static void run_unary(struct machine *machine, uint8_t code)
{
	const struct hm_cfi_value value = pop(machine);
	const uint64_t number = (uint64_t)value.offset;

	if (value.base != HM_CFI_NUMBER)
		push(machine, unknown);
	else if (code == OP_NOT)
		push_number(machine, ~number);
	else if (code == OP_NEGATE || value.offset < 0)
		push_number(machine, 0 - number);
	else
		push(machine, value);
}

/* A jump by a signed distance from behind the instruction, of which `start` is the first. */
static void jump(struct machine *machine, struct hm_cfi_bytes *bytes, const uint8_t *start,
		 bool is_conditional)
{
	const int16_t distance = (int16_t)hm_cfi_take_u16(bytes);
	const struct hm_cfi_value condition = is_conditional ? pop(machine) : hm_cfi_number(1);

	if (condition.base != HM_CFI_NUMBER || distance < start - bytes->next ||
	    distance > bytes->end - bytes->next)
		machine->has_failed = true;
	else if (condition.offset != 0)
		bytes->next += distance;
}

static void push_base_register(struct machine *machine, uint64_t number, struct hm_cfi_bytes *bytes)
{
	const int64_t offset = hm_cfi_take_sleb(bytes);

	push(machine, add(register_of(machine->frame, number), offset));
}

/* An instruction that pushes a number.  Returns false where it is another. */
static bool run_constant(struct machine *machine, uint8_t code, struct hm_cfi_bytes *bytes)
{
	if (code >= OP_LITERAL_0 && code <= OP_LITERAL_31) {
		push_number(machine, (uint64_t)(code - OP_LITERAL_0));
		return true;
	}
	switch (code) {
	case OP_ADDRESS:
	case OP_CONSTANT_8U:
	case OP_CONSTANT_8S:
		push_number(machine, hm_cfi_take_u64(bytes));
		return true;
	case OP_CONSTANT_1U:
		push_number(machine, hm_cfi_take_u8(bytes));
		return true;
	case OP_CONSTANT_1S:
		push_number(machine, (uint64_t)(int64_t)(int8_t)hm_cfi_take_u8(bytes));
		return true;
	case OP_CONSTANT_2U:
		push_number(machine, hm_cfi_take_u16(bytes));
		return true;
	case OP_CONSTANT_2S:
		push_number(machine, (uint64_t)(int64_t)(int16_t)hm_cfi_take_u16(bytes));
		return true;
	case OP_CONSTANT_4U:
		push_number(machine, hm_cfi_take_u32(bytes));
		return true;
	case OP_CONSTANT_4S:
		push_number(machine, (uint64_t)(int64_t)(int32_t)hm_cfi_take_u32(bytes));
		return true;
	case OP_CONSTANT_U:
		push_number(machine, hm_cfi_take_uleb(bytes));
		return true;
	case OP_CONSTANT_S:
		push_number(machine, (uint64_t)hm_cfi_take_sleb(bytes));
		return true;
	default:
		return false;
	}
}

/* One that moves what is on the stack.  Returns false where it is another. */
static bool run_order(struct machine *machine, uint8_t code, struct hm_cfi_bytes *bytes)
{
	switch (code) {
	case OP_DUP:
		push_again(machine, 0);
		return true;
	case OP_OVER:
		push_again(machine, 1);
		return true;
	case OP_PICK:
		push_again(machine, hm_cfi_take_u8(bytes));
		return true;
	case OP_DROP:
		(void)pop(machine);
		return true;
	case OP_SWAP:
		rotate(machine, 2);
		return true;
	case OP_ROTATE:
		rotate(machine, 3);
		return true;
	case OP_NOP:
		return true;
	default:
		return false;
	}
}

static void dereference(struct machine *machine, size_t size_bytes)
{
	if (size_bytes == 0 || size_bytes > sizeof(uint64_t))
		machine->has_failed = true;
	else
		push(machine, load(machine->frame, pop(machine), size_bytes));
}

static void run_instruction(struct machine *machine, struct hm_cfi_bytes *bytes, const uint8_t *start)
{
	const uint8_t code = hm_cfi_take_u8(bytes);

	if (run_constant(machine, code, bytes) || run_order(machine, code, bytes))
		return;
	if (code >= OP_BASE_REGISTER_0 && code <= OP_BASE_REGISTER_31) {
		push_base_register(machine, (uint64_t)(code - OP_BASE_REGISTER_0), bytes);
		return;
	}
	switch (code) {
	case OP_BASE_REGISTER:
		push_base_register(machine, hm_cfi_take_uleb(bytes), bytes);
		break;
	case OP_DEREFERENCE:
		dereference(machine, sizeof(uint64_t));
		break;
	case OP_DEREFERENCE_SIZE:
		dereference(machine, hm_cfi_take_u8(bytes));
		break;
	case OP_PLUS_CONSTANT:
		push(machine, add(pop(machine), (int64_t)hm_cfi_take_uleb(bytes)));
		break;
	case OP_ABSOLUTE:
	case OP_NEGATE:
	case OP_NOT:
		run_unary(machine, code);
		break;
	case OP_SKIP:
	case OP_BRANCH:
		jump(machine, bytes, start, code == OP_BRANCH);
		break;
	default:
		run_binary(machine, code);
		break;
	}
}

/* What an expression leaves uppermost; `cfa` is what it finds there, unless it is the CFA that it tells. */
static struct hm_cfi_value evaluate(const struct hm_cfi_frame *frame, const struct hm_cfi_rule *rule,
				    const struct hm_cfi_value *cfa)
{
	struct hm_cfi_bytes bytes = hm_cfi_bytes_at(rule->expression, rule->expression_bytes);
	struct machine machine = { .frame = frame };

	if (cfa != NULL)
		push(&machine, *cfa);
	for (int count = 0; bytes.next < bytes.end && !machine.has_failed; count++) {
		if (count == INSTRUCTIONS_MAX)
			return unknown;
		run_instruction(&machine, &bytes, rule->expression);
	}

	const struct hm_cfi_value value = pop(&machine);

	return machine.has_failed || bytes.is_spoilt ? unknown : value;
}

/* --- The step ------------------------------------------------------------------------------------------ */

static struct hm_cfi_value caller_register(const struct hm_cfi_frame *frame, const struct hm_cfi_rule *rule,
					   uint64_t number, struct hm_cfi_value cfa)
{
	switch (rule->place) {
	case HM_CFI_UNTOUCHED:
		return number == HM_CFI_SP ? cfa : frame->registers[number];
	case HM_CFI_AT_OFFSET:
		return hm_cfi_load(frame, add(cfa, rule->offset));
	case HM_CFI_IS_OFFSET:
		return add(cfa, rule->offset);
	case HM_CFI_IN_REGISTER:
		return register_of(frame, (uint64_t)rule->offset);
	case HM_CFI_AT_EXPRESSION:
		return hm_cfi_load(frame, evaluate(frame, rule, &cfa));
	case HM_CFI_IS_EXPRESSION:
		return evaluate(frame, rule, &cfa);
	case HM_CFI_LOST:
		break;
	}
	return unknown;
}

void hm_cfi_step(struct hm_cfi_frame *frame, const struct hm_cfi_row *row)
{
	const struct hm_cfi_value cfa = row->cfa.place == HM_CFI_IS_EXPRESSION
						? evaluate(frame, &row->cfa, NULL)
						: add(register_of(frame, row->cfa_register), row->cfa.offset);
	struct hm_cfi_frame caller = { .proven = frame->proven };

	for (uint64_t number = 0; number < HM_CFI_REGISTERS; number++)
		caller.registers[number] = caller_register(frame, &row->registers[number], number, cfa);
	*frame = caller;
}
