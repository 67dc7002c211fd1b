// SPDX-License-Identifier: Apache-2.0
#include "preload/own_stack.h"

#include "preload/cc.h"
#include "preload/memory.h"
#include "preload/signals.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

/* Room for zlib and the C library's formatting; only what is touched takes memory. */
enum { MAPPED_STACK_BYTES = 256 * 1024 };

/* function in rdi, argument in rsi, the stack's end in rdx: a multiple of 16, as the ABI wants it before a
 * call */
HM_HIDDEN void hm_own_stack_switch(void (*function)(void *argument), void *argument, uintptr_t top);
__asm__(".pushsection .text\n"
	".globl hm_own_stack_switch\n"
	".hidden hm_own_stack_switch\n"
	".type hm_own_stack_switch, @function\n"
	".balign 16\n"
	"hm_own_stack_switch:\n"
	".cfi_startproc\n"
	"	pushq %rbp\n"
	".cfi_def_cfa_offset 16\n"
	".cfi_offset %rbp, -16\n"
	"	movq %rsp, %rbp\n"
	".cfi_def_cfa_register %rbp\n"
	"	movq %rdx, %rsp\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	callq *%rax\n"
	"	leave\n"
	".cfi_def_cfa %rsp, 8\n"
	"	ret\n"
	".cfi_endproc\n"
	".size hm_own_stack_switch, . - hm_own_stack_switch\n"
	".popsection\n");

void hm_own_stack_call_on(void *stack, size_t stack_bytes, void (*function)(void *argument), void *argument)
{
	hm_own_stack_switch(function, argument, (uintptr_t)stack + stack_bytes);
}

void hm_own_stack_call(void (*function)(void *argument), void *argument)
{
	const int saved_errno = errno;
	void *const stack = hm_memory_map(MAPPED_STACK_BYTES);
	struct hm_signals_saved saved;
	int cancel_state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	hm_signals_block(&saved);
	if (stack != NULL) {
		hm_own_stack_call_on(stack, MAPPED_STACK_BYTES, function, argument);
		hm_memory_unmap(stack, MAPPED_STACK_BYTES);
	} else {
		function(argument);
	}
	hm_signals_restore(&saved);
	(void)pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
}
