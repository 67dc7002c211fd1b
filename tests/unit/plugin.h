// SPDX-License-Identifier: Apache-2.0
/* Opening the plug-ins that were built beside a test; the test ends where one is missing. */
#ifndef HM_TESTS_PLUGIN_H
#define HM_TESTS_PLUGIN_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* PLUGIN_DIR: the directory they were built in. */
static inline void *plugin_open(const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", PLUGIN_DIR, name);

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
