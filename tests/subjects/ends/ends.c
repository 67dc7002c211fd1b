// SPDX-License-Identifier: Apache-2.0
/* ends MODE: allocates, tells the truth, and ends one way or another. */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

TRUTH(end_kept)
static SITE struct block end_kept(size_t size)
{
	return truth_allocated(&truth_of_end_kept, malloc(size), size);
}

TRUTH(end_freed)
static SITE struct block end_freed(size_t size)
{
	return truth_allocated(&truth_of_end_freed, malloc(size), size);
}

TRUTH(end_by_thread)
static SITE struct block end_by_thread(size_t size)
{
	return truth_allocated(&truth_of_end_by_thread, calloc(1, size), size);
}

TRUTH(second_image)
static SITE struct block second_image(size_t size)
{
	return truth_allocated(&truth_of_second_image, malloc(size), size);
}

static void *allocate_in_thread(void *unused)
{
	(void)unused;
	for (size_t size = 1; size < 2000; size += 10) {
		struct block block = end_by_thread(size);

		if (size % 3 == 0)
			truth_free(&block);
	}
	return NULL;
}

static void allocate(void)
{
	pthread_t thread;

	for (size_t size = 0; size < 100; size++) {
		struct block block = end_freed(size * size);

		(void)end_kept(size * 10);
		truth_free(&block);
	}
	if (pthread_create(&thread, NULL, allocate_in_thread, NULL) != 0 || pthread_join(thread, NULL) != 0)
		abort();
}

static void *exit_in_thread(void *unused)
{
	(void)unused;
	exit(7);
}

static void *wait_a_little(void *unused)
{
	(void)unused;
	(void)usleep(10000);
	return NULL;
}

/* The process goes on without its first thread, and ends with its last. */
static void end_main_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, wait_a_little, NULL) != 0)
		abort();
	pthread_exit(NULL);
}

static void end_from_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, exit_in_thread, NULL) != 0)
		abort();
	for (;;)
		(void)pause();
}

static void execute(const char *program, const char *argument)
{
	char *const arguments[] = { strdup(program), strdup(argument), NULL };

	(void)execv(program, arguments);
	abort();
}

/* By a descriptor: the kernel then calls the program /dev/fd/N. */
static void execute_descriptor(const char *program)
{
	char *const arguments[] = { strdup(program), strdup("second"), NULL };

	(void)fexecve(open(program, O_RDONLY), arguments, environ);
	abort();
}

/* The thread's process goes on as the new image, under the number of the first thread. */
static void *execute_in_thread(void *self)
{
	execute(self, "second");
	return NULL;
}

static void execute_from_thread(char *self)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, execute_in_thread, self) != 0)
		abort();
	for (;;)
		(void)pause();
}

/* The child executes before it has allocated anything, and after; the parent goes on. */
static void execute_after_fork(const char *self)
{
	for (int number = 0; number < 2; number++) {
		const pid_t pid = fork();
		int status;

		if (pid == 0) {
			truth_begin_anew();
			if (number == 1)
				(void)end_kept(4321);
			truth_print();
			execute(self, "second");
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		say("a child ended with %d", status);
	}
	exit(7);
}

/* A program that is not there: the process goes on as if nothing had been. */
static void execute_in_vain(void)
{
	static char *const arguments[] = { NULL };
	const int result = execv("/nowhere/to/be/found", arguments);

	say("exec failed: %d %d", result, errno);
	(void)end_kept(999);
	say("truth %d end_kept 1 999 1 999", (int)getpid());
	exit(7);
}

static volatile int *volatile no_address;

static void end_by_signal(const char *mode)
{
	if (strcmp(mode, "abort") == 0)
		abort();
	if (strcmp(mode, "fault") == 0)
		*no_address = 1;
	if (strcmp(mode, "SIGTERM") == 0)
		(void)raise(SIGTERM);
	if (strcmp(mode, "SIGKILL") == 0)
		(void)raise(SIGKILL);
}

static void end_by_exec(char *self, const char *mode)
{
	if (strcmp(mode, "exec_self") == 0)
		execute(self, "second");
	if (strcmp(mode, "exec_other") == 0)
		execute("/bin/true", "");
	if (strcmp(mode, "fexecve") == 0)
		execute_descriptor(self);
	if (strcmp(mode, "exec_from_thread") == 0)
		execute_from_thread(self);
	if (strcmp(mode, "exec_after_fork") == 0)
		execute_after_fork(self);
	if (strcmp(mode, "exec_in_vain") == 0)
		execute_in_vain();
}

static void end(char *self, const char *mode)
{
	if (strcmp(mode, "exit") == 0)
		exit(7);
	if (strcmp(mode, "_exit") == 0)
		_exit(7);
	if (strcmp(mode, "_Exit") == 0)
		_Exit(7);
	if (strcmp(mode, "quick_exit") == 0)
		quick_exit(7);
	if (strcmp(mode, "exit_from_thread") == 0)
		end_from_thread();
	if (strcmp(mode, "end_of_main_thread") == 0)
		end_main_thread();
	end_by_signal(mode);
	end_by_exec(self, mode);
}

int main(int argc, char **argv)
{
	const char *const mode = argc > 1 ? argv[1] : "return";

	if (strcmp(mode, "second") == 0) {
		for (size_t size = 1; size < 50; size++)
			(void)second_image(size);
		/* Only of this site: the first image has told of the others. */
		say("truth %d second_image 49 1225 49 1225", (int)getpid());
		return 7;
	}
	allocate();
	truth_print();
	end(argv[0], mode);
	return 7;
}
