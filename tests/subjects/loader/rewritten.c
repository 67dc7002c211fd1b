// SPDX-License-Identifier: Apache-2.0
/*
 * rewritten FIRST SECOND: a plug-in that is replaced on disk between two loads: the same path and the same
 * address, but another file.
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static void stop(const char *what)
{
	say("%s", what);
	exit(2);
}

/* Renamed into place, as whoever installs a library does it. */
static void put(const char *from, const char *name)
{
	const int source = open(from, O_RDONLY | O_CLOEXEC);
	const int copy = open("new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	struct stat status;

	if (source < 0 || copy < 0 || fstat(source, &status) != 0 ||
	    sendfile(copy, source, NULL, (size_t)status.st_size) != status.st_size ||
	    rename("new", name) != 0)
		stop("the plug-in cannot be copied");
	(void)close(source);
	(void)close(copy);
}

static const void *run(const char *name)
{
	void *const plugin = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	void *const function = plugin == NULL ? NULL : dlsym(plugin, "run_twin");
	void (*run_twin)(void);

	if (function == NULL)
		stop(dlerror());
	memcpy(&run_twin, &function, sizeof(run_twin));
	run_twin();
	(void)dlclose(plugin);
	return function;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	put(argv[1], "./plugin.so");

	const void *const first = run("./plugin.so");

	put(argv[2], "./plugin.so");

	const void *const second = run("./plugin.so");

	say("%s", first == second ? "one address" : "two addresses");
	return 0;
}
