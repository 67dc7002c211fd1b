// SPDX-License-Identifier: Apache-2.0
// See hand_written.h.  Arguments: RDI visit, RSI argument, RDX frame_pointer.

	.text

	.globl	hand_written_lying_fp
	.type	hand_written_lying_fp, @function
hand_written_lying_fp:
	.cfi_startproc
	push	%rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	mov	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	push	%rbp
	sub	$8, %rsp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rbp
	call	*%rax
	add	$8, %rsp
	pop	%rbp
	pop	%rbp
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size	hand_written_lying_fp, . - hand_written_lying_fp

	.globl	hand_written_lost_fp
	.type	hand_written_lost_fp, @function
hand_written_lost_fp:
	.cfi_startproc
	push	%rbp
	.cfi_def_cfa_offset 16
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rbp
	call	*%rax
	pop	%rbp
	.cfi_def_cfa_offset 8
	ret
	.cfi_endproc
	.size	hand_written_lost_fp, . - hand_written_lost_fp

	.globl	hand_written_on_rbx
	.type	hand_written_on_rbx, @function
hand_written_on_rbx:
	.cfi_startproc
	push	%rbx
	.cfi_def_cfa_offset 16
	.cfi_offset %rbx, -16
	mov	%rsp, %rbx
	.cfi_def_cfa_register %rbx
	and	$-64, %rsp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	mov	%rbx, %rsp
	.cfi_def_cfa_register %rsp
	pop	%rbx
	.cfi_def_cfa_offset 8
	ret
	.cfi_endproc
	.size	hand_written_on_rbx, . - hand_written_on_rbx

	.globl	hand_written_no_cfi
	.type	hand_written_no_cfi, @function
hand_written_no_cfi:
	push	%rbp
	mov	%rsp, %rbp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	pop	%rbp
	ret
	.size	hand_written_no_cfi, . - hand_written_no_cfi
	.globl	hand_written_no_cfi_end
hand_written_no_cfi_end:
	nop

	.globl	hand_written_no_cfi_no_fp
	.type	hand_written_no_cfi_no_fp, @function
hand_written_no_cfi_no_fp:
	push	%rbp
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rbp
	call	*%rax
	pop	%rbp
	ret
	.size	hand_written_no_cfi_no_fp, . - hand_written_no_cfi_no_fp

	.globl	hand_written_trap
	.type	hand_written_trap, @function
hand_written_trap:
	.cfi_startproc
	push	%rbx
	.cfi_def_cfa_offset 16
	.cfi_offset %rbx, -16
	push	%rbp
	.cfi_def_cfa_offset 24
	.cfi_offset %rbp, -24
	pop	%rbp
	.cfi_def_cfa_offset 16
	pop	%rbx
	.cfi_def_cfa_offset 8
	int3
	ret
	.cfi_endproc
	.size	hand_written_trap, . - hand_written_trap

	// The call is the last instruction, and what follows is another function with another CFA.
	.globl	hand_written_last_call
	.type	hand_written_last_call, @function
hand_written_last_call:
	.cfi_startproc
	push	%rbx
	.cfi_def_cfa_offset 16
	.cfi_offset %rbx, -16
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	.cfi_endproc
	.size	hand_written_last_call, . - hand_written_last_call
	.type	after_last_call, @function
after_last_call:
	.cfi_startproc
	.cfi_def_cfa_offset 0x2000
	ud2
	.cfi_endproc
	.size	after_last_call, . - after_last_call

	// What is said of the instruction before the next is wrong.
	.globl	hand_written_trap_before
	.type	hand_written_trap_before, @function
hand_written_trap_before:
	.cfi_startproc
	.cfi_def_cfa_offset 0x2000
	int3
	.cfi_def_cfa_offset 8
	ret
	.cfi_endproc
	.size	hand_written_trap_before, . - hand_written_trap_before

	// As a thread begins: there is nowhere to return to, and this is not said.
	.globl	hand_written_no_return
	.type	hand_written_no_return, @function
hand_written_no_return:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	push	$0
	push	$0
	jmp	*%rax
	.size	hand_written_no_return, . - hand_written_no_return

	// Addresses with a rule each.  Two bytes, so that no label is at the edge of a range.
	.macro	rule name:req
	.globl	\name
	nop
\name:
	nop
	.endm

	.type	rules, @function
rules:
	.cfi_startproc
	rule	rule_entry
	.cfi_def_cfa_offset 24
	.cfi_offset %rbp, -24
	rule	rule_pushed
	.cfi_def_cfa %rbp, 16
	.cfi_offset %rbp, -16
	rule	rule_on_fp
	.cfi_restore %rbp
	.cfi_def_cfa %rsp, 0x40000000
	rule	rule_large
	.cfi_def_cfa_offset 12
	rule	rule_odd
	.cfi_def_cfa_offset 8
	.cfi_offset %rbp, -0x100000
	rule	rule_far_fp
	.cfi_offset %rbp, 0
	rule	rule_fp_at_cfa
	// DW_CFA_def_cfa_expression: DW_OP_breg6 -8, DW_OP_deref
	.cfi_escape 0x0f, 0x03, 0x76, 0x78, 0x06
	// DW_CFA_expression of RBP: DW_OP_breg6 0
	.cfi_escape 0x10, 0x06, 0x02, 0x76, 0x00
	rule	rule_realigned
	// the same, DW_OP_plus_uconst 8
	.cfi_escape 0x0f, 0x05, 0x76, 0x78, 0x06, 0x23, 0x08
	rule	rule_added
	// the same without, and DW_CFA_offset of the return address
	.cfi_escape 0x0f, 0x03, 0x76, 0x78, 0x06
	.cfi_offset %rip, -16
	rule	rule_realigned_odd
	.cfi_offset %rip, -8
	.cfi_def_cfa %rsp, 24
	// DW_CFA_val_expression of RBP: DW_OP_breg7 0, DW_OP_deref, DW_OP_plus_uconst 8
	.cfi_escape 0x16, 0x06, 0x05, 0x77, 0x00, 0x06, 0x23, 0x08
	rule	rule_fp_added
	.cfi_def_cfa %rbx, 16
	.cfi_restore %rbp
	rule	rule_on_rbx
	.cfi_undefined %rip
	rule	rule_outermost
	.cfi_endproc
	.size	rules, . - rules
	rule	rule_no_cfi

	.type	registers, @function
registers:
	.cfi_startproc
	.cfi_def_cfa_offset 24
	.cfi_offset %rbx, -16
	rule	rule_saves_rbx
	.cfi_undefined %rbx
	rule	rule_loses_rbx
	.cfi_register %rbx, %r12
	rule	rule_rbx_in_r12
	.cfi_register %rbx, %r13
	rule	rule_rbx_in_r13
	.cfi_register %rbx, %r14
	rule	rule_rbx_in_r14
	.cfi_register %rbx, %r15
	rule	rule_rbx_in_r15
	// DW_CFA_val_expression of RBX: DW_OP_breg3 8, with the CFA below it
	.cfi_escape 0x16, 0x03, 0x02, 0x73, 0x08
	rule	rule_rbx_computed
	.cfi_same_value %rbx
	// DW_CFA_def_cfa_expression: DW_OP_breg3 16
	.cfi_escape 0x0f, 0x02, 0x73, 0x10
	rule	rule_on_rbx_computed
	.cfi_def_cfa %rsp, 0
	rule	rule_no_frame
	// What was never remembered is restored.
	.cfi_escape 0x0b
	rule	rule_damaged
	.cfi_endproc
	.size	registers, . - registers

	.type	signal_frame, @function
signal_frame:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa_offset 16
	rule	rule_signal_frame
	.cfi_endproc
	.size	signal_frame, . - signal_frame
	// An entry of a linkage table, about which lld writes nothing either.
	nop
	.globl	rule_linkage
rule_linkage:
	.byte	0xff, 0x25, 1, 0, 0, 0
	.byte	0x68, 2, 0, 0, 0
	.byte	0xe9, 3, 0, 0, 0
	// One byte is another, each time.
	.globl	rule_no_linkage
rule_no_linkage:
	.irpc	which, 0123
	.byte	0xff ^ ((\which == 0) & 1), 0x25 ^ ((\which == 1) & 1), 1, 0, 0, 0
	.byte	0x68 ^ ((\which == 2) & 1), 2, 0, 0, 0
	.byte	0xe9 ^ ((\which == 3) & 1), 3, 0, 0, 0
	.endr

	.section .note.GNU-stack, "", @progbits
