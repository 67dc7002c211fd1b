// SPDX-License-Identifier: Apache-2.0
/*
 * compiled: an allocation under each kind of frame that compilers make.  Built several times, each time with
 * other options, and one build has no call-frame information.
 */
#include "tests/subjects/truth.h"

#include <alloca.h>
#include <csetjmp>
#include <sys/wait.h>

enum { ROUNDS = 100, HUGE_BYTES = 1 << 20 };

#define SITE_OF(NAME)                                                         \
	TRUTH(NAME)                                                           \
	extern "C" SITE struct block NAME(size_t size);                       \
	SITE struct block NAME(size_t size) {                                 \
		return truth_allocated(&truth_of_##NAME, malloc(size), size); \
	}
/* Names that are read in profiles as they stand here. */
extern "C" {
SITE void call_huge(size_t bytes);
SITE int call_realigned(int number);
SITE int call_variable(size_t count);
SITE void call_tail(int number);
[[noreturn]] SITE void end_with_call();
SITE void call_no_return();
SITE void call_lambda(int number);
SITE void call_vfork();
SITE void call_all(int round);
}

SITE_OF(under_huge)
SITE_OF(under_realigned)
SITE_OF(under_variable)
SITE_OF(under_tail_call)
SITE_OF(under_no_return)
SITE_OF(under_lambda)
SITE_OF(under_naked)
SITE_OF(under_vfork)

/* Every second block stays. */
static void allocate_two(struct block (*site)(size_t))
{
	struct block block = site(10);

	truth_free(&block);
	(void)site(20);
}

SITE void call_huge(size_t bytes)
{
	volatile char *const room = static_cast<volatile char *>(alloca(bytes));

	room[0] = room[bytes - 1] = 1;
	allocate_two(under_huge);
	room[0] = 2;
}

SITE int call_realigned(int number)
{
	alignas(64) volatile int numbers[16] = { number };

	allocate_two(under_realigned);
	return numbers[number % 16];
}

/* Realigned, and of a length that is not known before: a frame needs two pointers. */
SITE int call_variable(size_t count)
{
	alignas(128) volatile int numbers[32] = { 1 };
	volatile char *const room = static_cast<volatile char *>(alloca(count));

	room[count - 1] = 1;
	allocate_two(under_variable);
	return numbers[count % 32] + room[count - 1];
}

static SITE void last_of_tail_calls(int, long)
{
	allocate_two(under_tail_call);
}

static SITE void middle_of_tail_calls(int number)
{
	last_of_tail_calls(number + 1, number);
}

SITE void call_tail(int number)
{
	middle_of_tail_calls(number + 1);
}

static jmp_buf back;

[[noreturn]] static SITE void never_return()
{
	allocate_two(under_no_return);
	longjmp(back, 1);
}

/* The call is its last instruction: the return address is already the next function's. */
[[noreturn]] SITE void end_with_call()
{
	never_return();
}

SITE void call_no_return()
{
	if (setjmp(back) == 0)
		end_with_call();
}

template <typename Function> static void twice_removed(const Function &function)
{
	[&] { function(); }();
}

SITE void call_lambda(int number)
{
	twice_removed([number] {
		if (number >= 0)
			allocate_two(under_lambda);
	});
}

static void called_by_naked()
{
	allocate_two(under_naked);
}

/* Has no prologue of the compiler's, and nothing describes what it does with SP. */
__attribute__((naked, noinline)) static void call_naked(void (*)())
{
	__asm__("subq $40, %rsp\n"
		"callq *%rdi\n"
		"addq $40, %rsp\n"
		"ret\n");
}

SITE void call_vfork()
{
	int status;
	const pid_t pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork): what is tested

	if (pid == 0) {
		allocate_two(under_vfork); // NOLINT(clang-analyzer-unix.Vfork): in the memory of the parent
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		abort();
}

SITE void call_all(int round)
{
	call_huge(HUGE_BYTES + static_cast<size_t>(round) * 16);
	(void)call_realigned(round);
	(void)call_variable(static_cast<size_t>(round) * 100 + 1);
	call_tail(round);
	call_no_return();
	call_lambda(round);
	call_naked(called_by_naked);
	call_vfork();
	__asm__ volatile("" : : : "memory");
}

int main()
{
	for (int round = 0; round < ROUNDS; round++)
		call_all(round);
	truth_print();
	return 0;
}
