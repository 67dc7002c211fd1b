// SPDX-License-Identifier: Apache-2.0
/*
 * The exported functions that are no allocators: what ends a process, what copies it, and what puts a seccomp
 * filter on it.
 */
#include "preload/cc.h"
#include "preload/lifecycle.h"
#include "preload/next.h"
#include "preload/sandbox.h"
#include "preload/thread.h"

#include <assert.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

HM_EXPORT _Noreturn void _exit(int status)
{
	hm_lifecycle_leave();
	hm_next.exit_now(status);
	__builtin_unreachable();
}

HM_EXPORT _Noreturn void _Exit(int status)
{
	hm_lifecycle_leave();
	hm_next.Exit(status);
	__builtin_unreachable();
}

/*
 * RLIMIT_MEMLOCK is held against all that is mapped, so the room that the ledger has to grow would count.
 * Where that is too much the room goes, and the ledger stays as it is.
 */
HM_EXPORT int mlockall(int flags)
{
	const int saved_errno = errno;
	const int result = hm_next.mlockall(flags);

	if (result == 0 || errno != ENOMEM || !hm_lifecycle_cut())
		return result;
	errno = saved_errno;
	return hm_next.mlockall(flags);
}

/* No handlers of pthread_atfork run. */
HM_EXPORT pid_t _Fork(void)
{
	const pid_t pid = hm_next.bare_fork();

	if (pid == 0)
		hm_lifecycle_in_fork_child();
	return pid;
}

/* The two ways of saying it: prctl(PR_SET_SECCOMP, mode, program), seccomp(operation, flags, program). */
enum { IS_NO_FILTER, IS_STRICT, IS_FILTER };

static int kind_of_mode(unsigned long mode)
{
	return mode == SECCOMP_MODE_STRICT   ? IS_STRICT
	       : mode == SECCOMP_MODE_FILTER ? IS_FILTER
					     : IS_NO_FILTER;
}

static int kind_of_operation(unsigned long operation)
{
	switch ((unsigned int)operation) {
	case SECCOMP_SET_MODE_STRICT:
		return IS_STRICT;
	case SECCOMP_SET_MODE_FILTER:
		return IS_FILTER;
	default:
		return IS_NO_FILTER;
	}
}

static uint32_t foresee(int kind, unsigned long program)
{
	switch (kind) {
	case IS_STRICT:
		return hm_sandbox_foresee_strict();
	case IS_FILTER:
		return hm_sandbox_foresee((const void *)program);
	default:
		return 0;
	}
}

/* Before the kernel installs it.  Returns what is to be given to `installed`. */
static uint32_t install(int kind, unsigned long program, const void *caller)
{
	const int saved_errno = errno;
	uint32_t forbidden = foresee(kind, program);

	if (!hm_lifecycle_before_filter(forbidden, caller))
		forbidden = 0;
	hm_sandbox_begin(forbidden);
	errno = saved_errno;
	return forbidden;
}

/* The result may be a descriptor, of SECCOMP_FILTER_FLAG_NEW_LISTENER. */
static long installed(uint32_t forbidden, long result)
{
	hm_sandbox_end(forbidden, result >= 0);
	return result;
}

/*
 * prctl and syscall are entered by any kind of call, among them some that come back on another stack or twice
 * (syscall(SYS_vfork), syscall(SYS_clone)).  So they are written in assembly, pass on registers and stack as
 * they are, and only these few calls are turned aside:
 */
HM_HIDDEN int hm_system_prctl(int option, unsigned long mode, unsigned long program, unsigned long fourth,
			      unsigned long fifth);
HM_HIDDEN long hm_system_syscall_seccomp(long number, unsigned long operation, unsigned long flags,
					 unsigned long program);
HM_HIDDEN long hm_system_syscall_prctl(long number, unsigned long option, unsigned long mode,
				       unsigned long program, unsigned long fourth, unsigned long fifth);
HM_HIDDEN long hm_system_syscall_copy(long number, unsigned long flags, unsigned long stack,
				      unsigned long parent_number, unsigned long child_number,
				      unsigned long tls);

__attribute__((used)) int hm_system_prctl(int option, unsigned long mode, unsigned long program,
					  unsigned long fourth, unsigned long fifth)
{
	const uint32_t forbidden = install(kind_of_mode(mode), program, __builtin_return_address(0));

	return (int)installed(forbidden, hm_next_prctl(option, mode, program, fourth, fifth));
}

__attribute__((used)) long hm_system_syscall_seccomp(long number, unsigned long operation,
						     unsigned long flags, unsigned long program)
{
	const uint32_t forbidden =
		install(kind_of_operation(operation), program, __builtin_return_address(0));

	return installed(forbidden, hm_next_syscall(number, operation, flags, program));
}

__attribute__((used)) long hm_system_syscall_prctl(long number, unsigned long option, unsigned long mode,
						   unsigned long program, unsigned long fourth,
						   unsigned long fifth)
{
	const uint32_t forbidden = install(kind_of_mode(mode), program, __builtin_return_address(0));

	return installed(forbidden, hm_next_syscall(number, option, mode, program, fourth, fifth));
}

/* The child goes on in a copy of this very frame, at its place. */
__attribute__((used)) long hm_system_syscall_copy(long number, unsigned long flags, unsigned long stack,
						  unsigned long parent_number, unsigned long child_number,
						  unsigned long tls)
{
	const long pid = hm_next_syscall(number, flags, stack, parent_number, child_number, tls);

	if (pid == 0)
		hm_lifecycle_in_fork_child();
	return pid;
}

/* The kernel, too, looks at the lower half of a number.  SYS_clone3 is passed on: its flags are in memory. */
static_assert(PR_SET_SECCOMP == 22 && SYS_prctl == 157 && SYS_seccomp == 317 && SYS_clone == 56 &&
		      SYS_fork == 57 && (CLONE_VM | CLONE_SETTLS) == 0x80100,
	      "the numbers below");
__asm__(".pushsection .text\n"
	".globl prctl\n"
	".type prctl, @function\n"
	".balign 16\n"
	"prctl:\n"
	".cfi_startproc\n"
	"	cmpl $22, %edi\n"
	"	je hm_system_prctl\n"
	"	jmpq *hm_next_prctl(%rip)\n"
	".cfi_endproc\n"
	".size prctl, . - prctl\n"
	"\n"
	".globl syscall\n"
	".type syscall, @function\n"
	".balign 16\n"
	"syscall:\n"
	".cfi_startproc\n"
	"	cmpl $317, %edi\n"
	"	je hm_system_syscall_seccomp\n"
	"	cmpl $157, %edi\n"
	"	je 1f\n"
	"	cmpl $57, %edi\n"
	"	je hm_system_syscall_copy\n"
	"	cmpl $56, %edi\n"
	"	je 2f\n"
	"0:	jmpq *hm_next_syscall(%rip)\n"
	"1:	cmpl $22, %esi\n"
	"	je hm_system_syscall_prctl\n"
	"	jmp 0b\n"
	"2:	testl $0x80100, %esi\n" /* with memory or thread-local storage of another */
	"	jnz 0b\n"
	"	testq %rdx, %rdx\n" /* or on a stack of its own */
	"	jz hm_system_syscall_copy\n"
	"	jmp 0b\n"
	".cfi_endproc\n"
	".size syscall, . - syscall\n"
	".popsection\n");
