// SPDX-License-Identifier: Apache-2.0
#include "tools/isolated.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10, MS_PER_SECOND = 1000 };

/* Signals whose default is a message or a core file: a crash of the child is ours to tell, in one line. */
static const int crash_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU, SIGXFSZ, SIGPIPE };

static void set_limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) != 0 || limit.rlim_max <= value)
		return; /* it is lower already */
	limit = (struct rlimit){ .rlim_cur = value, .rlim_max = value };
	(void)setrlimit(resource, &limit);
}

/* What RLIMIT_DATA counts: private memory that can be written to. */
static uint64_t data_bytes_now(void)
{
	unsigned long long pages[6] = { 0 };
	FILE *const stream = fopen("/proc/self/statm", "re");

	if (stream == NULL)
		return 0;
	const int count = fscanf(stream, "%llu %llu %llu %llu %llu %llu", &pages[0], &pages[1], &pages[2],
				 &pages[3], &pages[4], &pages[5]);
	(void)fclose(stream);
	return count == 6 ? pages[5] * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* The tool's own handlers and limits are not for the child; it ends with the tool, however that ends. */
static void become_isolated(const struct hm_isolated_limits *limits, pid_t parent)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
		(void)signal(crash_signals[i], SIG_DFL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0); /* it went before we had asked */
	if (null >= 0) {
		/* Libraries write complaints; and what they read must not be the user's. */
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
	}
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_CPU, limits->cpu_seconds);
	set_limit(RLIMIT_DATA, data_bytes_now() + limits->memory_bytes);
}

static enum hm_isolated_end listen_to(const struct hm_isolated_work *work, int descriptor,
				      uint32_t silence_seconds)
{
	static char piece[PIECE_BYTES];
	struct pollfd source = { .fd = descriptor, .events = POLLIN };

	for (;;) {
		const int ready = poll(&source, 1, (int)(silence_seconds * MS_PER_SECOND));

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return HM_ISOLATED_TOO_LONG;

		const ssize_t size = read(descriptor, piece, sizeof(piece));

		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0)
			return HM_ISOLATED_DONE;
		if (work->take(work->context, piece, (size_t)size) != 0)
			return HM_ISOLATED_STOPPED;
	}
}

static enum hm_isolated_end reap(pid_t child, enum hm_isolated_end end, uint32_t cpu_seconds)
{
	struct rusage usage;
	int status = 0;

	if (end != HM_ISOLATED_DONE)
		(void)kill(child, SIGKILL);
	while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR)
		;
	if (end != HM_ISOLATED_DONE || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return end;
	/* The hard limit of processor time kills. */
	const bool was_slow = WIFSIGNALED(status) &&
			      (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL) &&
			      (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + 1 >= (time_t)cpu_seconds);
	return was_slow ? HM_ISOLATED_TOO_LONG : HM_ISOLATED_CRASHED;
}

enum hm_isolated_end hm_isolated_run(const struct hm_isolated_work *work,
				     const struct hm_isolated_limits *limits)
{
	const pid_t parent = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return HM_ISOLATED_NO_CHILD;
	(void)fflush(NULL); /* else what is buffered could be written twice */

	const pid_t child = fork();

	if (child == 0) {
		(void)close(ends[0]);
		become_isolated(limits, parent);
		work->run(work->context, ends[1]);
		_exit(0);
	}
	(void)close(ends[1]);

	enum hm_isolated_end end = HM_ISOLATED_NO_CHILD;

	if (child > 0)
		end = reap(child, listen_to(work, ends[0], limits->silence_seconds), limits->cpu_seconds);
	(void)close(ends[0]);
	return end;
}
