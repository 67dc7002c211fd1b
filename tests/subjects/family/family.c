// SPDX-License-Identifier: Apache-2.0
/* family MODE: processes that come to be in various ways; each tells the truth about itself alone. */
#include "tests/subjects/truth.h"

#include <fcntl.h>
#include <pthread.h>
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

/* clone with the parent's memory and a stack of its own, as posix_spawn does it. */
static int be_clone(void *unused)
{
	(void)unused;
	(void)allocate_in_vfork(1000);
	_exit(3);
}

static void run_clone_vm(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	wait_for(clone(be_clone, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
	(void)allocate_in_parent(12345);
}

static void run_popen(const char *self)
{
	char command[4096];
	char line[256];
	FILE *stream;

	(void)snprintf(command, sizeof(command), "'%s' leaf", self);
	stream = popen(command, "r"); // NOLINT(cert-env33-c)
	while (stream != NULL && fgets(line, sizeof(line), stream) != NULL)
		say("%.*s", (int)strcspn(line, "\n"), line);
	say("popen: %d", stream == NULL ? -1 : WEXITSTATUS(pclose(stream)));
}

/* As daemons are made: each process is the child of one that has left by _exit. */
static void run_daemon(void)
{
	truth_print();
	if (daemon(1, 1) != 0)
		abort();
	be_child(5);
	if (fork() != 0)
		_exit(0);
	be_child(6);
	exit(0);
}

static bool forks_in_handler;

static void allocate_before_fork(void)
{
	(void)allocate_in_parent(10);
}

/* A fork within a fork. */
static void allocate_after_fork(void)
{
	(void)allocate_in_parent(20);
	if (!forks_in_handler)
		return;
	forks_in_handler = false;

	const pid_t pid = fork();

	if (pid == 0) {
		truth_print();
		_exit(4);
	}
	wait_for(pid);
}

static void allocate_in_fork_child(void)
{
	truth_begin_anew();
	(void)allocate_in_child(30);
}

static void run_atfork(void)
{
	if (pthread_atfork(allocate_before_fork, allocate_after_fork, allocate_in_fork_child) != 0)
		abort();
	forks_in_handler = true;

	const pid_t pid = fork();

	if (pid == 0) {
		(void)allocate_in_child(40);
		truth_print();
		exit(3);
	}
	wait_for(pid);
}

/* Files that have the names of a process, as earlier ones with its number may have left them. */
static void take_names_of(int pid)
{
	static const char *const kinds[] = { ".pb.gz", ".ledger", "-2.pb.gz", "-2.ledger" };

	for (int index = pid % 2; index < 4; index += 2) {
		char path[4096];

		(void)snprintf(path, sizeof(path), "%s/heapmark.family.%d%s", getenv("HEAPMARK_DIR"), pid,
			       kinds[index]);

		const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (file < 0 || write(file, path, strlen(path)) != (ssize_t)strlen(path))
			abort();
		(void)close(file);
	}
}

static int pid_max(void)
{
	char text[32] = "";
	const int file = open("/proc/sys/kernel/pid_max", O_RDONLY | O_CLOEXEC);

	if (file < 0 || read(file, text, sizeof(text) - 1) < 0)
		abort();
	(void)close(file);
	return (int)strtol(text, NULL, 10);
}

/* Of the next processes. */
static void take_names(void)
{
	enum { NEXT = 200, FIRST_AGAIN = 300, AFTER_THAT = 2000 }; /* the kernel begins anew with 300 */

	for (int pid = getpid() + 1; pid <= getpid() + NEXT; pid++)
		take_names_of(pid);
	if (getpid() + NEXT < pid_max())
		return;
	for (int pid = FIRST_AGAIN; pid < FIRST_AGAIN + AFTER_THAT; pid++)
		take_names_of(pid);
}

static void run_names(void)
{
	if (getenv("HEAPMARK_DIR") != NULL && getenv("LD_PRELOAD") != NULL)
		take_names();
	for (size_t blocks = 1; blocks <= 4; blocks++) {
		const pid_t pid = fork();

		if (pid == 0) {
			be_child(blocks);
			if (blocks % 2 == 0)
				_exit(3);
			exit(3);
		}
		wait_for(pid);
	}
}

static void run_by_library(char *self, const char *mode)
{
	if (strcmp(mode, "spawn") == 0)
		run_spawn(self);
	else if (strcmp(mode, "system") == 0)
		run_system(self);
	else if (strcmp(mode, "popen") == 0)
		run_popen(self);
	else if (strcmp(mode, "daemon") == 0)
		run_daemon();
	else if (strcmp(mode, "atfork") == 0)
		run_atfork();
	else if (strcmp(mode, "names") == 0)
		run_names();
	else
		abort();
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
	else if (strcmp(mode, "clone_vm") == 0)
		run_clone_vm();
	else
		run_by_library(self, mode);
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
