// SPDX-License-Identifier: Apache-2.0
/*
 * handmade MODE: coroutines whose switch is a few instructions, on stacks that begin at the very top of their
 * mapping: the start function's return address would be the word above it.
 *	top     nothing can be read there
 *	stale   there lies another stack, which is unmapped while the lower one goes on
 *	moved   a large stack gives way to smaller ones in the same place, with guard pages between
 */
#include "tests/subjects/truth.h"

#include <sys/mman.h>

enum { PAGE_BYTES = 4096, STACK_BYTES = 16 * 1024, ROUNDS = 100 };

TRUTH(in_handmade)
static SITE struct block in_handmade(size_t size)
{
	return truth_allocated(&truth_of_in_handmade, malloc(size), size);
}

TRUTH(in_main)
static SITE struct block in_main(size_t size)
{
	return truth_allocated(&truth_of_in_main, malloc(size), size);
}

static uintptr_t main_stack;

/* Leaves where it stands in *ret_from, and goes on at `to`, where another call of it has left or a start
 * lies. */
void switch_stack(uintptr_t *ret_from, uintptr_t to);
/* clang-format off */
__asm__(".pushsection .text\n"
	"switch_stack:\n"
	"	.cfi_startproc\n"
	"	pushq %rbp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %rbp, 0\n"
	"	pushq %rbx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %rbx, 0\n"
	"	pushq %r12\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r12, 0\n"
	"	pushq %r13\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r13, 0\n"
	"	pushq %r14\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r14, 0\n"
	"	pushq %r15\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset %r15, 0\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r14\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r13\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r12\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rbx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rbp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"handmade_begin:\n"	/* what a new stack begins with: calls RBX, which never returns */
	"	.cfi_startproc\n"
	"	callq *%rbx\n"
	"	ud2\n"
	"	.cfi_endproc\n"
	".popsection\n");
/* clang-format on */
extern const char handmade_begin[];

static uintptr_t make(char *top, void (*start)(void), uintptr_t frame_pointer)
{
	uintptr_t *const words = (uintptr_t *)(void *)top;

	words[-1] = (uintptr_t)handmade_begin;
	words[-2] = frame_pointer;
	words[-3] = (uintptr_t)start; /* RBX */
	return (uintptr_t)&words[-7]; /* R12 to R15: whatever is there */
}

static uintptr_t coroutine;

static void leave(void)
{
	switch_stack(&coroutine, main_stack);
}

static SITE void handmade_start(void)
{
	for (;;) {
		struct block block = in_handmade(24);

		truth_free(&block);
		block = in_handmade(8);
		leave();
	}
}

/* The walk begins pages below the top. */
static SITE void deep_start(void)
{
	char room[3 * PAGE_BYTES];

	__asm__ volatile("" : : "r"(room) : "memory");
	handmade_start();
}

static SITE void enter(void)
{
	switch_stack(&main_stack, coroutine);
}

static char *map(size_t bytes, int protection)
{
	char *const memory = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

static void run_top(void)
{
	char *const memory = map(STACK_BYTES + PAGE_BYTES, PROT_READ | PROT_WRITE);
	char *const top = memory + STACK_BYTES;

	if (mprotect(top, PAGE_BYTES, PROT_NONE) != 0)
		abort();
	for (int round = 0; round < ROUNDS; round++) {
		/* The frame pointer of a start is anything: here the words around the top, page by page. */
		coroutine = make(top, handmade_start, (uintptr_t)top + (uintptr_t)(round - ROUNDS / 2) * 8);
		enter();
		enter();
		if (round % 10 == 0)
			(void)in_main(5);
	}
}

static void run_stale(void)
{
	char *const memory = map(2 * STACK_BYTES, PROT_READ | PROT_WRITE);

	coroutine = make(memory + STACK_BYTES, handmade_start, 1);
	enter();
	enter();
	if (munmap(memory + STACK_BYTES, STACK_BYTES) != 0)
		abort();
	for (int round = 0; round < ROUNDS; round++)
		enter();
}

static void run_moved(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		char *const memory = map(4 * STACK_BYTES, PROT_READ | PROT_WRITE);
		char *const small_top = memory + 4 * STACK_BYTES - PAGE_BYTES;

		coroutine = make(memory + 4 * STACK_BYTES, deep_start, 1);
		enter();
		if (mprotect(small_top, PAGE_BYTES, PROT_NONE) != 0)
			abort();
		coroutine = make(small_top, handmade_start, (uintptr_t)small_top);
		enter();
		if (munmap(memory, 4 * STACK_BYTES) != 0)
			abort();
	}
}

int main(int argc, char **argv)
{
	const char *const mode = argc == 2 ? argv[1] : "";

	if (strcmp(mode, "top") == 0)
		run_top();
	else if (strcmp(mode, "stale") == 0)
		run_stale();
	else if (strcmp(mode, "moved") == 0)
		run_moved();
	else
		return 2;
	truth_print();
	return 0;
}
