// SPDX-License-Identifier: Apache-2.0
/*
 * locked BYTES: a real-time program: it locks all its memory, now and in future, under RLIMIT_MEMLOCK of so
 * many bytes and without privilege (0: no limit), and then allocates.  "memory LOCKED RESIDENT" (KiB) is for
 * figures.
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { NOBODY = 65534, BLOCKS = 100000 };

TRUTH(one_of_many)
static SITE struct block one_of_many(size_t size)
{
	return truth_allocated(&truth_of_one_of_many, malloc(size), size);
}

static unsigned long status_kib(const char *key)
{
	char line[256];
	unsigned long kib = 0;
	FILE *const file = fopen("/proc/self/status", "r");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0)
			kib = strtoul(line + strlen(key), NULL, 10);
	}
	if (file != NULL)
		(void)fclose(file);
	return kib;
}

int main(int argc, char **argv)
{
	const rlim_t limit_bytes = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	const struct rlimit limit = { limit_bytes, limit_bytes };
	int result;

	if (limit_bytes != 0 && (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || setuid(NOBODY) != 0))
		return 1;
	result = mlockall(MCL_CURRENT | MCL_FUTURE);
	say("mlockall: %s", result == 0 ? "done" : strerrorname_np(errno));
	for (size_t index = 0; index < BLOCKS; index++) {
		struct block block = one_of_many(index % 50);

		if (index % 2 == 0)
			truth_free(&block);
	}
	(void)dprintf(STDERR_FILENO, "memory %lu %lu\n", status_kib("VmLck:"), status_kib("VmRSS:"));
	truth_print();
	return 7;
}
