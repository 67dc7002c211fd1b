// SPDX-License-Identifier: Apache-2.0
/*
 * What filters say: instruction by instruction, and random programs held against the kernel; which abilities
 * a filter takes away, and what is remembered of it.
 */
#include "preload/bpf.h"
#include "preload/sandbox.h"

#include "tests/unit/check.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ALLOW = SECCOMP_RET_ALLOW,
	FAIL = SECCOMP_RET_ERRNO | EPERM,
	TRAP = SECCOMP_RET_TRAP,
};

#define COUNT(ARRAY)        (sizeof(ARRAY) / sizeof((ARRAY)[0]))
#define ASK(PROGRAM, CALL)  hm_bpf_ask((PROGRAM), COUNT(PROGRAM), (CALL))
#define STATEMENT(CODE, K)  ((struct sock_filter)BPF_STMT((CODE), (K)))
#define RETURN(ANSWER)      STATEMENT(BPF_RET | BPF_K, (ANSWER))
#define LOAD(FIELD)         STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, FIELD))
#define JUMP(CODE, K, T, F) ((struct sock_filter)BPF_JUMP(BPF_JMP | (CODE), (K), (T), (F)))
#define ALU(CODE, K)        STATEMENT(BPF_ALU | (CODE), (K))

/* The accumulator after these instructions is `expected`. */
#define CHECK_COMPUTES(EXPECTED, ...)                                                                        \
	do {                                                                                                 \
		const struct sock_filter program[] = { __VA_ARGS__, JUMP(BPF_JEQ | BPF_K, (EXPECTED), 0, 1), \
						       RETURN(ALLOW), RETURN(TRAP) };                        \
		CHECK_EQ(ASK(program, &call), HM_BPF_ALLOWS);                                                \
	} while (false)

static const struct hm_system_call call = {
	.number = SYS_mmap,
	.known_arguments = 0x05,
	.arguments = { UINT64_C(0x1122334455667788), 0, 7 },
};

static void test_answers(void)
{
	static const struct {
		uint32_t answer;
		enum hm_bpf_verdict verdict;
	} cases[] = {
		{ SECCOMP_RET_ALLOW, HM_BPF_ALLOWS },
		{ SECCOMP_RET_LOG, HM_BPF_ALLOWS },
		{ SECCOMP_RET_ERRNO | ENOSYS, HM_BPF_FAILS },
		{ SECCOMP_RET_ERRNO, HM_BPF_FORBIDS }, /* looks like a success */
		{ SECCOMP_RET_TRAP, HM_BPF_FORBIDS },
		{ SECCOMP_RET_TRACE, HM_BPF_FORBIDS },
		{ SECCOMP_RET_USER_NOTIF, HM_BPF_FORBIDS },
		{ SECCOMP_RET_KILL_THREAD, HM_BPF_FORBIDS },
		{ SECCOMP_RET_KILL_PROCESS, HM_BPF_FORBIDS },
		{ 0x12345678, HM_BPF_FORBIDS }, /* the kernel kills */
	};

	for (size_t index = 0; index < COUNT(cases); index++) {
		const struct sock_filter constant[] = { RETURN(cases[index].answer) };
		const struct sock_filter computed[] = { STATEMENT(BPF_LD | BPF_IMM, cases[index].answer),
							STATEMENT(BPF_RET | BPF_A, 0) };

		CHECK_EQ(ASK(constant, &call), cases[index].verdict);
		CHECK_EQ(ASK(computed, &call), cases[index].verdict);
	}
}

static void test_computes(void)
{
	CHECK_COMPUTES(SYS_mmap, LOAD(nr));
	CHECK_COMPUTES(AUDIT_ARCH_X86_64, LOAD(arch));
	CHECK_COMPUTES(0x55667788, LOAD(args[0]));
	CHECK_COMPUTES(0x11223344,
		       STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + 4));
	CHECK_COMPUTES(7, LOAD(args[2]));
	CHECK_COMPUTES(sizeof(struct seccomp_data), STATEMENT(BPF_LD | BPF_W | BPF_LEN, 0));
	CHECK_COMPUTES(12, STATEMENT(BPF_LD | BPF_IMM, 5), ALU(BPF_ADD | BPF_K, 7));
	CHECK_COMPUTES(5, STATEMENT(BPF_LDX | BPF_IMM, 5), STATEMENT(BPF_MISC | BPF_TXA, 0));
	CHECK_COMPUTES(10, STATEMENT(BPF_LD | BPF_IMM, 5), STATEMENT(BPF_MISC | BPF_TAX, 0),
		       ALU(BPF_ADD | BPF_X, 0));
	CHECK_COMPUTES(9, STATEMENT(BPF_LD | BPF_IMM, 9), STATEMENT(BPF_ST, 3),
		       STATEMENT(BPF_LD | BPF_IMM, 1), STATEMENT(BPF_LD | BPF_MEM, 3));
	CHECK_COMPUTES(9, STATEMENT(BPF_LDX | BPF_IMM, 9), STATEMENT(BPF_STX, 15),
		       STATEMENT(BPF_LD | BPF_MEM, 15));
	CHECK_COMPUTES(UINT32_MAX - 2, STATEMENT(BPF_LD | BPF_IMM, 3), ALU(BPF_NEG, 0));
	CHECK_COMPUTES(8, STATEMENT(BPF_LD | BPF_IMM, 1), JUMP(BPF_JA, 1, 0, 0), RETURN(TRAP),
		       ALU(BPF_LSH | BPF_K, 3));
}

/* What cannot be known, or is no filter, forbids; and nothing is read that is not part of it. */
static void test_unknown(void)
{
	const struct sock_filter pointer[] = { LOAD(args[1]), RETURN(ALLOW) };
	const struct sock_filter origin[] = { LOAD(instruction_pointer), RETURN(ALLOW) };
	const struct sock_filter outside[] = {
		STATEMENT(BPF_LD | BPF_W | BPF_ABS, sizeof(struct seccomp_data)), RETURN(ALLOW)
	};
	const struct sock_filter odd[] = { STATEMENT(BPF_LD | BPF_W | BPF_ABS, 17), RETURN(ALLOW) };
	const struct sock_filter endless[] = { LOAD(nr) };
	const struct sock_filter far_away[] = { JUMP(BPF_JA, UINT32_MAX, 0, 0), RETURN(ALLOW) };
	const struct sock_filter by_zero[] = { ALU(BPF_DIV | BPF_X, 0), RETURN(ALLOW) };
	const struct sock_filter store[] = { STATEMENT(BPF_ST, BPF_MEMWORDS), RETURN(ALLOW) };
	const struct sock_filter load[] = { STATEMENT(BPF_LD | BPF_MEM, BPF_MEMWORDS), RETURN(ALLOW) };
	const struct sock_filter packet[] = { STATEMENT(BPF_LD | BPF_W | BPF_IND, 0), RETURN(ALLOW) };

	CHECK_EQ(ASK(pointer, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(origin, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(outside, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(odd, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(endless, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(far_away, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(by_zero, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(store, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(load, &call), HM_BPF_FORBIDS);
	CHECK_EQ(ASK(packet, &call), HM_BPF_FORBIDS);
}

static uint64_t random_state = 1;

static uint32_t draw(uint32_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % below;
}

static uint32_t draw_constant(void)
{
	static const uint32_t constants[] = { 0, 1, 2, 31, 0xff, 0x80000000, 0xffffffff, SYS_getpgid };

	return draw(2) == 0 ? constants[draw(COUNT(constants))] : draw(1000);
}

enum {
	BODY = 24,
	CALLS = 8,
	PROGRAMS = 300,
	PROLOGUE = 2,
	EPILOGUE = 3,
	LENGTH = PROLOGUE + BODY + EPILOGUE
};

static struct sock_filter draw_instruction(uint32_t rest)
{
	// NOLINTBEGIN(misc-redundant-expression): BPF_K and some others are 0
	static const uint16_t codes[] = {
		BPF_LD | BPF_W | BPF_ABS,
		BPF_LD | BPF_W | BPF_ABS,
		BPF_LD | BPF_W | BPF_LEN,
		BPF_LDX | BPF_W | BPF_LEN,
		BPF_LD | BPF_IMM,
		BPF_LDX | BPF_IMM,
		BPF_LD | BPF_MEM,
		BPF_LDX | BPF_MEM,
		BPF_ST,
		BPF_STX,
		BPF_MISC | BPF_TAX,
		BPF_MISC | BPF_TXA,
		BPF_ALU | BPF_ADD | BPF_K,
		BPF_ALU | BPF_ADD | BPF_X,
		BPF_ALU | BPF_SUB | BPF_K,
		BPF_ALU | BPF_SUB | BPF_X,
		BPF_ALU | BPF_MUL | BPF_K,
		BPF_ALU | BPF_MUL | BPF_X,
		BPF_ALU | BPF_DIV | BPF_K,
		BPF_ALU | BPF_DIV | BPF_X,
		BPF_ALU | BPF_AND | BPF_K,
		BPF_ALU | BPF_AND | BPF_X,
		BPF_ALU | BPF_OR | BPF_K,
		BPF_ALU | BPF_OR | BPF_X,
		BPF_ALU | BPF_XOR | BPF_K,
		BPF_ALU | BPF_XOR | BPF_X,
		BPF_ALU | BPF_LSH | BPF_K,
		BPF_ALU | BPF_LSH | BPF_X,
		BPF_ALU | BPF_RSH | BPF_K,
		BPF_ALU | BPF_RSH | BPF_X,
		BPF_ALU | BPF_NEG,
		BPF_JMP | BPF_JA,
		BPF_JMP | BPF_JEQ | BPF_K,
		BPF_JMP | BPF_JEQ | BPF_X,
		BPF_JMP | BPF_JGT | BPF_K,
		BPF_JMP | BPF_JGT | BPF_X,
		BPF_JMP | BPF_JGE | BPF_K,
		BPF_JMP | BPF_JGE | BPF_X,
		BPF_JMP | BPF_JSET | BPF_K,
		BPF_JMP | BPF_JSET | BPF_X,
	};
	// NOLINTEND(misc-redundant-expression)
	struct sock_filter instruction = { .code = codes[draw(COUNT(codes))], .k = draw_constant() };

	if (instruction.code == (BPF_LD | BPF_W | BPF_ABS))
		instruction.k = draw(2) == 0 ? 4 * draw(2) : 16 + 4 * draw(12);
	else if (BPF_CLASS(instruction.code) == BPF_ST || BPF_CLASS(instruction.code) == BPF_STX ||
		 BPF_MODE(instruction.code) == BPF_MEM)
		instruction.k = draw(BPF_MEMWORDS);
	else if (instruction.code == (BPF_JMP | BPF_JA))
		instruction.k = draw(rest);
	if (BPF_CLASS(instruction.code) == BPF_JMP) {
		instruction.jt = (uint8_t)draw(rest);
		instruction.jf = (uint8_t)draw(rest);
	}
	return instruction;
}

/* A filter that allows what is not getpgid, and getpgid if its accumulator has a bit of a mask in the end. */
static void draw_program(struct sock_filter *program)
{
	program[0] = LOAD(nr);
	program[1] = JUMP(BPF_JEQ | BPF_K, SYS_getpgid, 0, BODY + 1);
	for (uint32_t index = 0; index < BODY; index++)
		program[PROLOGUE + index] = draw_instruction(BODY - index);
	program[PROLOGUE + BODY] = JUMP(BPF_JSET | BPF_K, 1U << draw(32), 0, 1);
	program[PROLOGUE + BODY + 1] = RETURN(ALLOW);
	program[PROLOGUE + BODY + 2] = RETURN(FAIL);
}

/* In a child: what the kernel says; -1: it does not take this for a filter. */
static void ask_kernel(const struct sock_filter *program, const struct hm_system_call *calls,
		       int *ret_verdicts)
{
	const struct sock_fprog description = { .len = LENGTH,
						.filter = (struct sock_filter *)(uintptr_t)program };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &description) != 0)
		_exit(0);
	for (int index = 0; index < CALLS; index++) {
		const uint64_t *const arguments = calls[index].arguments;

		errno = 0;
		(void)syscall(SYS_getpgid, arguments[0], arguments[1], arguments[2], arguments[3],
			      arguments[4], arguments[5]);
		ret_verdicts[index] = errno == EPERM ? HM_BPF_FAILS : HM_BPF_ALLOWS;
	}
	_exit(0);
}

static void test_against_kernel(void)
{
	int *const verdicts =
		mmap(NULL, sizeof(int) * CALLS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sock_filter program[LENGTH];
	struct hm_system_call calls[CALLS];
	unsigned int compared = 0;
	unsigned int allowed = 0;

	for (int round = 0; round < PROGRAMS; round++) {
		int status = 0;

		draw_program(program);
		for (int index = 0; index < CALLS; index++) {
			calls[index] = (struct hm_system_call){ SYS_getpgid, 0x3f, { 0 } };
			verdicts[index] = -1;
			for (int argument = 0; argument < HM_CALL_ARGUMENTS; argument++)
				calls[index].arguments[argument] =
					(uint64_t)draw_constant() << 32 | draw_constant();
		}

		const pid_t pid = fork();

		if (pid == 0)
			ask_kernel(program, calls, verdicts);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		for (int index = 0; index < CALLS; index++) {
			const enum hm_bpf_verdict verdict = ASK(program, &calls[index]);

			if (!WIFEXITED(status) && verdicts[index] < 0) {
				CHECK_EQ(verdict,
					 HM_BPF_FORBIDS); /* killed by this call: a division by zero */
				break;
			}
			if (verdicts[index] < 0)
				break;
			CHECK_EQ(verdict, verdicts[index]);
			compared++;
			allowed += verdict == HM_BPF_ALLOWS;
		}
	}
	CHECK(compared > 1000); /* of 2400; the kernel refuses divisions by a constant 0 and wide shifts */
	CHECK(allowed > 100 && allowed < compared - 100);
	munmap(verdicts, sizeof(int) * CALLS);
}

static uint32_t bit(enum hm_ability ability)
{
	return UINT32_C(1) << ability;
}

/* A filter that forbids one system call, and what that costs us. */
static uint32_t without(uint32_t number)
{
	struct sock_filter program[] = { LOAD(nr), JUMP(BPF_JEQ | BPF_K, number, 0, 1), RETURN(TRAP),
					 RETURN(ALLOW) };
	const struct sock_fprog description = { .len = COUNT(program), .filter = program };

	return hm_sandbox_foresee(&description);
}

static void test_abilities(void)
{
	struct sock_filter all[] = { RETURN(ALLOW) };
	struct sock_filter none[] = { RETURN(TRAP) };
	struct sock_fprog description = { .len = 1, .filter = all };
	const uint32_t everything = bit(HM_ABILITIES) - 1;

	CHECK_EQ(hm_sandbox_foresee(&description), 0);
	description.filter = none;
	CHECK_EQ(hm_sandbox_foresee(&description), everything);
	CHECK_EQ(hm_sandbox_foresee_strict(), everything & ~bit(HM_MAY_SAY));
	CHECK_EQ(without(SYS_sched_yield), bit(HM_MAY_YIELD));
	CHECK_EQ(without(SYS_futex), bit(HM_MAY_WAIT));
	CHECK_EQ(without(SYS_pwrite64), bit(HM_MAY_GROW) | bit(HM_MAY_START));
	CHECK_EQ(without(SYS_openat), bit(HM_MAY_START) | bit(HM_MAY_WRITE_PROFILE));
	CHECK_EQ(without(SYS_ptrace), 0);
	CHECK((without(SYS_rt_sigprocmask) & bit(HM_MAY_ASK_READABLE)) != 0);
	CHECK((without(SYS_rt_sigprocmask) & bit(HM_MAY_COMPILE)) != 0);
	CHECK((without(SYS_mmap) & bit(HM_MAY_MAP)) != 0);
}

/* Pointers that lead nowhere are for the kernel to complain about. */
static void test_pointers(void)
{
	enum { PAGE = 4096 };
	char *const pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sock_fprog description = { .len = 2, .filter = NULL };

	munmap(pages + PAGE, PAGE);
	CHECK_EQ(hm_sandbox_foresee(NULL), 0);
	CHECK_EQ(hm_sandbox_foresee(pages + PAGE - 8), 0); /* ends behind the page */
	CHECK_EQ(hm_sandbox_foresee(&description), 0);
	description.filter = (struct sock_filter *)(void *)(pages + PAGE - sizeof(struct sock_filter));
	CHECK_EQ(hm_sandbox_foresee(&description), 0);
	description.len = 1; /* fits: an instruction that is all zero loads a constant, and does not end */
	CHECK(hm_sandbox_foresee(&description) != 0);
	munmap(pages, PAGE);
}

static void test_remembers(void)
{
	const uint32_t yield = bit(HM_MAY_YIELD);
	const uint32_t wait = bit(HM_MAY_WAIT);

	CHECK(hm_may(HM_MAY_YIELD));
	hm_sandbox_begin(yield);
	CHECK(!hm_may(HM_MAY_YIELD)); /* before the kernel has it */
	CHECK(hm_may(HM_MAY_WAIT));
	hm_sandbox_end(yield, false);
	CHECK(hm_may(HM_MAY_YIELD)); /* the kernel refused it */

	/* Two at once: the failure of one does not lift the other. */
	hm_sandbox_begin(yield);
	hm_sandbox_begin(yield | wait);
	hm_sandbox_end(yield, false);
	CHECK(!hm_may(HM_MAY_YIELD));
	CHECK(!hm_may(HM_MAY_WAIT));
	hm_sandbox_end(yield | wait, true);
	CHECK(!hm_may(HM_MAY_YIELD));
	CHECK(!hm_may(HM_MAY_WAIT));
	CHECK(hm_may(HM_MAY_SAY));
	hm_sandbox_begin(0);
	hm_sandbox_end(0, true);
	CHECK(!hm_may(HM_MAY_YIELD)); /* filters add up */
	hm_sandbox_yield();           /* returns */

	/* What an earlier filter does not let us read is taken for the worst. */
	hm_sandbox_begin(bit(HM_MAY_ASK_READABLE));
	CHECK_EQ(hm_sandbox_foresee(NULL), bit(HM_ABILITIES) - 1);
	hm_sandbox_end(bit(HM_MAY_ASK_READABLE), false);
	CHECK_EQ(hm_sandbox_foresee(NULL), 0);
}

int main(void)
{
	test_answers();
	test_computes();
	test_unknown();
	test_against_kernel();
	test_abilities();
	test_pointers();
	test_remembers();
	return check_result();
}
