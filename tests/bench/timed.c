// SPDX-License-Identifier: Apache-2.0
/*
 * timed FILE [NAME=VALUE...] COMMAND [ARGUMENT...]: runs COMMAND with these settings and writes to FILE
 *
 *	status=0 wall_s=1.234567 cpu_s=2.345678 rss_kib=4096
 *
 * its end as waitpid tells it, the processor time of it and of all that it waited for, and the resident
 * memory of the largest of them at its highest.
 *
 * A program of its own, since the kernel remembers the memory that a process had before it executed another
 * image: of a child of script/bench that would be what Python takes.
 */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void execute(char **arguments)
{
	while (*arguments != NULL && strchr(*arguments, '=') != NULL)
		(void)putenv(*arguments++);
	if (*arguments != NULL)
		(void)execvp(*arguments, arguments);
	perror("timed");
	_exit(127);
}

int main(int argument_count, char **arguments)
{
	struct rusage usage;
	int status;

	if (argument_count < 3) {
		fprintf(stderr, "usage: timed FILE [NAME=VALUE...] COMMAND [ARGUMENT...]\n");
		return 2;
	}
	const double start_ns = clock_ns(CLOCK_MONOTONIC);
	const pid_t child = fork();

	if (child == 0)
		execute(arguments + 2);
	if (child < 0 || wait4(child, &status, 0, &usage) != child) {
		perror("timed");
		return 1;
	}
	const double end_ns = clock_ns(CLOCK_MONOTONIC);
	FILE *const file = fopen(arguments[1], "w");

	if (file == NULL) {
		perror(arguments[1]);
		return 1;
	}
	fprintf(file, "status=%d wall_s=%.6f cpu_s=%.6f rss_kib=%ld\n", status, (end_ns - start_ns) / 1e9,
		seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss);
	return fclose(file) == 0 ? 0 : 1;
}
