// SPDX-License-Identifier: Apache-2.0
/*
 * libunwind, kept at arm's length: the only file of this folder that knows it.
 *
 * The generic library (libunwind-x86_64.so.8) is loaded privately, so that nothing it exports can take the
 * place of libgcc's or the program's, and sees the process through accessors of ours.  It therefore opens no
 * pipe, takes no lock of the loader, keeps nothing for each thread, and reads no address that was not proven
 * readable.
 *
 * Two services: the call-frame information of one address as a rule, and, for frames that no rule describes,
 * a walk step by step.  Both are called with the lock of the unwind rules held (unwind_rules.h), and never
 * otherwise; they allocate nothing from the program's heap and keep errno.
 */
#ifndef HM_PRELOAD_UNWINDER_H
#define HM_PRELOAD_UNWINDER_H

#include "preload/unwind_rules.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Loads the library.  Once, while the process has one thread and without the lock; allocates by dlopen.
 * Returns false, and why in one sentence, where it is not there or not what is expected.
 */
bool hm_unwinder_init(const char **ret_reason);

/*
 * Compiles the rule for the instruction at `pc`, which lies in a loaded object; module_index is left 0.
 * HM_RULE_UNKNOWN without the library.
 */
union hm_rule hm_unwinder_compile(uintptr_t pc);

/* To be called when an object was unloaded: what was learnt about its memory is void. */
void hm_unwinder_forget(void);

/* What a function must preserve for its caller, and where it is: enough to unwind from. */
struct hm_registers {
	uint64_t rip, rsp, rbp, rbx, r12, r13, r14, r15;
};

/* Begins a walk at the frame that `registers` describe.  Returns false without the library. */
bool hm_unwinder_start(const struct hm_registers *registers);

enum hm_unwinder_step {
	HM_UNWINDER_STEPPED,
	HM_UNWINDER_OUTERMOST, /* there is no caller */
	HM_UNWINDER_LOST,      /* the caller cannot be found */
};

/* Steps to the caller's frame: its PC is the return address (or the interrupted instruction), SP as after the
 * return. */
enum hm_unwinder_step hm_unwinder_step(uintptr_t *ret_pc, uintptr_t *ret_sp);

#endif
