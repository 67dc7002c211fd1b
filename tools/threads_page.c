// SPDX-License-Identifier: Apache-2.0
#include "tools/threads_page.h"

#include "tools/cli.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The first line of a file of a thread.  "" where it cannot be read. */
static void read_line(pid_t pid, const char *thread, const char *name, char *ret_line, size_t line_bytes)
{
	char path[128];
	ssize_t size = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/%s", (int)pid, thread, name);
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC);

	if (descriptor >= 0) {
		size = read(descriptor, ret_line, line_bytes - 1);
		(void)close(descriptor);
	}
	ret_line[size > 0 ? size : 0] = '\0';
	ret_line[strcspn(ret_line, "\n")] = '\0';
	hm_make_printable(ret_line);
}

/* "...NAME) STATE ...": from the parenthesis on. */
static const char *state_word(const char *end_of_name)
{
	switch (end_of_name[1] != '\0' ? end_of_name[2] : 0) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "waiting for a device";
	case 'T':
	case 't':
		return "stopped";
	case 'Z':
	case 'X':
		return "ended";
	default:
		return "idle";
	}
}

static void print_thread(pid_t pid, const char *thread, FILE *stream)
{
	char name[64];
	char stat[1024];
	char wait[128];

	read_line(pid, thread, "comm", name, sizeof(name));
	read_line(pid, thread, "stat", stat, sizeof(stat));
	read_line(pid, thread, "wchan", wait, sizeof(wait));
	const char *const end_of_name = strrchr(stat, ')');

	if (end_of_name == NULL)
		return; /* it ended while we looked */
	(void)fprintf(stream, "thread %s \"%s\" [%s%s%s]:\n\n", thread, name, state_word(end_of_name),
		      wait[0] != '\0' && strcmp(wait, "0") != 0 ? ", in the kernel at " : "",
		      strcmp(wait, "0") != 0 ? wait : "");
}

int hm_threads_page_print(pid_t pid, FILE *stream)
{
	char path[64];
	const struct dirent *entry = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *const directory = opendir(path);

	if (directory == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((entry = readdir(directory)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			print_thread(pid, entry->d_name, stream);
	(void)closedir(directory);
	return 0;
}
