// SPDX-License-Identifier: Apache-2.0
/*
 * The walk by all registers, over stacks that are made up: return addresses are the instructions with a rule
 * each of hand_written.S, so that every frame is one that was chosen.
 */
#include "preload/unwinder.h"

#include "tests/unit/check.h"
#include "tests/unit/hand_written.h"

#include <sys/mman.h>

enum { WORDS = 2 * HM_GUESSED_FRAME_MAX / 8 };

/* Static, so that what a walk reads beyond a frame is no secret of the compiler's. */
static uint64_t stack[WORDS];

static uint64_t address_of(const uint64_t *word)
{
	return (uintptr_t)word;
}

/* What a call leaves for its return: the instruction that has the rule is the one before. */
static uint64_t return_to(const char *rule)
{
	return (uintptr_t)rule + 1;
}

static void start(const char *rule, uint64_t rbx, uint64_t rbp)
{
	const struct hm_registers registers = {
		.rip = (uintptr_t)rule,
		.rsp = address_of(stack),
		.rbp = rbp,
		.rbx = rbx,
		.r12 = address_of(&stack[12]),
		.r13 = address_of(&stack[13]),
		.r14 = address_of(&stack[14]),
		.r15 = address_of(&stack[15]),
	};

	hm_unwinder_start(&registers);
}

static void check_step(uint64_t pc, const uint64_t *sp)
{
	uintptr_t found_pc = 0;
	uintptr_t found_sp = 0;

	CHECK_EQ(hm_unwinder_step(&found_pc, &found_sp), HM_UNWINDER_STEPPED);
	CHECK_EQ(found_pc, pc);
	CHECK_EQ(found_sp, address_of(sp));
}

static void check_end(enum hm_unwinder_step end)
{
	uintptr_t pc = 4711;
	uintptr_t sp = 4711;

	CHECK_EQ(hm_unwinder_step(&pc, &sp), end);
	CHECK_EQ(pc, 4711);
	CHECK_EQ(sp, 4711);
}

/* Frame by frame to one whose CFA is RBX + 16, RBX being what the frame inside of it has made it. */
static void test_rbx(void)
{
	static const char *const on_rbx[] = { rule_on_rbx, rule_on_rbx_computed };

	for (int i = 0; i < 2; i++) {
		const uint64_t caller = return_to(on_rbx[i]);

		memset(stack, 0, sizeof(stack));
		stack[1] = address_of(&stack[20]); /* RBX */
		stack[2] = caller;
		stack[21] = return_to(rule_outermost);
		start(rule_saves_rbx, 0, 0);
		check_step(caller, &stack[3]);
		check_step(return_to(rule_outermost), &stack[22]);
		check_end(HM_UNWINDER_OUTERMOST);

		for (int number = 12; number <= 15; number++) {
			static const char *const in_other[] = { rule_rbx_in_r12, rule_rbx_in_r13,
								rule_rbx_in_r14, rule_rbx_in_r15 };

			stack[number + 1] = return_to(rule_outermost);
			start(in_other[number - 12], 0, 0);
			check_step(caller, &stack[3]);
			check_step(return_to(rule_outermost), &stack[number + 2]);
			stack[number + 1] = 0;
		}

		start(rule_rbx_computed, address_of(&stack[19]), 0);
		check_step(caller, &stack[3]);
		check_step(return_to(rule_outermost), &stack[22]);

		start(rule_loses_rbx, address_of(&stack[20]), 0);
		check_step(caller, &stack[3]);
		check_end(HM_UNWINDER_LOST);

		/* It is where nothing can be read. */
		stack[1] = 0;
		start(rule_saves_rbx, 0, 0);
		check_step(caller, &stack[3]);
		check_end(HM_UNWINDER_LOST);
	}
}

/*
 * Behind a frame of the kernel's the instruction itself counts, behind a call the one before.  Here the one
 * has lost RBX, the other has saved it, and the frame outside counts from it.
 */
static void test_signal_frame(void)
{
	const uint64_t between = (uintptr_t)rule_saves_rbx + 1; /* where the row of rule_loses_rbx begins */

	memset(stack, 0, sizeof(stack));
	stack[1] = between;
	stack[3] = address_of(&stack[20]);
	stack[4] = return_to(rule_on_rbx);
	stack[21] = return_to(rule_outermost);
	start(rule_signal_frame, address_of(&stack[20]), 0);
	check_step(between, &stack[2]);
	check_step(return_to(rule_on_rbx), &stack[5]);
	check_end(HM_UNWINDER_LOST);

	stack[2] = between;
	stack[4] = address_of(&stack[20]);
	stack[5] = return_to(rule_on_rbx);
	start(rule_saves_rbx, 0, 0);
	check_step(between, &stack[3]);
	check_step(return_to(rule_on_rbx), &stack[6]);
	check_step(return_to(rule_outermost), &stack[22]);
}

static void test_ends(void)
{
	memset(stack, 0, sizeof(stack));
	start(rule_outermost, 0, 0);
	check_end(HM_UNWINDER_OUTERMOST);

	/* Returning to address 0 is the end, too. */
	start(rule_entry, 0, 0);
	check_end(HM_UNWINDER_OUTERMOST);

	start(rule_damaged, 0, 0);
	check_end(HM_UNWINDER_LOST);

	/* No progress: it returns to itself, and SP stays. */
	stack[3] = return_to(rule_no_frame);
	stack[2] = return_to(rule_no_frame);
	start(rule_saves_rbx, 0, 0);
	check_step(return_to(rule_no_frame), &stack[3]);
	check_end(HM_UNWINDER_LOST);

	/* A stack that is not there. */
	struct hm_registers registers = { .rip = (uintptr_t)rule_entry, .rsp = 64 };

	hm_unwinder_start(&registers);
	check_end(HM_UNWINDER_LOST);
	registers.rsp = UINT64_MAX - 7;
	hm_unwinder_start(&registers);
	check_end(HM_UNWINDER_LOST);
}

static void test_linkage(void)
{
	memset(stack, 0, sizeof(stack));
	stack[0] = return_to(rule_on_fp);
	stack[21] = return_to(rule_outermost);
	start(rule_linkage, 0, address_of(&stack[20]));
	check_step(return_to(rule_on_fp), &stack[1]);
	check_step(return_to(rule_outermost), &stack[22]);
	/* One byte further on it is none: the frame pointer leads nowhere. */
	start(rule_linkage + 1, 0, UINT64_MAX);
	check_end(HM_UNWINDER_LOST);
}

static void test_frame_pointers(void)
{
	enum { FARTHEST = HM_GUESSED_FRAME_MAX / 8 };

	memset(stack, 0, sizeof(stack));
	stack[FARTHEST] = address_of(&stack[FARTHEST + 8]); /* FP of the next */
	stack[FARTHEST + 1] = return_to(rule_no_cfi);
	stack[FARTHEST + 8] = 0;
	stack[FARTHEST + 9] = return_to(rule_no_cfi);
	start(rule_no_cfi, 0, address_of(&stack[FARTHEST]));
	check_step(return_to(rule_no_cfi), &stack[FARTHEST + 2]);
	check_step(return_to(rule_no_cfi), &stack[FARTHEST + 10]);
	check_end(HM_UNWINDER_OUTERMOST);

	/* By a word too far, and inwards. */
	stack[FARTHEST + 2] = return_to(rule_no_cfi);
	start(rule_no_cfi, 0, address_of(&stack[FARTHEST + 1]));
	check_end(HM_UNWINDER_LOST);
	start(rule_no_cfi, 0, address_of(stack) - 8);
	check_end(HM_UNWINDER_LOST);
	start(rule_no_cfi, 0, address_of(stack));
	check_end(HM_UNWINDER_OUTERMOST); /* not too far; the return address is 0 */
}

/* Code made at run time is in no object, and goes as it comes: what was readable in one walk need not be in
 * the next. */
static void test_code_that_goes(void)
{
	enum { PAGE_BYTES = 4096 };
	uint8_t *const code =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(code != MAP_FAILED);
	memset(stack, 0, sizeof(stack));
	stack[5] = return_to(rule_outermost);
	start((const char *)code + 64, 0, address_of(&stack[4]));
	check_step(return_to(rule_outermost), &stack[6]);
	CHECK_EQ(munmap(code, PAGE_BYTES), 0);
	start((const char *)code + 64, 0, address_of(&stack[4]));
	check_step(return_to(rule_outermost), &stack[6]);
}

int main(void)
{
	test_rbx();
	test_signal_frame();
	test_ends();
	test_linkage();
	test_frame_pointers();
	test_code_that_goes();
	return check_result();
}
