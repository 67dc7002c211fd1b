// SPDX-License-Identifier: Apache-2.0
#include "tools/library.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Relative to the folder of the executable. */
static const char *const places[] = {
	"../preload",                       /* a build tree */
	"../lib/heapmark",                  /* an installation */
	"../lib/x86_64-linux-gnu/heapmark", /* one with Debian's multiarch folders */
};

static int find_beside_executable(char path[PATH_MAX])
{
	char executable[PATH_MAX];
	const ssize_t length = readlink("/proc/self/exe", executable, sizeof(executable) - 1);

	if (length < 0)
		return -errno;
	executable[length] = '\0';
	*strrchr(executable, '/') = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char candidate[2 * PATH_MAX];

		(void)snprintf(candidate, sizeof(candidate), "%s/%s/%s", executable, places[i],
			       HM_LIBRARY_NAME);
		if (realpath(candidate, path) != NULL)
			return 0;
	}
	return -ENOENT;
}

int hm_library_find(char ret_path[PATH_MAX])
{
	const char *const named = getenv("HEAPMARK_LIBRARY");
	char path[PATH_MAX];
	int error = 0;

	if (named != NULL && named[0] != '\0')
		error = realpath(named, path) != NULL ? 0 : -errno;
	else
		error = find_beside_executable(path);
	if (error == 0) {
		strcpy(ret_path, path);
		if (path[strcspn(path, " :")] != '\0')
			error = -EINVAL;
	}
	return error;
}
