// SPDX-License-Identifier: Apache-2.0
/*
 * Call-frame information: what .eh_frame says about one instruction.
 *
 * For every instruction of a program there is a row that tells where the caller's registers are; a compiler
 * writes how each row differs from the one before, as a program of its own (DWARF 5, 6.4; the differences of
 * .eh_frame are in the Linux Standard Base, "Exception Frames"; register numbers are the x86-64 psABI's).
 *
 *	.eh_frame_hdr     sorted:  start of function, FDE     <- _dl_find_object
 *	                               |
 *	.eh_frame         CIE <-----  FDE                     pointers, encodings; then the program
 *	                  rows that    rows of
 *	                  all begin    this function
 *	                  with
 *
 * What is here was checked by nobody: objects may be damaged, or lie.  Nothing is read that was not proven to
 * be readable and to lie in the object, everything that is not understood is -EINVAL, and every loop is
 * bounded by the length of what it reads.  Allocates nothing; not for several threads at once.
 *
 * What was proven must stay until it is forgotten (proven.h).  An object's memory does until it is unloaded;
 * but a file may be cut short while it is mapped: of that the program itself would die, too (SIGBUS).
 */
#ifndef HM_PRELOAD_CFI_H
#define HM_PRELOAD_CFI_H

#include "preload/proven.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As call-frame information numbers them. */
enum hm_cfi_register {
	HM_CFI_RAX = 0,
	HM_CFI_RBX = 3,
	HM_CFI_FP = 6, /* rbp */
	HM_CFI_SP = 7, /* rsp */
	HM_CFI_R12 = 12,
	HM_CFI_R13,
	HM_CFI_R14,
	HM_CFI_R15,
	HM_CFI_PC, /* stands for the return address */
	HM_CFI_REGISTERS,
};

/* Where a register of the caller's is. */
enum hm_cfi_place {
	HM_CFI_UNTOUCHED,     /* where it was: the function does not change it */
	HM_CFI_LOST,          /* nowhere.  The return address: there is no caller */
	HM_CFI_AT_OFFSET,     /* in memory, at CFA + offset */
	HM_CFI_IS_OFFSET,     /* it is CFA + offset */
	HM_CFI_IN_REGISTER,   /* in another register, of which `offset` is the number */
	HM_CFI_AT_EXPRESSION, /* in memory, where the expression says */
	HM_CFI_IS_EXPRESSION, /* it is what the expression says */
};

struct hm_cfi_rule {
	int64_t offset;            /* bytes */
	const uint8_t *expression; /* borrowed from the object; NULL: none */
	uint32_t expression_bytes;
	enum hm_cfi_place place;
};

struct hm_cfi_row {
	/* The CFA, which is the caller's SP as it was before the call: either cfa_register + cfa.offset, or
	 * HM_CFI_IS_EXPRESSION. */
	struct hm_cfi_rule cfa;
	uint64_t cfa_register;
	struct hm_cfi_rule registers[HM_CFI_REGISTERS];
};

enum { HM_CFI_REMEMBERED_MAX = 8 }; /* rows; compilers nest two */

/* What finding a row takes; six kilobytes, so not for a stack. */
struct hm_cfi_reader {
	struct hm_proven_pages proven; /* of the objects that were read */
	struct hm_cfi_row row;         /* that was found */
	bool is_signal_frame;          /* the kernel made the frame, and nobody has called */

	struct hm_cfi_row initial;
	struct hm_cfi_row remembered[HM_CFI_REMEMBERED_MAX];
	uint32_t remembered_count;
};

/* A loaded object. */
struct hm_cfi_object {
	uintptr_t start; /* of all its memory */
	uintptr_t end;
	uintptr_t header; /* .eh_frame_hdr */
};

/*
 * Finds the row for the instruction at `pc`, into reader->row.  -ENOENT: the object says nothing about it;
 * -EINVAL: what it says is damaged, or not understood.
 */
int hm_cfi_find(struct hm_cfi_reader *reader, const struct hm_cfi_object *object, uintptr_t pc);

#endif
