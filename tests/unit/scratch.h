// SPDX-License-Identifier: Apache-2.0
/* A directory of a test's own, gone after it. */
#ifndef HM_TESTS_SCRATCH_H
#define HM_TESTS_SCRATCH_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void scratch_make(char ret_directory[PATH_MAX])
{
	const char *const base = getenv("TMPDIR");

	snprintf(ret_directory, PATH_MAX, "%s/heapmark-test-XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(ret_directory) == NULL) {
		perror(ret_directory);
		exit(1);
	}
}

/* What is in it was removed by the test: a file left behind makes this fail and shows. */
static inline void scratch_remove(const char *directory)
{
	if (rmdir(directory) != 0)
		perror(directory);
}

#endif
