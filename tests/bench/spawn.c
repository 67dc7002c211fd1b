// SPDX-License-Identifier: Apache-2.0
/*
 * spawn COUNT COMMAND [ARGUMENT...]: starts COMMAND and waits for its end, COUNT times, as make does, and
 * prints what a process costs from its start to its end.
 */
#include "tests/bench/bench.h"

#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(char **command)
{
	pid_t child;
	int status;
	const int error = posix_spawnp(&child, command[0], NULL, NULL, command, environ);

	if (error != 0) {
		fprintf(stderr, "spawn: %s: %s\n", command[0], strerror(error));
		return 1;
	}
	return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

int main(int argument_count, char **arguments)
{
	const long count = argument_count >= 3 ? strtol(arguments[1], NULL, 10) : 0;

	if (count <= 0) {
		fprintf(stderr, "usage: spawn COUNT COMMAND [ARGUMENT...]\n");
		return 2;
	}
	const double start_ns = clock_ns(CLOCK_MONOTONIC);

	for (long i = 0; i < count; i++) {
		if (run(arguments + 2) != 0)
			return 1;
	}
	printf("ns_per_round=%.2f\n", (clock_ns(CLOCK_MONOTONIC) - start_ns) / (double)count);
	return 0;
}
