// SPDX-License-Identifier: Apache-2.0
/*
 * siblings WAY: the children of one loop do the same.  How deep a stack is tells the allocation, so that
 * which ones were sampled shows in the profiles.  WAY is how they come to be: fork, _Fork, and the system
 * calls fork and clone.
 */
#include "tests/subjects/truth.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { CHILDREN = 16, DEPTH = 60, BLOCK_BYTES = 32 * 1024 };

static SITE void descend(int depth)
{
	void *const block = malloc(BLOCK_BYTES);

	if (depth > 0)
		descend(depth - 1);
	free(block);
}

static pid_t make_child(const char *way)
{
	if (strcmp(way, "fork") == 0)
		return fork();
	if (strcmp(way, "_Fork") == 0)
		return _Fork();
	if (strcmp(way, "system_call_fork") == 0)
		return (pid_t)syscall(SYS_fork);
	if (strcmp(way, "system_call_clone") == 0)
		return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	abort();
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	descend(DEPTH / 2); /* so that the parent is somewhere on the way to its next sample */
	for (int index = 0; index < CHILDREN; index++) {
		const pid_t pid = make_child(argv[1]);

		if (pid == 0) {
			descend(DEPTH);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			abort();
	}
	say("done");
	return 0;
}
