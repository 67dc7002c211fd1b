// SPDX-License-Identifier: Apache-2.0
/*
 * plugin_host MODE PLUGIN...: a C program that loads plug-ins.
 *	throw     one of C++, that throws and uses new; the program itself knows no C++ runtime
 *	deepbind  one that finds the C library before it finds us: its blocks are freed here, and ours there
 *	twins     two, one after the other, which the loader puts at the same address
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>

enum { BLOCKS = 100, BLOCK_BYTES = 333 };

TRUTH(host_before)
static SITE struct block host_before(size_t size)
{
	return truth_allocated(&truth_of_host_before, malloc(size), size);
}

TRUTH(host_after)
static SITE struct block host_after(size_t size)
{
	return truth_allocated(&truth_of_host_after, malloc(size), size);
}

static void *load(const char *path, int flags)
{
	void *const plugin = dlopen(path, flags);

	if (plugin == NULL) {
		say("%s", dlerror());
		exit(2);
	}
	return plugin;
}

/* dlsym speaks of objects; ISO C has no way to say that this one is a function (POSIX: dlsym, rationale). */
static void find(void *plugin, const char *name, void *ret_function)
{
	void *const function = dlsym(plugin, name);

	if (function == NULL) {
		say("%s", dlerror());
		exit(2);
	}
	memcpy(ret_function, &function, sizeof(function));
}

static void run_throw(const char *path)
{
	void *const plugin = load(path, RTLD_NOW | RTLD_LOCAL);
	int (*catch_exceptions)(int count);
	void (*make_blocks)(int count, size_t size);

	find(plugin, "catch_exceptions", &catch_exceptions);
	find(plugin, "make_blocks", &make_blocks);
	say("%d exceptions were caught", catch_exceptions(1000));
	make_blocks(BLOCKS, BLOCK_BYTES);
	say("truth %d plugin_new %d %d %d %d", (int)getpid(), BLOCKS, BLOCKS * BLOCK_BYTES, BLOCKS / 2,
	    BLOCKS / 2 * BLOCK_BYTES);
	(void)dlclose(plugin);
}

static void run_deepbind(const char *path)
{
	void *const plugin = load(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	void *(*deep_allocate)(size_t size);
	void (*deep_free)(void *block);
	void *theirs[BLOCKS];
	struct block ours[BLOCKS];

	find(plugin, "deep_allocate", &deep_allocate);
	find(plugin, "deep_free", &deep_free);
	for (int index = 0; index < BLOCKS; index++) {
		theirs[index] = deep_allocate(BLOCK_BYTES);
		ours[index] = host_before(BLOCK_BYTES);
	}
	for (int index = 0; index < BLOCKS; index++)
		free(theirs[index]);
	/* Frees that cannot be seen, until the address is given out again. */
	for (int index = 0; index < BLOCKS; index++)
		deep_free(ours[index].address);
	for (int index = 0; index < 2 * BLOCKS; index++)
		(void)host_after(BLOCK_BYTES);
	truth_of_host_before.freed_objects = BLOCKS;
	truth_of_host_before.freed_bytes = BLOCKS * BLOCK_BYTES;
	truth_print();
}

static void *run_twin(const char *path)
{
	void *const plugin = load(path, RTLD_NOW | RTLD_LOCAL);
	void (*run)(void);
	void *address;

	find(plugin, "run_twin", &run);
	memcpy(&address, &run, sizeof(address));
	run();
	(void)dlclose(plugin);
	return address;
}

static void run_twins(const char *first_path, const char *second_path)
{
	const void *const first = run_twin(first_path);
	const void *const second = run_twin(second_path);

	say("%s", first == second ? "one address" : "two addresses");
	say("truth %d castor 30 465 30 465", (int)getpid());
	say("truth %d pollux 30 465 30 465", (int)getpid());
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "throw") == 0)
		run_throw(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "deepbind") == 0)
		run_deepbind(argv[2]);
	else if (argc == 4 && strcmp(argv[1], "twins") == 0)
		run_twins(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
