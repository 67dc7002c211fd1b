// SPDX-License-Identifier: Apache-2.0
/* family MODE: processes that come to be in various ways; each tells the truth about itself alone. */
#include "tests/subjects/truth.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

TRUTH(allocate_in_parent)
static SITE struct block allocate_in_parent(size_t size)
{
	return truth_allocated(&truth_of_allocate_in_parent, malloc(size), size);
}

TRUTH(allocate_in_child)
static SITE struct block allocate_in_child(size_t size)
{
	return truth_allocated(&truth_of_allocate_in_child, malloc(size), size);
}

TRUTH(allocate_in_vfork)
static SITE struct block allocate_in_vfork(size_t size)
{
	return truth_allocated(&truth_of_allocate_in_vfork, malloc(size), size);
}

enum { INHERITED = 50 };
static struct block inherited[INHERITED];

static void be_parent(void)
{
	for (size_t index = 0; index < INHERITED; index++)
		inherited[index] = allocate_in_parent(index * 100);
}

/* What came from the parent is freed here, but belongs to the parent's profile. */
static void be_child(size_t blocks)
{
	truth_begin_anew();
	for (size_t index = 0; index < INHERITED; index += 2) {
		free(inherited[index].address);
		inherited[index].address = NULL;
	}
	for (size_t index = 0; index < blocks; index++) {
		struct block block = allocate_in_child(index * 30 + 1);

		if (index % 3 == 0)
			truth_free(&block);
	}
	truth_print();
}

static void wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	say("a child ended with %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void run_fork(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		be_child(7);
		exit(3);
	}
	wait_for(pid);
	pid = fork();
	if (pid == 0) {
		be_child(11);
		_exit(4);
	}
	wait_for(pid);
	pid = fork();
	if (pid == 0)
		_exit(5); /* allocates nothing: no file */
	wait_for(pid);
}

static void run_grandchild(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		be_child(20);
		pid = fork();
		if (pid == 0) {
			be_child(30);
			exit(6);
		}
		wait_for(pid);
		exit(3);
	}
	wait_for(pid);
}

/* Without the handlers of pthread_atfork. */
static void run_bare_fork(void)
{
	pid_t pid = _Fork();

	if (pid == 0) {
		be_child(7);
		_exit(3);
	}
	wait_for(pid);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	if (pid == 0) {
		be_child(9);
		_exit(4);
	}
	wait_for(pid);
}

/* A vfork child runs in its parent's memory: what it allocates is the parent's. */
static void run_vfork(void)
{
	pid_t pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork): what is tested

	if (pid == 0) {
		(void)allocate_in_vfork(1000); // NOLINT(clang-analyzer-unix.Vfork)
		_exit(3);
	}
	wait_for(pid);
	(void)allocate_in_parent(12345);
}

static void run_vfork_exec(char *self)
{
	char mode[] = "leaf";
	char *const arguments[] = { self, mode, NULL };
	const pid_t pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork): what is tested

	if (pid == 0) {
		(void)execv(self, arguments);
		_exit(9);
	}
	wait_for(pid);
	(void)allocate_in_parent(12345);
}

static void run_spawn(char *self)
{
	char mode[] = "leaf";
	char *const arguments[] = { self, mode, NULL };
	pid_t pid;

	if (posix_spawn(&pid, self, NULL, NULL, arguments, environ) != 0)
		abort();
	wait_for(pid);
}

static void run_system(const char *self)
{
	char command[4096];

	(void)snprintf(command, sizeof(command), "'%s' leaf; '%s' leaf; exit 6", self, self);
	say("system: %d", WEXITSTATUS(system(command))); // NOLINT(bugprone-command-processor)
}

static void run(char *self, const char *mode)
{
	if (strcmp(mode, "fork") == 0)
		run_fork();
	else if (strcmp(mode, "grandchild") == 0)
		run_grandchild();
	else if (strcmp(mode, "bare_fork") == 0)
		run_bare_fork();
	else if (strcmp(mode, "vfork") == 0)
		run_vfork();
	else if (strcmp(mode, "vfork_exec") == 0)
		run_vfork_exec(self);
	else if (strcmp(mode, "spawn") == 0)
		run_spawn(self);
	else if (strcmp(mode, "system") == 0)
		run_system(self);
	else
		abort();
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (strcmp(argv[1], "leaf") == 0) {
		for (size_t index = 0; index < 40; index++)
			(void)allocate_in_child(index);
		truth_print();
		return 8;
	}
	be_parent();
	run(argv[0], argv[1]);
	(void)allocate_in_parent(777);
	truth_print();
	return 0;
}
