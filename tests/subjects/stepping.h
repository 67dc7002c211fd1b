// SPDX-License-Identifier: Apache-2.0
/*
 * Between begin_stepping() and end_stepping() a SIGTRAP follows every instruction of the thread.  They are
 * functions of their own, with their frames described: the stack is walked from inside them too.
 */
#ifndef HM_TESTS_SUBJECTS_STEPPING_H
#define HM_TESTS_SUBJECTS_STEPPING_H

#include <signal.h>
#include <ucontext.h>

enum {
	TRAP_FLAG = 0x100,
	EACH_INSTRUCTION = 150, /* so far every one is interrupted; further in it is tables and no flags */
	INSTRUCTIONS_MIN = 500, /* fewer: nothing is recorded any more */
	INSTRUCTIONS_MAX = 20000,
	WARM_BLOCKS = 2000, /* after so many the live table does not grow any more */
};

/* The instruction of the next round. */
static inline int next_interrupted(int interrupted, int stride)
{
	return interrupted + (interrupted < EACH_INSTRUCTION ? 1 : stride);
}

/* What became of it: `interrupted` is the first instruction that no round has come to. */
static inline const char *stepping_outcome(int interrupted)
{
	return interrupted >= INSTRUCTIONS_MIN && interrupted < INSTRUCTIONS_MAX ? "interrupted everywhere"
										 : "not as expected";
}

/* In the handler: no more of them once it returns. */
static inline void stop_stepping(void *context)
{
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

void begin_stepping(void);
void end_stepping(void);
/* clang-format off */
__asm__(".pushsection .text\n"
	"begin_stepping:\n"
	"	.cfi_startproc\n"
	"	pushfq\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	orq $0x100, (%rsp)\n"	/* TRAP_FLAG */
	"	popfq\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"end_stepping:\n"
	"	.cfi_startproc\n"
	"	pushfq\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	andq $~0x100, (%rsp)\n"
	"	popfq\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".popsection\n");
/* clang-format on */

#endif
