// SPDX-License-Identifier: Apache-2.0
/*
 * One step from a frame to its caller, by a row of call-frame information.
 *
 * A step can be made in numbers, or in terms of SP and FP, for a frame that does not exist.  What comes of it
 * then is the rule of all frames at that instruction:
 *
 *	PC = the word at SP+24, SP = SP+32, FP as it was          CFA = SP+32
 *
 * Both are one computation, because a value is either a number or a distance from something:
 */
#ifndef HM_PRELOAD_CFI_FRAME_H
#define HM_PRELOAD_CFI_FRAME_H

#include "preload/cfi.h"

#include <stdbool.h>
#include <stdint.h>

enum hm_cfi_base {
	HM_CFI_UNKNOWN,
	HM_CFI_NUMBER,       /* offset itself */
	HM_CFI_FROM_SP,      /* SP + offset */
	HM_CFI_FROM_FP,      /* FP + offset */
	HM_CFI_WORD_AT_SP,   /* the word at SP + place, + offset */
	HM_CFI_WORD_AT_FP,   /* the word at FP + place, + offset */
	HM_CFI_WORD_AT_WORD, /* the word at (the word at FP + place) + offset */
};

struct hm_cfi_value {
	enum hm_cfi_base base;
	int64_t place; /* bytes, as all offsets */
	int64_t offset;
};

struct hm_cfi_frame {
	struct hm_cfi_value registers[HM_CFI_REGISTERS];
	struct hm_proven_pages
		*proven; /* of the stack and what else is read; NULL: the frame does not exist */
};

static inline struct hm_cfi_value hm_cfi_number(uint64_t number)
{
	return (struct hm_cfi_value){ .base = HM_CFI_NUMBER, .offset = (int64_t)number };
}

/*
 * Makes the frame its caller's: registers[HM_CFI_PC] is the return address, [HM_CFI_SP] as after the return.
 * What cannot be told is HM_CFI_UNKNOWN.  Takes 2 KiB of stack.
 */
void hm_cfi_step(struct hm_cfi_frame *frame, const struct hm_cfi_row *row);

/* Reads 8 bytes; HM_CFI_UNKNOWN where there are none. */
struct hm_cfi_value hm_cfi_load(const struct hm_cfi_frame *frame, struct hm_cfi_value address);

#endif
