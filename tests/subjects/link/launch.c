// SPDX-License-Identifier: Apache-2.0
/*
 * launch PROGRAM ARGUMENT...: executes a copy of PROGRAM that has no name in any folder.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void stop(const char *what)
{
	perror(what);
	exit(2);
}

int main(int argc, char **argv)
{
	const int program = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	const int memory = memfd_create("linked", MFD_CLOEXEC);
	struct stat status;
	off_t copied = 0;

	if (program < 0 || memory < 0 || fstat(program, &status) != 0)
		stop("launch");
	while (copied < status.st_size)
		if (sendfile(memory, program, &copied, (size_t)(status.st_size - copied)) <= 0)
			stop("sendfile");
	(void)fexecve(memory, argv + 1, environ);
	stop("fexecve");
}
