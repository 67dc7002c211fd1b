// SPDX-License-Identifier: Apache-2.0
#include "preload/sandbox.h"

#include "preload/bpf.h"
#include "preload/memory.h"

#include <assert.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA /* linux/prctl.h of 5.17 */
enum { PR_SET_VMA = 0x53564d41, PR_SET_VMA_ANON_NAME = 0 };
#endif

_Atomic uint64_t hm_sandbox;

static_assert((int)HM_ABILITIES <= (int)HM_SANDBOX_PENDING_SHIFT, "two sets of abilities below the attempts");

static const uint32_t all_abilities = (UINT32_C(1) << HM_ABILITIES) - 1;

/* Sets of abilities, for the table. */
enum {
	SIGNALS = 1 << HM_MAY_HOLD_OFF_SIGNALS,
	READABLE = 1 << HM_MAY_ASK_READABLE,
	MAP = 1 << HM_MAY_MAP,
	COMPILE = 1 << HM_MAY_COMPILE,
	WAIT = 1 << HM_MAY_WAIT,
	YIELD = 1 << HM_MAY_YIELD,
	KNOW_PID = 1 << HM_MAY_KNOW_PID,
	SAY = 1 << HM_MAY_SAY,
	LOOK = 1 << HM_MAY_LOOK_BEFORE_SAYING,
	GROW = 1 << HM_MAY_GROW,
	TRUNCATE = 1 << HM_MAY_TRUNCATE,
	NAMES = 1 << HM_MAY_NAME_MODULES,
	REMOVE = 1 << HM_MAY_REMOVE,
	START = 1 << HM_MAY_START,
	PROFILE = 1 << HM_MAY_WRITE_PROFILE,
};

/* Arguments that are known. */
enum { FIRST = 1 << 0, SECOND = 1 << 1, THIRD = 1 << 2, FOURTH = 1 << 3, SIXTH = 1 << 5 };

enum { KERNEL_SIGSET_BYTES = 8, PRIVATE_MEMORY = MAP_PRIVATE | MAP_ANONYMOUS };

/* What an ability takes.  Between them, these are all system calls that are made after the start. */
static const struct need {
	uint32_t abilities;
	bool may_fail; /* an error is as good: the caller goes another way */
	struct hm_system_call call;
} needs[] = {
	/* signals.h */
	{ SIGNALS | COMPILE | GROW | START | PROFILE,
	  false,
	  { SYS_rt_sigprocmask, FIRST | FOURTH, { SIG_BLOCK, 0, 0, KERNEL_SIGSET_BYTES } } },
	{ SIGNALS | COMPILE | GROW | START | PROFILE,
	  false,
	  { SYS_rt_sigprocmask, FIRST | FOURTH, { SIG_SETMASK, 0, 0, KERNEL_SIGSET_BYTES } } },
	/* memory.c */
	{ READABLE | COMPILE,
	  false,
	  { SYS_rt_sigprocmask,
	    FIRST | THIRD | FOURTH,
	    { HM_MEMORY_IMPOSSIBLE_HOW, 0, 0, KERNEL_SIGSET_BYTES } } },
	{ MAP | START | PROFILE,
	  false,
	  { SYS_mmap,
	    FIRST | THIRD | FOURTH | SIXTH,
	    { 0, 0, PROT_READ | PROT_WRITE, PRIVATE_MEMORY | MAP_NORESERVE, 0, 0 } } },
	{ MAP | START | PROFILE, false, { SYS_munmap, 0, { 0 } } },
	/* brief_wait.c */
	{ WAIT, false, { SYS_futex, SECOND, { 0, FUTEX_WAIT_PRIVATE } } },
	{ WAIT, false, { SYS_futex, SECOND, { 0, FUTEX_WAKE_PRIVATE } } },
	{ YIELD, false, { SYS_sched_yield, 0, { 0 } } },
	{ KNOW_PID | REMOVE | START | PROFILE, false, { SYS_getpid, 0, { 0 } } },
	{ SAY, false, { SYS_write, FIRST, { STDERR_FILENO } } },
	{ LOOK, false, { SYS_fstat, FIRST, { STDERR_FILENO } } },
	{ LOOK, false, { SYS_newfstatat, FIRST, { STDERR_FILENO } } },
	{ LOOK, false, { SYS_prlimit64, FIRST | SECOND | THIRD, { 0, RLIMIT_FSIZE, 0 } } },
	{ LOOK, false, { SYS_lseek, FIRST, { STDERR_FILENO } } },
	{ LOOK, false, { SYS_poll, 0, { 0 } } },
	/* ledger_file.c.  The C library's fstat is the one or the other. */
	{ GROW | START, false, { SYS_prlimit64, FIRST | SECOND | THIRD, { 0, RLIMIT_FSIZE, 0 } } },
	{ GROW | START | PROFILE, false, { SYS_fstat, 0, { 0 } } },
	{ GROW | TRUNCATE | REMOVE | START | PROFILE, false, { SYS_newfstatat, 0, { 0 } } },
	{ GROW | START, false, { SYS_pwrite64, 0, { 0 } } },
	{ TRUNCATE | START, false, { SYS_truncate, 0, { 0 } } },
	{ TRUNCATE | START, false, { SYS_madvise, 0, { 0 } } },
	{ REMOVE | START | PROFILE, false, { SYS_unlink, 0, { 0 } } },
	{ START, false, { SYS_prlimit64, FIRST | SECOND | THIRD, { 0, RLIMIT_NOFILE, 0 } } },
	{ START, false, { SYS_prlimit64, FIRST | SECOND | THIRD, { 0, RLIMIT_AS, 0 } } },
	{ START, false, { SYS_prlimit64, FIRST | SECOND | THIRD, { 0, RLIMIT_DATA, 0 } } },
	{ START, false, { SYS_mmap, FIRST, { 0 } } },
	{ START, false, { SYS_fcntl, 0, { 0 } } },
	/* modules.c */
	{ NAMES, true, { SYS_readlink, 0, { 0 } } },
	{ NAMES, true, { SYS_getcwd, 0, { 0 } } },
	/* exit_writer.c and what it uses of proto/; image.c */
	{ START | PROFILE, false, { SYS_openat, 0, { 0 } } },
	{ START | PROFILE, false, { SYS_read, 0, { 0 } } },
	{ START | PROFILE, false, { SYS_close, 0, { 0 } } },
	{ START | PROFILE, false, { SYS_clock_gettime, FIRST, { CLOCK_REALTIME } } }, /* no vDSO */
	{ START, false, { SYS_clock_gettime, 0, { 0 } } },
	{ PROFILE, false, { SYS_pread64, 0, { 0 } } },
	{ PROFILE, false, { SYS_write, 0, { 0 } } },
	{ START | PROFILE, true, { SYS_fchmod, 0, { 0 } } },
	{ PROFILE, true, { SYS_renameat2, 0, { 0 } } },
	{ PROFILE, false, { SYS_link, 0, { 0 } } },
	{ PROFILE, false, { SYS_rename, 0, { 0 } } },
	{ PROFILE, false, { SYS_prlimit64, FIRST | SECOND | THIRD, { 0, RLIMIT_FSIZE, 0 } } },
	{ PROFILE, true, { SYS_prctl, FIRST | SECOND, { PR_SET_VMA, PR_SET_VMA_ANON_NAME } } },
};

enum { NEEDS = sizeof(needs) / sizeof(needs[0]) };

static bool is_met(const struct need *need, enum hm_bpf_verdict verdict)
{
	return verdict == HM_BPF_ALLOWS || (verdict == HM_BPF_FAILS && need->may_fail);
}

uint32_t hm_sandbox_foresee_strict(void)
{
	/* Of the four calls that it leaves, one ability can be made. */
	return all_abilities & ~(uint32_t)SAY;
}

/* Every word of it, a page at a time. */
static bool is_readable(const void *start, size_t size_bytes)
{
	enum { PAGE_BYTES = 4096, WORD_BYTES = 8 };
	const char *const first = start;

	for (size_t offset = 0; offset + WORD_BYTES < size_bytes; offset += PAGE_BYTES)
		if (!hm_memory_is_readable(first + offset))
			return false;
	return hm_memory_is_readable(first + size_bytes - WORD_BYTES);
}

uint32_t hm_sandbox_foresee(const void *program)
{
	const struct sock_fprog *const description = program;
	uint32_t forbidden = 0;

	/* An earlier filter does not let us ask whether there is anything to read at that address. */
	if (!hm_may(HM_MAY_ASK_READABLE))
		return all_abilities;
	if (!is_readable(description, sizeof(*description)) || description->len == 0 ||
	    description->len > BPF_MAXINSNS ||
	    !is_readable(description->filter, description->len * sizeof(struct sock_filter)))
		return 0;
	for (size_t index = 0; index < NEEDS; index++)
		if (!is_met(&needs[index],
			    hm_bpf_ask(description->filter, description->len, &needs[index].call)))
			forbidden |= needs[index].abilities;
	return forbidden;
}

void hm_sandbox_begin(uint32_t forbidden)
{
	const uint64_t one_attempt = UINT64_C(1) << HM_SANDBOX_ATTEMPTS_SHIFT;
	uint64_t state = atomic_load_explicit(&hm_sandbox, memory_order_relaxed);

	/* relaxed, here and below: see hm_may */
	while (!atomic_compare_exchange_weak_explicit(
		&hm_sandbox, &state, (state + one_attempt) | (uint64_t)forbidden << HM_SANDBOX_PENDING_SHIFT,
		memory_order_relaxed, memory_order_relaxed))
		;
}

void hm_sandbox_end(uint32_t forbidden, bool was_installed)
{
	const uint64_t one_attempt = UINT64_C(1) << HM_SANDBOX_ATTEMPTS_SHIFT;
	const uint64_t pending = (uint64_t)all_abilities << HM_SANDBOX_PENDING_SHIFT;
	uint64_t state = atomic_load_explicit(&hm_sandbox, memory_order_relaxed);
	uint64_t next;

	do {
		next = (state - one_attempt) | (was_installed ? forbidden : 0);
		/* What is pending goes with the last attempt: until then it may be another's. */
		if (next < one_attempt)
			next &= ~pending;
	} while (!atomic_compare_exchange_weak_explicit(&hm_sandbox, &state, next, memory_order_relaxed,
							memory_order_relaxed));
}

void hm_sandbox_yield(void)
{
	if (hm_may(HM_MAY_YIELD))
		(void)sched_yield(); /* cannot fail */
	else
		__builtin_ia32_pause();
}
