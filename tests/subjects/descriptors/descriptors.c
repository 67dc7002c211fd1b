// SPDX-License-Identifier: Apache-2.0
/*
 * descriptors MODE
 *	list    which of the numbers 0 to 9 are open, and which number a new file gets
 *	reuse   closes all it did not open, takes every number for files of its own, and allocates until
 *	        the tables have grown many times; then looks whether anybody else wrote to its files
 */
#include "tests/subjects/truth.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { FILES = 8, NUMBERS = 1024, BLOCKS = 20000, LINES = 200 };

TRUTH(descriptors_kept)
static SITE struct block descriptors_kept(size_t size)
{
	return truth_allocated(&truth_of_descriptors_kept, malloc(size), size);
}

static void list(void)
{
	(void)descriptors_kept(100);
	for (int number = 0; number < 10; number++)
		say("%d is %s", number, fcntl(number, F_GETFD) < 0 ? "closed" : "open");

	const int fresh = open("/dev/null", O_RDONLY);

	say("a new one is %d", fresh);
	(void)close(fresh);
}

static int files[FILES];

static void open_files(void)
{
	if (close_range(3, ~0U, 0) != 0)
		abort();
	for (int index = 0; index < FILES; index++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "own.%d", index);
		files[index] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (files[index] != 3 + index)
			abort();
	}
	for (int number = 3 + FILES; number < NUMBERS; number++) {
		if (dup2(files[number % FILES], number) != number)
			abort();
	}
}

static size_t make_line(char *line, size_t line_bytes, int file, int number)
{
	return (size_t)snprintf(line, line_bytes, "line %d of file %d\n", number, file);
}

static void write_lines(int number)
{
	for (int index = 0; index < FILES; index++) {
		char line[64];
		const size_t length = make_line(line, sizeof(line), index, number);

		if (write(files[index], line, length) != (ssize_t)length)
			abort();
	}
}

/* The files hold the lines written, and nothing else. */
static void check_file(int index)
{
	struct stat status;
	off_t offset = 0;

	for (int number = 0; number < LINES; number++) {
		char expected[64];
		char found[64];
		const size_t length = make_line(expected, sizeof(expected), index, number);

		if (pread(files[index], found, length, offset) != (ssize_t)length ||
		    memcmp(found, expected, length) != 0) {
			say("own.%d: line %d is not what was written", index, number);
			return;
		}
		offset += (off_t)length;
	}
	if (fstat(files[index], &status) != 0)
		abort();
	say("own.%d: %s", index, status.st_size == offset ? "as written" : "of another length");
}

static void reuse(void)
{
	const struct rlimit limit = { NUMBERS, NUMBERS };

	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		abort();
	open_files();
	for (int number = 0; number < LINES; number++) {
		for (int index = 0; index < BLOCKS / LINES; index++)
			(void)descriptors_kept(16);
		write_lines(number);
	}
	for (int index = 0; index < FILES; index++)
		check_file(index);
	for (int number = 0; number < NUMBERS; number++) {
		if (fcntl(number, F_GETFD) < 0)
			say("%d was closed", number);
	}
	(void)close_range(NUMBERS / 2, ~0U, 0); /* room for those who write at exit */
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (strcmp(argv[1], "list") == 0)
		list();
	else
		reuse();
	truth_print();
	return 0;
}
