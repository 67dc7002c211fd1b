// SPDX-License-Identifier: Apache-2.0
#include "preload/unwinder.h"

#include "preload/cfi.h"
#include "preload/cfi_frame.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { WORD_BYTES = 8 };

/*
 * What a step needs.  Static and not on the stack, of which the caller may have sixteen kilobytes for
 * everything.  One of each is enough, because there is one lock.
 */
static struct hm_cfi_reader reader;

static struct {
	struct hm_cfi_frame frame;
	struct hm_proven_pages proven; /* of stacks, and of code in no object: for one walk */
	bool is_interrupted;           /* at the next instruction, and not in a call */
} walk;

static int find_row(uintptr_t pc)
{
	struct dl_find_object found;

	if (_dl_find_object((void *)pc, &found) != 0)
		return -ENOENT;

	const struct hm_cfi_object object = {
		.start = (uintptr_t)found.dlfo_map_start,
		.end = (uintptr_t)found.dlfo_map_end,
		.header = (uintptr_t)found.dlfo_eh_frame,
	};

	return hm_cfi_find(&reader, &object, pc);
}

/*
 * Whether an entry of a procedure linkage table begins at `pc`, about which nothing is said (lld writes
 * nothing about its tables).  SP is as the caller's call has left it then.
 *
 *	ff 25 distance    jmp  *distance(%rip)
 *	68 index          push $index
 *	e9 distance       jmp  to the table's head
 */
__attribute__((no_sanitize("address", "thread"))) static bool is_linkage_entry(struct hm_proven_pages *proven,
									       uintptr_t pc)
{
	enum {
		JUMP = 0xff,
		JUMP_IN_MEMORY = 0x25,
		PUSH = 0x68,
		PUSH_AT = 6,
		NEAR_JUMP = 0xe9,
		NEAR_JUMP_AT = 11
	};
	const volatile uint8_t *const code = (const uint8_t *)pc;

	return hm_proven_readable(proven, pc, NEAR_JUMP_AT + 1) && code[0] == JUMP &&
	       code[1] == JUMP_IN_MEMORY && code[PUSH_AT] == PUSH && code[NEAR_JUMP_AT] == NEAR_JUMP;
}

/* --- Rules --------------------------------------------------------------------------------------------- */

static bool fits(int64_t bytes, int64_t words_max)
{
	const int64_t words = bytes / WORD_BYTES;

	return bytes % WORD_BYTES == 0 && words >= -words_max - 1 && words <= words_max;
}

enum { FP_OFFSET_MAX = (1 << 11) - 1 }; /* of 12 bits with a sign; those of cfa_offset are an int32_t's */

static const union hm_rule complex_rule = { .kind = HM_RULE_COMPLEX };

/* Whether it is the word at SP or FP + place, and nothing was added. */
static bool is_word(const struct hm_cfi_value *value, enum hm_cfi_base base)
{
	return value->base == base && value->offset == 0;
}

static bool is_word_at(const struct hm_cfi_value *value, enum hm_cfi_base base, int64_t place)
{
	return is_word(value, base) && value->place == place;
}

static union hm_rule standard_rule(const struct hm_cfi_value *pc, const struct hm_cfi_value *sp,
				   const struct hm_cfi_value *fp)
{
	const bool is_on_fp = sp->base == HM_CFI_FROM_FP;
	const enum hm_cfi_base word = is_on_fp ? HM_CFI_WORD_AT_FP : HM_CFI_WORD_AT_SP;
	const int64_t cfa = sp->offset;
	int64_t fp_offset = 0;

	if (!fits(cfa, INT32_MAX) || !is_word_at(pc, word, cfa - WORD_BYTES))
		return complex_rule;
	if (fp->base != HM_CFI_FROM_FP || fp->offset != 0) {
		if (!is_word(fp, word) || !fits(fp->place, INT32_MAX))
			return complex_rule;
		fp_offset = fp->place - cfa;
		if (!fits(fp_offset, FP_OFFSET_MAX) || fp_offset == 0)
			return complex_rule;
	}
	return (union hm_rule){
		.kind = HM_RULE_STANDARD,
		.cfa_is_on_fp = is_on_fp,
		.cfa_offset = cfa / WORD_BYTES,
		.fp_offset = fp_offset / WORD_BYTES,
	};
}

static union hm_rule realigned_rule(const struct hm_cfi_value *pc, const struct hm_cfi_value *sp,
				    const struct hm_cfi_value *fp)
{
	const bool is_below_sp =
		pc->base == HM_CFI_WORD_AT_WORD && pc->place == sp->place && pc->offset == -WORD_BYTES;

	if (!is_word(sp, HM_CFI_WORD_AT_FP) || !is_below_sp || !is_word(fp, HM_CFI_WORD_AT_FP) ||
	    !fits(sp->place, INT32_MAX) || !fits(fp->place, FP_OFFSET_MAX))
		return complex_rule;
	return (union hm_rule){
		.kind = HM_RULE_REALIGNED,
		.cfa_offset = sp->place / WORD_BYTES,
		.fp_offset = fp->place / WORD_BYTES,
	};
}

/* Reads what a step in terms of SP and FP has come to. */
static union hm_rule rule_of_caller(const struct hm_cfi_frame *caller)
{
	const struct hm_cfi_value *const pc = &caller->registers[HM_CFI_PC];
	const struct hm_cfi_value *const sp = &caller->registers[HM_CFI_SP];
	const struct hm_cfi_value *const fp = &caller->registers[HM_CFI_FP];

	if (sp->base == HM_CFI_FROM_SP || sp->base == HM_CFI_FROM_FP)
		return standard_rule(pc, sp, fp);
	if (is_word_at(pc, HM_CFI_WORD_AT_SP, HM_SIGNAL_PC_OFFSET) &&
	    is_word_at(sp, HM_CFI_WORD_AT_SP, HM_SIGNAL_SP_OFFSET) &&
	    is_word_at(fp, HM_CFI_WORD_AT_SP, HM_SIGNAL_FP_OFFSET))
		return (union hm_rule){ .kind = HM_RULE_SIGNAL };
	return realigned_rule(pc, sp, fp);
}

void hm_unwinder_forget(void)
{
	hm_proven_forget(&reader.proven);
}

union hm_rule hm_unwinder_compile(uintptr_t pc)
{
	struct hm_cfi_frame frame = {
		.registers = {
			[HM_CFI_SP] = { .base = HM_CFI_FROM_SP },
			[HM_CFI_FP] = { .base = HM_CFI_FROM_FP },
			[HM_CFI_PC] = hm_cfi_number(pc),
		},
	};
	const int error = find_row(pc);

	if (error == -ENOENT && is_linkage_entry(&reader.proven, pc))
		return (union hm_rule){ .kind = HM_RULE_STANDARD, .cfa_offset = 1 };
	if (error == -ENOENT)
		return (union hm_rule){ .kind = HM_RULE_UNKNOWN };
	if (error != 0)
		return complex_rule;
	if (reader.row.registers[HM_CFI_PC].place == HM_CFI_LOST)
		return (union hm_rule){ .kind = HM_RULE_OUTERMOST };
	hm_cfi_step(&frame, &reader.row);
	return rule_of_caller(&frame);
}

/* --- The walk ------------------------------------------------------------------------------------------ */

void hm_unwinder_start(const struct hm_registers *registers)
{
	struct hm_cfi_value *const values = walk.frame.registers;

	hm_proven_forget(&walk.proven);
	walk.frame = (struct hm_cfi_frame){ .proven = &walk.proven };
	walk.is_interrupted = true;
	values[HM_CFI_PC] = hm_cfi_number(registers->rip);
	values[HM_CFI_SP] = hm_cfi_number(registers->rsp);
	values[HM_CFI_FP] = hm_cfi_number(registers->rbp);
	values[HM_CFI_RBX] = hm_cfi_number(registers->rbx);
	values[HM_CFI_R12] = hm_cfi_number(registers->r12);
	values[HM_CFI_R13] = hm_cfi_number(registers->r13);
	values[HM_CFI_R14] = hm_cfi_number(registers->r14);
	values[HM_CFI_R15] = hm_cfi_number(registers->r15);
}

/* A frame about which nothing is said: by the linkage table's shape, else by the frame pointer. */
static enum hm_unwinder_step guess(uintptr_t pc)
{
	struct hm_cfi_value *const values = walk.frame.registers;
	/* Proven for this walk: it may be in no object, and gone by the next. */
	const bool is_entry = is_linkage_entry(&walk.proven, pc);
	const struct hm_cfi_value base = values[is_entry ? HM_CFI_SP : HM_CFI_FP];
	const struct hm_cfi_value sp = values[HM_CFI_SP];
	const uint64_t above_sp = (uint64_t)base.offset - (uint64_t)sp.offset;

	if (base.base != HM_CFI_NUMBER || sp.base != HM_CFI_NUMBER)
		return HM_UNWINDER_LOST;
	if (base.offset == 0)
		return HM_UNWINDER_OUTERMOST; /* what the x86-64 ABI asks of the outermost frame */
	if (above_sp > HM_GUESSED_FRAME_MAX)
		return HM_UNWINDER_LOST;

	const uint64_t return_address = (uint64_t)base.offset + (is_entry ? 0 : WORD_BYTES);

	if (!is_entry)
		values[HM_CFI_FP] = hm_cfi_load(&walk.frame, base);
	values[HM_CFI_PC] = hm_cfi_load(&walk.frame, hm_cfi_number(return_address));
	values[HM_CFI_SP] = hm_cfi_number(return_address + WORD_BYTES);
	return HM_UNWINDER_STEPPED;
}

static enum hm_unwinder_step step_by_row(void)
{
	if (reader.row.registers[HM_CFI_PC].place == HM_CFI_LOST)
		return HM_UNWINDER_OUTERMOST;
	hm_cfi_step(&walk.frame, &reader.row);
	return HM_UNWINDER_STEPPED;
}

enum hm_unwinder_step hm_unwinder_step(uintptr_t *ret_pc, uintptr_t *ret_sp)
{
	const struct hm_cfi_value *const values = walk.frame.registers;
	const struct hm_cfi_value pc_before = values[HM_CFI_PC];
	const struct hm_cfi_value sp_before = values[HM_CFI_SP];
	const uintptr_t pc = (uintptr_t)pc_before.offset - !walk.is_interrupted;
	const int error = find_row(pc);
	enum hm_unwinder_step stepped = HM_UNWINDER_LOST;

	if (error == 0)
		stepped = step_by_row();
	else if (error == -ENOENT)
		stepped = guess(pc);
	if (stepped != HM_UNWINDER_STEPPED)
		return stepped;
	walk.is_interrupted = error == 0 && reader.is_signal_frame;
	if (values[HM_CFI_PC].base != HM_CFI_NUMBER || values[HM_CFI_SP].base != HM_CFI_NUMBER ||
	    (values[HM_CFI_PC].offset == pc_before.offset && values[HM_CFI_SP].offset == sp_before.offset))
		return HM_UNWINDER_LOST;
	if (values[HM_CFI_PC].offset == 0)
		return HM_UNWINDER_OUTERMOST;
	*ret_pc = (uintptr_t)values[HM_CFI_PC].offset;
	*ret_sp = (uintptr_t)values[HM_CFI_SP].offset;
	return HM_UNWINDER_STEPPED;
}
