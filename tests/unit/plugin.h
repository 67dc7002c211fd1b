// SPDX-License-Identifier: Apache-2.0
/* Opening the plug-ins that were built beside a test; the test ends where one is missing. */
#ifndef HM_TESTS_PLUGIN_H
#define HM_TESTS_PLUGIN_H

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the test itself, and in it plugins/. */
static inline const char *plugin_directory(void)
{
	static char path[PATH_MAX];
	const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof("/plugins"));
	char *const slash = length > 0 ? strrchr(path, '/') : NULL;

	if (slash == NULL)
		exit(1);
	memcpy(slash, "/plugins", sizeof("/plugins"));
	return path;
}

static inline void *plugin_open(const char *name)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", plugin_directory(), name);

	void *const plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (plugin == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return plugin;
}

static inline void *plugin_find(void *plugin, const char *name)
{
	void *const function = dlsym(plugin, name);

	if (function == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return function;
}

#endif
