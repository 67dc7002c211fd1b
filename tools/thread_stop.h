// SPDX-License-Identifier: Apache-2.0
/*
 * One thread of another process as it is at a moment: its registers and the inner part of its stack.
 *
 * A thread is stopped by ptrace for as long as two system calls take, and let go.  Two things a stop
 * could do to a program are avoided:
 *
 *   - A system call that a stop interrupts is taken up again by the kernel, but some are not: epoll_wait and
 *     a few others return EINTR, as they do after SIGSTOP and SIGCONT, and not every program expects that.  A
 *     thread that sleeps is stopped only in calls that are known to go on; of the others the place where they
 *     wait is taken from /proc, which says where the stack is but not what the other registers hold.  That
 *     may end the walk early.  A thread that runs is stopped; that it enters such a call in this very moment
 *     cannot be excluded.
 *   - A tracer that cannot let go, since the thread sleeps where nothing wakes it, would stop it whenever it
 *     does wake.  The kernel lets go of all when the tracer ends: so this is for a short-lived child
 *     (isolated.h).
 */
#ifndef HM_TOOLS_THREAD_STOP_H
#define HM_TOOLS_THREAD_STOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { HM_THREAD_STACK_BYTES = 64 << 10 };

struct hm_thread_registers {
	uint64_t rip;
	uint64_t rsp;
	uint64_t rbp;
	uint64_t rbx;
	uint64_t r12;
	uint64_t r13;
	uint64_t r14;
	uint64_t r15;
	uint64_t fs_base; /* where libc keeps what belongs to the thread: near the end of its stack */
};

struct hm_thread_copy {
	struct hm_thread_registers registers;
	bool is_whole;        /* all registers are known; else rip and rsp only */
	uint32_t stack_bytes; /* copied from rsp on */
	uint8_t stack[HM_THREAD_STACK_BYTES];
};

/* Where a thread waits, as /proc/TID/syscall says. */
struct hm_thread_call {
	bool is_known;   /* /proc tells */
	bool is_running; /* nowhere: it runs, or is about to */
	int64_t number;  /* of the system call; -1: in none (a page fault) */
	uint64_t first;  /* its first argument */
	uint64_t stack_pointer;
	uint64_t instruction;
};

/* Returns 0 or a negative errno: -EACCES or -EPERM where /proc does not let us. */
int hm_thread_read_call(pid_t pid, pid_t thread, struct hm_thread_call *ret_call);

/* The name of a system call in which threads wait; NULL for others. */
const char *hm_thread_call_name(int64_t number);

/*
 * Copies a thread.  Returns 0; -EPERM or -EACCES where it must not be looked at, or another process traces
 * it; -ESRCH where it has ended; -ETIMEDOUT where it did not stop; -EAGAIN where it moved on while it was
 * looked at.
 */
int hm_thread_copy(pid_t pid, pid_t thread, struct hm_thread_copy *ret_copy);

/* Reads the memory of a process; how much could be, from the start. */
uint64_t hm_thread_read_memory(pid_t pid, uint64_t address, void *ret_bytes, uint64_t size_bytes);

#endif
