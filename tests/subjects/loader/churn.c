// SPDX-License-Identifier: Apache-2.0
/*
 * churn LOADERS WORKERS ROUNDS PLUGIN...: threads that load a plug-in, run it and unload it, one after the
 * other, beside threads that allocate in the program itself and in a plug-in that stays.  The loader gives
 * addresses out again at once, so that one plug-in follows another within the same pages, loaded by the same
 * thread or another.
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>
#include <pthread.h>

enum { THREADS_MAX = 8, PLUGINS_MAX = 4, PLUGIN_BLOCKS = 30, PLUGIN_BYTES = 465, WORKER_BLOCKS = 1000 };

struct plugin {
	const char *path;
	const char *name;
	unsigned int run_count;
};

static struct plugin plugins[PLUGINS_MAX];
static int plugin_count;
static int round_count;
static bool is_over;
static const void *addresses[THREADS_MAX]; /* where a loader's first plug-in was */
static unsigned int same_address_count;

TRUTH(in_worker)
static SITE struct block in_worker(size_t size)
{
	return truth_allocated(&truth_of_in_worker, malloc(size), size);
}

static void fail(const char *what)
{
	say("%s", what);
	_exit(2);
}

/* One of many loaded at once may lie elsewhere; that they mostly meet is what the program is for. */
static void count_address(int thread, const void *address)
{
	if (addresses[thread] == NULL)
		addresses[thread] = address;
	for (int other = 0; other < THREADS_MAX; other++) {
		if (__atomic_load_n(&addresses[other], __ATOMIC_RELAXED) == address) {
			(void)__atomic_fetch_add(&same_address_count, 1, __ATOMIC_RELAXED);
			return;
		}
	}
}

static void run_plugin(struct plugin *plugin, int thread)
{
	void *const handle = dlopen(plugin->path, RTLD_NOW | RTLD_LOCAL);
	void *const function = handle == NULL ? NULL : dlsym(handle, "run_twin");
	void (*run)(void);

	if (function == NULL)
		fail(dlerror());
	memcpy(&run, &function, sizeof(run));
	run();
	count_address(thread, function);
	(void)__atomic_fetch_add(&plugin->run_count, 1, __ATOMIC_RELAXED);
	if (dlclose(handle) != 0)
		fail(dlerror());
}

static void *load_and_unload(void *argument)
{
	const int thread = (int)(intptr_t)argument;

	for (int round = 0; round < round_count; round++)
		run_plugin(&plugins[(round + thread) % plugin_count], thread);
	return NULL;
}

static void *work(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
		for (size_t size = 1; size <= WORKER_BLOCKS; size++) {
			struct block block = in_worker(size);

			truth_free(&block);
		}
	}
	return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), int number)
{
	if (pthread_create(thread, NULL, run, (void *)(intptr_t)number) != 0)
		fail("no thread");
}

int main(int argc, char **argv)
{
	enum { FIRST_PLUGIN = 4 };
	pthread_t loaders[THREADS_MAX];
	pthread_t workers[THREADS_MAX];

	if (argc <= FIRST_PLUGIN || argc - FIRST_PLUGIN > PLUGINS_MAX)
		return 2;

	const int loader_count = atoi(argv[1]);
	const int worker_count = atoi(argv[2]);

	round_count = atoi(argv[3]);
	plugin_count = argc - FIRST_PLUGIN;
	for (int index = 0; index < plugin_count; index++) {
		const char *const slash = strrchr(argv[FIRST_PLUGIN + index], '/');

		plugins[index] = (struct plugin){ .path = argv[FIRST_PLUGIN + index], .name = slash + 1 };
	}
	for (int index = 0; index < loader_count; index++)
		start(&loaders[index], load_and_unload, index);
	for (int index = 0; index < worker_count; index++)
		start(&workers[index], work, index);
	for (int index = 0; index < loader_count; index++)
		(void)pthread_join(loaders[index], NULL);
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	for (int index = 0; index < worker_count; index++)
		(void)pthread_join(workers[index], NULL);
	say("%s", 2 * same_address_count >= (unsigned int)(loader_count * round_count) ? "one address"
										       : "many addresses");
	for (int index = 0; index < plugin_count; index++) {
		const struct plugin *const plugin = &plugins[index];
		const int name_length = (int)strcspn(plugin->name, ".");

		say("truth %d %.*s %u %u %u %u", (int)getpid(), name_length, plugin->name,
		    PLUGIN_BLOCKS * plugin->run_count, PLUGIN_BYTES * plugin->run_count,
		    PLUGIN_BLOCKS * plugin->run_count, PLUGIN_BYTES * plugin->run_count);
	}
	truth_print();
	return 0;
}
