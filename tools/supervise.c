// SPDX-License-Identifier: Apache-2.0
#include "tools/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_SECOND = 1000000000 };

struct supervision {
	pid_t child;
	int signals; /* signalfd; owned */
	sigset_t mask_before;
	struct sigaction child_action_before;
	bool ended;
	int status;
};

uint64_t hm_supervise_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static int take_signals(struct supervision *supervision)
{
	/* An ignored SIGCHLD (a parent's `trap '' CHLD`) would make the kernel reap the child before we can.
	 */
	const struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t all;

	(void)sigaction(SIGCHLD, &plain, &supervision->child_action_before);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGSEGV); /* our own faults */
	(void)sigdelset(&all, SIGBUS);
	(void)sigdelset(&all, SIGILL);
	(void)sigdelset(&all, SIGFPE);
	(void)sigdelset(&all, SIGABRT);
	(void)sigprocmask(SIG_BLOCK, &all, &supervision->mask_before);
	supervision->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return supervision->signals >= 0 ? 0 : -errno;
}

/* In the child: becomes the command, or tells the parent why not. */
static void become(const struct supervision *supervision, char *const *argv, int report)
{
	(void)sigaction(SIGCHLD, &supervision->child_action_before, NULL);
	(void)sigprocmask(SIG_SETMASK, &supervision->mask_before, NULL);
	(void)execvp(argv[0], argv);

	const int error = errno;

	(void)!write(report, &error, sizeof(error));
	_exit(127);
}

/* The pipe closes without a word when exec succeeds. */
static int start(struct supervision *supervision, char *const *argv)
{
	int report[2];
	int error = 0;

	if (pipe2(report, O_CLOEXEC) != 0)
		return -errno;
	supervision->child = fork();
	if (supervision->child == 0)
		become(supervision, argv, report[1]);
	if (supervision->child < 0)
		error = errno;
	(void)close(report[1]);
	if (error == 0) {
		ssize_t size = 0;

		do
			size = read(report[0], &error, sizeof(error));
		while (size < 0 && errno == EINTR);
		if (error != 0)
			(void)waitpid(supervision->child, NULL, 0);
	}
	(void)close(report[0]);
	return -error;
}

static bool has_terminal(void)
{
	const int descriptor = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (descriptor >= 0)
		(void)close(descriptor);
	return descriptor >= 0;
}

/*
 * The shell waits for us, so it learns that its job stopped when we do.  Only where a terminal's shell is
 * there to continue us: SIGSTOP from elsewhere is the child's own business.
 */
static void stop_with_child(int stop_signal)
{
	if ((stop_signal == SIGTSTP || stop_signal == SIGTTIN || stop_signal == SIGTTOU) && has_terminal())
		(void)kill(getpid(), SIGSTOP);
}

static void reap(struct supervision *supervision)
{
	int status = 0;

	while (!supervision->ended && waitpid(supervision->child, &status, WNOHANG | WUNTRACED) > 0) {
		if (WIFSTOPPED(status)) {
			stop_with_child(WSTOPSIG(status));
		} else {
			supervision->ended = true;
			supervision->status = status;
		}
	}
}

/*
 * Passes on what was meant for the command.  Not what the kernel sent (SI_KERNEL is positive): it went to the
 * whole process group, the command included, but for the hangup of a session that we lead, which is ours
 * alone. Not what the command sent itself: to its process group, where it has seen to itself.
 */
static void forward(const struct supervision *supervision, const struct signalfd_siginfo *info)
{
	const int number = (int)info->ssi_signo;
	const bool from_somebody = info->ssi_code <= 0 && (pid_t)info->ssi_pid != supervision->child;
	const bool session_ends = number == SIGHUP && info->ssi_code == SI_KERNEL && getsid(0) == getpid();

	if (from_somebody || session_ends)
		(void)kill(supervision->child, number);
}

static void handle_signals(struct supervision *supervision)
{
	struct signalfd_siginfo info;

	while (read(supervision->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(supervision);
		else if (!supervision->ended)
			forward(supervision, &info);
	}
}

static void wait_until(const struct supervision *supervision, uint64_t deadline_ns)
{
	const uint64_t now_ns = hm_supervise_now();
	const uint64_t rest_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	const struct timespec rest = {
		.tv_sec = (time_t)(rest_ns / NS_PER_SECOND),
		.tv_nsec = (long)(rest_ns % NS_PER_SECOND),
	};
	struct pollfd signals = { .fd = supervision->signals, .events = POLLIN };

	(void)ppoll(&signals, 1, &rest, NULL);
}

int hm_supervise(char *const *argv, hm_supervise_tick *tick, void *context, int *ret_status)
{
	struct supervision supervision = { 0 };
	uint64_t deadline_ns = 0;
	int error = take_signals(&supervision);

	if (error == 0)
		error = start(&supervision, argv);
	if (error != 0)
		return error;
	while (!supervision.ended) {
		const uint64_t now_ns = hm_supervise_now();

		if (now_ns >= deadline_ns)
			deadline_ns = tick(context, now_ns);
		wait_until(&supervision, deadline_ns);
		handle_signals(&supervision);
	}
	(void)close(supervision.signals);
	*ret_status = supervision.status;
	return 0;
}
