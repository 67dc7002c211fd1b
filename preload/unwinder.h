// SPDX-License-Identifier: Apache-2.0
/*
 * What call-frame information means for a walk: the rule of one address, and, for frames that no rule
 * describes, a walk step by step.
 *
 * Both are called with the lock of the unwind rules held (unwind_rules.h), and never otherwise.  They take no
 * lock of the loader's, read no address that was not proven readable, allocate nothing and keep errno; their
 * only system call is the one that proves a page (memory.h).
 */
#ifndef HM_PRELOAD_UNWINDER_H
#define HM_PRELOAD_UNWINDER_H

#include "preload/unwind_rules.h"

#include <stdbool.h>
#include <stdint.h>

/* Compiles the rule for the instruction at `pc`, which lies in a loaded object; module_index is left 0. */
union hm_rule hm_unwinder_compile(uintptr_t pc);

/* To be called when an object was unloaded: what was learnt about its memory is void. */
void hm_unwinder_forget(void);

/* What a function must preserve for its caller, and where it is: enough to unwind from. */
struct hm_registers {
	uint64_t rip, rsp, rbp, rbx, r12, r13, r14, r15;
};

/* Begins a walk at the frame that `registers` describe, at an instruction that is no call. */
void hm_unwinder_start(const struct hm_registers *registers);

enum hm_unwinder_step {
	HM_UNWINDER_STEPPED,
	HM_UNWINDER_OUTERMOST, /* there is no caller */
	HM_UNWINDER_LOST,      /* the caller cannot be found */
};

/* Steps to the caller's frame: its PC is the return address (or the interrupted instruction), SP as after the
 * return. */
enum hm_unwinder_step hm_unwinder_step(uintptr_t *ret_pc, uintptr_t *ret_sp);

#endif
