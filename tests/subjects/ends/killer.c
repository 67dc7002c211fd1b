// SPDX-License-Identifier: Apache-2.0
/*
 * killer MODE LIBRARY DIRECTORY PROGRAM ARGUMENT: starts `counted` under the library, kills it, and holds the
 * ledger that is left against what the process had counted.
 *	random COUNT   so many times.  Every other run is killed at some instant after its start, before which
 *	               it may have done nothing at all; the others after they have begun.
 *	cgroup PATH    once, hungry, in a memory cgroup with a limit: the kernel kills it
 *	resident MIB   once, hungry: killed when it has so much resident memory
 *
 * Every hundredth ledger stays, for the tools, with a line "left FILE LOWEST HIGHEST ..." that says what must
 * be in it.  The last line says how many ledgers there were of which kind.
 */
#include "tests/subjects/ends/counts.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum {
	FROM_START_NS = 6000000, /* about the time that it takes to get to main */
	FROM_FIRST_NS = 2000000, /* a few thousand allocations */
	EACH_LEFT = 100,
	FAILURES_MAX = 10,
};

struct kinds {
	long absent;
	long not_ready;
	long without_figures;
	long with_figures;
	long failed;
};

/* A linear congruential generator (Knuth's MMIX): the same instants, as far as that goes, in every run. */
static long random_below(long limit)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (long)((state >> 33) * (uint64_t)limit >> 31);
}

static void wait_ns(long nanoseconds)
{
	const struct timespec time = { .tv_nsec = nanoseconds };

	(void)nanosleep(&time, NULL);
}

struct victim {
	const char *library;
	const char *directory;
	char *program;
	char page_path[4096];
	struct counts_page *page;
};

static pid_t start(struct victim *victim, const char *cgroup)
{
	char hungry[] = "hungry";
	char *const arguments[] = { victim->program, victim->page_path, cgroup != NULL ? hungry : NULL,
				    NULL };
	pid_t pid;

	memset(victim->page, 0, sizeof(*victim->page));
	pid = fork();
	if (pid != 0)
		return pid;
	if (cgroup != NULL && cgroup[0] != '\0') {
		const int descriptor = open(cgroup, O_WRONLY | O_CLOEXEC);

		if (write(descriptor, "0", 1) != 1) /* itself */
			_exit(126);
	}
	(void)setenv("LD_PRELOAD", victim->library, 1);
	(void)setenv("HEAPMARK_DIR", victim->directory, 1);
	(void)setenv("HEAPMARK_RATE", "1", 1);
	(void)execv(victim->program, arguments);
	_exit(127);
}

/* Under another name: the pid may come again. */
static void leave(const char *directory, const char *path, pid_t pid, const struct bounds *bounds)
{
	char left_name[64];
	char left_path[4096];

	(void)snprintf(left_name, sizeof(left_name), "left.%d.ledger", (int)pid);
	(void)snprintf(left_path, sizeof(left_path), "%s/%s", directory, left_name);
	if (rename(path, left_path) == 0)
		counts_say_left(left_name, bounds);
}

/* Returns whether all is as it should be. */
static bool look(const char *directory, pid_t pid, const struct counts_page *page, bool stays,
		 struct kinds *kinds)
{
	char name[64];
	char path[4096];
	const struct bounds bounds = counts_bounds(page);
	struct reading reading;

	(void)snprintf(name, sizeof(name), "heapmark.counted.%d.ledger", (int)pid);
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	reading = reading_of_file(path, page->site_start, page->site_end);
	if (reading.error == -ENOENT)
		kinds->absent++;
	else if (reading.error == -EAGAIN)
		kinds->not_ready++;
	else if (reading.error != 0)
		say("%s: fault %d", name, (int)reading.fault);
	else if (reading.alloc_objects == 0)
		kinds->without_figures++;
	else
		kinds->with_figures++;
	if (stays && reading.error == 0)
		leave(directory, path, pid, &bounds);
	else
		(void)unlink(path);
	return (reading.error == 0 || reading.error == -ENOENT || reading.error == -EAGAIN) &&
	       counts_fit(name, &reading, &bounds);
}

/* Waits for its end, which is to be SIGKILL, and looks at what is left. */
static void bury(const struct victim *victim, pid_t pid, bool stays, struct kinds *kinds)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		say("%d: ended otherwise: %x", (int)pid, (unsigned int)status);
		kinds->failed++;
	} else if (!look(victim->directory, pid, victim->page, stays, kinds)) {
		kinds->failed++;
	}
}

static bool has_begun(const struct victim *victim)
{
	return __atomic_load_n(&victim->page->threads[0].alloc_done.objects, __ATOMIC_SEQ_CST) != 0;
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

static void kill_at_random(struct victim *victim, long count, struct kinds *kinds)
{
	for (long number = 0; number < count && kinds->failed < FAILURES_MAX; number++) {
		const bool has_to_begin = number % 2 == 0;
		const pid_t pid = start(victim, NULL);

		while (has_to_begin && !has_begun(victim) && !has_ended(pid))
			(void)sched_yield();
		wait_ns(random_below(has_to_begin ? FROM_FIRST_NS : FROM_START_NS));
		(void)kill(pid, SIGKILL);
		bury(victim, pid, number % EACH_LEFT == 0, kinds);
	}
}

static long resident_mib(pid_t pid)
{
	char path[64];
	char text[128] = "";
	char *end;
	int descriptor;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0 || read(descriptor, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	(void)close(descriptor);
	(void)strtol(text, &end, 10); /* its size, and then what is resident, in pages */
	return strtol(end, NULL, 10) / 256;
}

static void kill_large(struct victim *victim, long limit_mib, struct kinds *kinds)
{
	const pid_t pid = start(victim, "");

	while (!has_ended(pid) && resident_mib(pid) < limit_mib)
		(void)sched_yield();
	(void)kill(pid, SIGKILL);
	bury(victim, pid, true, kinds);
}

int main(int argc, char **argv)
{
	static struct victim victim;
	struct kinds kinds = { 0 };

	if (argc != 6)
		return 2;
	victim = (struct victim){ .library = argv[2], .directory = argv[3], .program = argv[4] };
	(void)snprintf(victim.page_path, sizeof(victim.page_path), "%s.counts", argv[3]);
	victim.page = counts_map(victim.page_path, O_CREAT | O_TRUNC);
	if (victim.page == NULL)
		return 2;
	if (strcmp(argv[1], "random") == 0)
		kill_at_random(&victim, strtol(argv[5], NULL, 10), &kinds);
	else if (strcmp(argv[1], "cgroup") == 0)
		bury(&victim, start(&victim, argv[5]), true, &kinds);
	else
		kill_large(&victim, strtol(argv[5], NULL, 10), &kinds);
	say("kinds %ld %ld %ld %ld", kinds.absent, kinds.not_ready, kinds.without_figures,
	    kinds.with_figures);
	return kinds.failed == 0 ? 0 : 1;
}
