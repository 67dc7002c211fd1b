// SPDX-License-Identifier: Apache-2.0
/*
 * numbers MODE: which numbers descriptors get, and how many there are.
 *	ways       a descriptor by each of the ways there are to get one
 *	daemon     what daemons do: look at each number by fcntl, and at /proc/self/fd
 *	dark OUT   started with 0, 1 and 2 closed: what is opened then gets these; OUT is standard output
 *	threads    10,000 threads come and go, and allocate
 *	plugins P  1,000 times a plug-in P is loaded, called and unloaded
 *	forks      1,000 children
 *	spawn      a child is spawned that gets nothing from 3 on
 */
#include "tests/subjects/truth.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

enum { NUMBERS = 1100, THREADS = 10000, FORKS = 1000, CHILDREN_THAT_ALLOCATE = 20, PLUGIN_ROUNDS = 1000 };

TRUTH(among_numbers)
static SITE struct block among_numbers(size_t size)
{
	return truth_allocated(&truth_of_among_numbers, malloc(size), size);
}

static void allocate_some(void)
{
	for (size_t size = 1; size < 50; size++) {
		struct block block = among_numbers(size);

		truth_free(&block);
	}
	(void)among_numbers(50);
}

static int count_open(void)
{
	int count = 0;

	for (int number = 0; number < NUMBERS; number++)
		count += fcntl(number, F_GETFD) >= 0;
	return count;
}

/* Passes `file` to ourselves; returns what number it gets. */
static int pass(int file)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS } };
	char byte = 'x';
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int ends[2];
	int passed = -1;

	memcpy(control.room + CMSG_LEN(0), &file, sizeof(file));
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 || sendmsg(ends[0], &message, 0) != 1 ||
	    recvmsg(ends[1], &message, 0) != 1)
		return -1;
	memcpy(&passed, control.room + CMSG_LEN(0), sizeof(passed));
	return passed;
}

static void list_ways(void)
{
	sigset_t none;
	int pair[2];

	sigemptyset(&none);
	allocate_some();
	say("open %d", open("/dev/null", O_RDONLY));
	say("openat %d", openat(AT_FDCWD, "file", O_RDWR | O_CREAT, 0600));
	say("dup %d", dup(1));
	say("F_DUPFD %d", fcntl(1, F_DUPFD, 3));
	say("F_DUPFD from 100 %d", fcntl(1, F_DUPFD, 100));
	say("dup2 %d", dup2(1, 42));
	allocate_some();
	say("socket %d", socket(AF_UNIX, SOCK_STREAM, 0));
	say("pipe %d: %d %d", pipe(pair), pair[0], pair[1]);
	say("epoll %d", epoll_create1(0));
	say("event %d", eventfd(0, 0));
	say("timer %d", timerfd_create(CLOCK_MONOTONIC, 0));
	say("signal %d", signalfd(-1, &none, 0));
	say("inotify %d", inotify_init1(0));
	say("memory %d", memfd_create("numbers", 0));
	allocate_some();
	say("passed %d", pass(1));

	DIR *const directory = opendir("."); /* allocates on its way, as does popen */
	FILE *const command = popen("true", "r");

	say("directory %d", dirfd(directory));
	say("command %d", fileno(command));
	say("its status %d", pclose(command));
	(void)closedir(directory);
	say("open %d", open("/dev/null", O_RDONLY));
}

/* What is not the program's: high, and closed by exec. */
static bool is_of_the_library(int number)
{
	char link[32];
	char target[1024];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", number);

	const ssize_t length = readlink(link, target, sizeof(target) - 1);

	if (length < 0)
		return false;
	target[length] = '\0';

	const char *const name = strrchr(target, '/');

	return name != NULL && strncmp(name, "/heapmark.", 10) == 0 && number >= 100 &&
	       fcntl(number, F_GETFD) == FD_CLOEXEC;
}

static void look_as_daemon(void)
{
	struct pollfd polled[NUMBERS];
	fd_set selected;
	struct timeval no_time = { 0, 0 };
	int of_the_library = 0;
	int invalid = 0;

	allocate_some();
	FD_ZERO(&selected);
	for (int number = 0; number < NUMBERS; number++) {
		polled[number] = (struct pollfd){ .fd = number, .events = POLLPRI };
		if (fcntl(number, F_GETFD) < 0)
			continue;
		if (is_of_the_library(number)) {
			of_the_library++;
			polled[number].fd = -1;
			continue;
		}
		FD_SET(number, &selected);
		say("%d is open, flags %d", number, fcntl(number, F_GETFD));
	}
	(void)poll(polled, NUMBERS, 0);
	for (int number = 0; number < NUMBERS; number++)
		invalid += polled[number].revents == POLLNVAL;
	say("%d or %d invalid ones", invalid + of_the_library, NUMBERS - 3);
	say("select: %d", select(FD_SETSIZE, NULL, NULL, &selected, &no_time));
	say("%s", of_the_library <= 1 ? "at most one of the library's" : "more than one of the library's");
	allocate_some();
}

static void look_in_the_dark(int output)
{
	const int standard_output = 1;

	allocate_some();

	const int first = open("/dev/null", O_RDONLY);
	const int second = open("/dev/null", O_RDONLY);
	const int third = open("/dev/null", O_RDONLY);

	allocate_some();
	if (dup2(output, standard_output) != standard_output)
		_exit(99);
	say("%d %d %d", first, second, third);
}

static void *allocate_in_thread(void *unused)
{
	allocate_some();
	return unused;
}

static void run_threads(void)
{
	enum { AT_ONCE = 10 };

	for (int number = 0; number < THREADS; number += AT_ONCE) {
		pthread_t threads[AT_ONCE];

		for (int index = 0; index < AT_ONCE; index++) {
			if (pthread_create(&threads[index], NULL, allocate_in_thread, NULL) != 0)
				abort();
		}
		for (int index = 0; index < AT_ONCE; index++)
			pthread_join(threads[index], NULL);
	}
}

static void run_plugins(const char *name)
{
	for (int round = 0; round < PLUGIN_ROUNDS; round++) {
		void *const plugin = dlopen(name, RTLD_NOW);
		void *(*allocate)(size_t);

		if (plugin == NULL)
			abort();
		*(void **)&allocate = dlsym(plugin, "small_plugin_allocate");
		free(allocate(10));
		if (dlclose(plugin) != 0)
			abort();
	}
	allocate_some();
}

static void run_forks(void)
{
	allocate_some();

	const int in_parent = count_open();

	for (int number = 0; number < FORKS; number++) {
		const pid_t pid = fork();
		int status;

		if (pid == 0) {
			if (number >= CHILDREN_THAT_ALLOCATE)
				_exit(0);
			truth_begin_anew();
			allocate_some();
			if (count_open() > in_parent)
				say("more descriptors in a child");
			truth_print();
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			abort();
	}
}

static void spawn_child(char *program)
{
	char *const arguments[] = { program, (char *)(uintptr_t) "daemon", NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status;

	allocate_some();
	for (int number = 0; number < 20; number++)
		(void)open("/dev/null", O_RDONLY);
	if (posix_spawn_file_actions_init(&actions) != 0 ||
	    posix_spawn_file_actions_addclosefrom_np(&actions, 3) != 0 ||
	    posix_spawn(&pid, program, &actions, NULL, arguments, environ) != 0 ||
	    waitpid(pid, &status, 0) != pid || status != 0)
		abort();
	posix_spawn_file_actions_destroy(&actions);
}

static void run(const char *mode, char **argv)
{
	if (strcmp(mode, "ways") == 0)
		list_ways();
	else if (strcmp(mode, "daemon") == 0)
		look_as_daemon();
	else if (strcmp(mode, "dark") == 0)
		look_in_the_dark((int)strtol(argv[2], NULL, 10));
	else if (strcmp(mode, "threads") == 0)
		run_threads();
	else if (strcmp(mode, "plugins") == 0)
		run_plugins(argv[2]);
	else if (strcmp(mode, "forks") == 0)
		run_forks();
	else if (strcmp(mode, "spawn") == 0)
		spawn_child(argv[0]);
	else
		_exit(2);
}

int main(int argc, char **argv)
{
	const char *const mode = argc > 1 ? argv[1] : "";
	const bool is_counted =
		strcmp(mode, "threads") == 0 || strcmp(mode, "plugins") == 0 || strcmp(mode, "forks") == 0;

	if (is_counted) {
		(void)among_numbers(1);

		const int before = count_open();

		run(mode, argv);
		say("%d more", count_open() - before);
	} else {
		run(mode, argv);
	}
	truth_print();
	return 0;
}
