// SPDX-License-Identifier: Apache-2.0
/*
 * small_threads MODE [PLUGIN...]: threads of the smallest size there is, guard page and all, that are the
 * first to need something of the library which takes stack.
 *	first     the first to come by a call: its unwind rules are compiled
 *	fork      the one thread of a child that forked from it: the child's ledger is started
 *	exit      calls exit(): the profile is written
 *	dlclose   unloads the plug-ins that it allocates in: their rules are forgotten
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sys/wait.h>

enum { THREADS = 64, CHILDREN = 20, BLOCKS = 10, PLUGINS_MAX = 8 };

TRUTH(in_small_thread)
static SITE struct block in_small_thread(size_t size)
{
	return truth_allocated(&truth_of_in_small_thread, malloc(size), size);
}

TRUTH(in_child)
static SITE struct block in_child(size_t size)
{
	return truth_allocated(&truth_of_in_child, malloc(size), size);
}

/* A call of its own in each of 64 functions: no thread finds the rules of its stack there. */
static void allocate_some(struct block (*site)(size_t))
{
	for (size_t size = 1; size <= BLOCKS; size++) {
		struct block block = site(size);

		if (size % 2 == 0)
			truth_free(&block);
	}
}

/* clang-format off */
#define BODY(NUMBER)                                              \
	static SITE void *body_##NUMBER(void *unused)             \
	{                                                         \
		allocate_some(in_small_thread);                   \
		return unused;                                    \
	}
#define FOUR(DO, TENS) DO(TENS##0) DO(TENS##1) DO(TENS##2) DO(TENS##3)
#define SIXTEEN(DO, TENS) FOUR(DO, TENS##0) FOUR(DO, TENS##1) FOUR(DO, TENS##2) FOUR(DO, TENS##3)
#define ALL(DO) SIXTEEN(DO, 1) SIXTEEN(DO, 2) SIXTEEN(DO, 3) SIXTEEN(DO, 4)
#define NAME(NUMBER) body_##NUMBER,
/* clang-format on */
ALL(BODY)
static void *(*const bodies[THREADS])(void *) = { ALL(NAME) };

static pthread_t start(void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	if (pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) != 0 ||
	    pthread_create(&thread, &attributes, body, argument) != 0)
		abort();
	pthread_attr_destroy(&attributes);
	return thread;
}

static void run_in_thread(void *(*body)(void *), void *argument)
{
	if (pthread_join(start(body, argument), NULL) != 0)
		abort();
}

static void run_first(void)
{
	pthread_t threads[THREADS];

	for (int index = 0; index < THREADS; index++)
		threads[index] = start(bodies[index], NULL);
	for (int index = 0; index < THREADS; index++)
		pthread_join(threads[index], NULL);
}

/* Children that leave by _exit keep a ledger; every second one leaves by exit, and writes on this stack. */
static void *fork_children(void *unused)
{
	for (int number = 0; number < CHILDREN; number++) {
		const pid_t pid = fork();
		int status;

		if (pid == 0) {
			truth_begin_anew();
			allocate_some(in_child);
			truth_print();
			if (number % 2 == 0)
				_exit(0);
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			abort();
	}
	allocate_some(in_small_thread);
	return unused;
}

static void *leave(void *unused)
{
	allocate_some(in_small_thread);
	truth_print();
	exit(0);
	return unused;
}

struct plugins {
	void *handles[PLUGINS_MAX];
	int count;
};

static void *allocate_and_unload(void *argument)
{
	const struct plugins *const plugins = argument;

	for (int index = 0; index < plugins->count; index++) {
		void *(*allocate)(size_t);

		*(void **)&allocate = dlsym(plugins->handles[index], "small_plugin_allocate");
		for (size_t size = 1; size <= BLOCKS; size++)
			free(allocate(size));
		if (dlclose(plugins->handles[index]) != 0)
			abort();
	}
	allocate_some(in_small_thread);
	return NULL;
}

static void run_dlclose(char **names, int count)
{
	struct plugins plugins = { .count = count < PLUGINS_MAX ? count : PLUGINS_MAX };

	for (int index = 0; index < plugins.count; index++) {
		plugins.handles[index] = dlopen(names[index], RTLD_NOW);
		if (plugins.handles[index] == NULL)
			abort();
	}
	run_in_thread(allocate_and_unload, &plugins);
}

int main(int argc, char **argv)
{
	const char *const mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "first") == 0)
		run_first();
	else if (strcmp(mode, "fork") == 0)
		run_in_thread(fork_children, NULL);
	else if (strcmp(mode, "exit") == 0)
		run_in_thread(leave, NULL);
	else if (strcmp(mode, "dlclose") == 0)
		run_dlclose(argv + 2, argc - 2);
	else
		return 2;
	truth_print();
	return 0;
}
