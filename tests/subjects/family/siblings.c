// SPDX-License-Identifier: Apache-2.0
/*
 * Eight children of one fork loop do the same.  How deep a stack is tells the allocation, so that which ones
 * were sampled shows in the profiles.
 */
#include "tests/subjects/truth.h"

#include <sys/wait.h>

enum { CHILDREN = 8, DEPTH = 60, BLOCK_BYTES = 32 * 1024 };

static SITE void descend(int depth)
{
	void *const block = malloc(BLOCK_BYTES);

	if (depth > 0)
		descend(depth - 1);
	free(block);
}

int main(void)
{
	descend(DEPTH / 2); /* so that the parent is somewhere on the way to its next sample */
	for (int index = 0; index < CHILDREN; index++) {
		const pid_t pid = fork();

		if (pid == 0) {
			descend(DEPTH);
			exit(0);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			abort();
	}
	say("done");
	return 0;
}
