// SPDX-License-Identifier: Apache-2.0
// A plug-in without a build id, in whose place there is a note that claims to be one and is cut off.

	.text
	.globl	broken_note
	.type	broken_note, @function
broken_note:
	ret
	.size	broken_note, . - broken_note

	.section .note.broken, "a", @note
	.balign	4
	.long	4, 20, 3
	.asciz	"GNU"
	.long	1

	.section .note.GNU-stack, "", @progbits
