// SPDX-License-Identifier: Apache-2.0
#include "tools/thread_stop.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROC_PATH_MAX = 96, PAGE_BYTES = 4096, STOP_TRIES_MAX = 400, STOP_PAUSE_NS = 50000 };

/* What the kernel does with a call that a stop without a signal has interrupted. */
enum going_on {
	GOES_ON,           /* it is taken up again (ERESTARTSYS, ERESTARTNOHAND, ERESTART_RESTARTBLOCK) */
	GOES_ON_NO_SOCKET, /* the same, unless it is about a socket that has a timeout */
	RETURNS,           /* with EINTR */
};

static const struct {
	int64_t number;
	const char *name;
	enum going_on going_on;
} calls[] = {
	{ SYS_futex, "futex", GOES_ON },
	{ SYS_nanosleep, "nanosleep", GOES_ON },
	{ SYS_clock_nanosleep, "clock_nanosleep", GOES_ON },
	{ SYS_restart_syscall, NULL, GOES_ON }, /* which call it was is not told */
	{ SYS_poll, "poll", GOES_ON },
	{ SYS_ppoll, "ppoll", GOES_ON },
	{ SYS_select, "select", GOES_ON },
	{ SYS_pselect6, "pselect6", GOES_ON },
	{ SYS_wait4, "wait4", GOES_ON },
	{ SYS_waitid, "waitid", GOES_ON },
	{ SYS_pause, "pause", GOES_ON },
	{ SYS_rt_sigsuspend, "rt_sigsuspend", GOES_ON },
	{ SYS_flock, "flock", GOES_ON },
	{ SYS_read, "read", GOES_ON_NO_SOCKET },
	{ SYS_readv, "readv", GOES_ON_NO_SOCKET },
	{ SYS_write, "write", GOES_ON_NO_SOCKET },
	{ SYS_writev, "writev", GOES_ON_NO_SOCKET },
	{ SYS_epoll_wait, "epoll_wait", RETURNS },
	{ SYS_epoll_pwait, "epoll_pwait", RETURNS },
	{ SYS_accept, "accept", RETURNS },
	{ SYS_accept4, "accept4", RETURNS },
	{ SYS_connect, "connect", RETURNS },
	{ SYS_recvfrom, "recvfrom", RETURNS },
	{ SYS_recvmsg, "recvmsg", RETURNS },
	{ SYS_sendto, "sendto", RETURNS },
	{ SYS_sendmsg, "sendmsg", RETURNS },
	{ SYS_rt_sigtimedwait, "rt_sigtimedwait", RETURNS },
	{ SYS_semop, "semop", RETURNS },
	{ SYS_semtimedop, "semtimedop", RETURNS },
	{ SYS_msgrcv, "msgrcv", RETURNS },
	{ SYS_msgsnd, "msgsnd", RETURNS },
	{ SYS_io_getevents, "io_getevents", RETURNS },
	{ SYS_io_uring_enter, "io_uring_enter", RETURNS },
};

enum { CALL_COUNT = sizeof(calls) / sizeof(calls[0]) };

const char *hm_thread_call_name(int64_t number)
{
	for (size_t i = 0; i < CALL_COUNT; i++)
		if (calls[i].number == number)
			return calls[i].name;
	return NULL;
}

int hm_thread_read_call(pid_t pid, pid_t thread, struct hm_thread_call *ret_call)
{
	char path[PROC_PATH_MAX];
	char line[256];
	struct hm_thread_call call = { .number = -1 };
	int count = 0;
	int error = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, (int)thread);
	FILE *const stream = fopen(path, "re");

	if (stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	errno = 0;
	if (fgets(line, sizeof(line), stream) == NULL)
		error = errno != 0 ? -errno : -ESRCH;
	(void)fclose(stream);
	if (error != 0)
		return error;
	call.is_known = true;
	/* "running"; "NUMBER six arguments SP PC"; "-1 SP PC" */
	call.is_running = strncmp(line, "running", strlen("running")) == 0;
	if (!call.is_running) {
		count = sscanf(line, "%" SCNd64 " %" SCNx64 " %*x %*x %*x %*x %*x %" SCNx64 " %" SCNx64,
			       &call.number, &call.first, &call.stack_pointer, &call.instruction);
		if (count == 2 || call.number == -1)
			count = sscanf(line, "%" SCNd64 " %" SCNx64 " %" SCNx64, &call.number,
				       &call.stack_pointer, &call.instruction) +
				1;
		if (count != 4)
			return -EBADMSG;
	}
	*ret_call = call;
	return 0;
}

uint64_t hm_thread_read_memory(pid_t pid, uint64_t address, void *ret_bytes, uint64_t size_bytes)
{
	uint64_t done = 0;

	/* Up to the end of each page in a piece of its own: a call does a piece whole or not at all. */
	while (done < size_bytes) {
		enum { PIECES = 32 };
		struct iovec pieces[PIECES];
		struct iovec to = { .iov_base = (uint8_t *)ret_bytes + done, .iov_len = size_bytes - done };
		uint64_t next = address + done;
		size_t count = 0;

		for (; count < PIECES && next < address + size_bytes; count++) {
			const uint64_t page_end = (next / PAGE_BYTES + 1) * PAGE_BYTES;
			const uint64_t end =
				page_end < address + size_bytes ? page_end : address + size_bytes;

			pieces[count].iov_base = (void *)(uintptr_t)next;
			pieces[count].iov_len = end - next;
			next = end;
		}

		const ssize_t size = process_vm_readv(pid, &to, 1, pieces, count, 0);

		if (size <= 0)
			break;
		done += (uint64_t)size;
		if ((uint64_t)size < next - (address + done - (uint64_t)size))
			break;
	}
	return done;
}

static void copy_stack(pid_t pid, struct hm_thread_copy *copy)
{
	copy->stack_bytes =
		(uint32_t)hm_thread_read_memory(pid, copy->registers.rsp, copy->stack, sizeof(copy->stack));
}

static int wait_for_stop(pid_t thread)
{
	const struct timespec pause = { .tv_nsec = STOP_PAUSE_NS };

	for (int tries = 0; tries < STOP_TRIES_MAX; tries++) {
		int status = 0;
		const pid_t found = waitpid(thread, &status, __WALL | WNOHANG);

		if (found < 0)
			return -errno;
		if (found == thread && !WIFSTOPPED(status))
			return -ESRCH;
		if (found == thread && status >> 16 == PTRACE_EVENT_STOP)
			return 0;
		if (found == thread) /* a signal of its own: it gets it, and stops for us after that */
			(void)ptrace(PTRACE_CONT, thread, NULL, (void *)(uintptr_t)WSTOPSIG(status));
		else
			(void)nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

static int copy_registers(pid_t thread, struct hm_thread_registers *ret_registers)
{
	struct user_regs_struct all;

	if (ptrace(PTRACE_GETREGS, thread, NULL, &all) != 0)
		return -errno;
	*ret_registers = (struct hm_thread_registers){
		.rip = all.rip,
		.rsp = all.rsp,
		.rbp = all.rbp,
		.rbx = all.rbx,
		.r12 = all.r12,
		.r13 = all.r13,
		.r14 = all.r14,
		.r15 = all.r15,
		.fs_base = all.fs_base,
	};
	return 0;
}

static int copy_stopped(pid_t pid, pid_t thread, struct hm_thread_copy *ret_copy)
{
	if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0)
		return -errno;

	int error = ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) == 0 ? 0 : -errno;

	if (error == 0)
		error = wait_for_stop(thread);
	if (error == 0)
		error = copy_registers(thread, &ret_copy->registers);
	if (error == 0)
		copy_stack(pid, ret_copy);
	/* Where it has not stopped this fails, and our end lets it go. */
	(void)ptrace(PTRACE_DETACH, thread, NULL, NULL);
	ret_copy->is_whole = true;
	return error;
}

/* Without stopping it: it sleeps, and is still where it was when all is copied. */
static int copy_asleep(pid_t pid, pid_t thread, const struct hm_thread_call *call,
		       struct hm_thread_copy *ret_copy)
{
	struct hm_thread_call again = { 0 };

	ret_copy->registers = (struct hm_thread_registers){
		.rip = call->instruction,
		.rsp = call->stack_pointer,
	};
	ret_copy->is_whole = false;
	copy_stack(pid, ret_copy);

	const int error = hm_thread_read_call(pid, thread, &again);

	if (error != 0)
		return error;
	return again.stack_pointer == call->stack_pointer && again.instruction == call->instruction ? 0
												    : -EAGAIN;
}

static bool is_socket(pid_t pid, uint64_t descriptor)
{
	char path[PROC_PATH_MAX];
	char target[64] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%" PRIu64, (int)pid, descriptor);
	/* What cannot be told may be one. */
	return readlink(path, target, sizeof(target) - 1) < 0 ||
	       strncmp(target, "socket:", strlen("socket:")) == 0;
}

static bool may_stop(pid_t pid, const struct hm_thread_call *call)
{
	if (call->is_running || call->number == -1)
		return true;
	for (size_t i = 0; i < CALL_COUNT; i++) {
		if (calls[i].number != call->number)
			continue;
		return calls[i].going_on == GOES_ON ||
		       (calls[i].going_on == GOES_ON_NO_SOCKET && !is_socket(pid, call->first));
	}
	return false;
}

int hm_thread_copy(pid_t pid, pid_t thread, struct hm_thread_copy *ret_copy)
{
	struct hm_thread_call call = { 0 };
	const int error = hm_thread_read_call(pid, thread, &call);

	if (error != 0)
		return error;
	return may_stop(pid, &call) ? copy_stopped(pid, thread, ret_copy)
				    : copy_asleep(pid, thread, &call, ret_copy);
}
