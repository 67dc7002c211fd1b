// SPDX-License-Identifier: Apache-2.0
/*
 * namespaces PLUGIN: the plug-in in namespaces of its own (dlmopen), each with a C library of its own, whose
 * malloc nobody takes the place of.  What it allocates is not seen; what the program allocates meanwhile is.
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>

enum { NAMESPACES = 4, BLOCKS = 100, BLOCK_BYTES = 333 };

TRUTH(in_program)
static SITE struct block in_program(size_t size)
{
	return truth_allocated(&truth_of_in_program, malloc(size), size);
}

static void *find(void *plugin, const char *name)
{
	void *const function = dlsym(plugin, name);

	if (function == NULL) {
		say("%s", dlerror());
		exit(2);
	}
	return function;
}

static void run(const char *path)
{
	void *const plugin = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
	void *(*deep_allocate)(size_t size);
	void (*deep_free)(void *block);

	if (plugin == NULL) {
		say("%s", dlerror());
		exit(2);
	}

	void *const allocate = find(plugin, "deep_allocate");
	void *const release = find(plugin, "deep_free");

	memcpy(&deep_allocate, &allocate, sizeof(deep_allocate));
	memcpy(&deep_free, &release, sizeof(deep_free));
	for (int index = 0; index < BLOCKS; index++) {
		void *const theirs = deep_allocate(BLOCK_BYTES);
		struct block ours = in_program(BLOCK_BYTES);

		memset(theirs, 1, BLOCK_BYTES);
		memset(ours.address, 1, BLOCK_BYTES);
		if (index % 2 == 0) {
			deep_free(theirs);
			truth_free(&ours);
		}
	}
	say("dlclose: %d", dlclose(plugin));
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	for (int number = 0; number < NAMESPACES; number++)
		run(argv[1]);
	truth_print();
	return 0;
}
