// SPDX-License-Identifier: Apache-2.0
/*
 * ledger HOW: meddles with the file of the library, then allocates until the tables must grow.  A file of the
 * program's own that has taken over the number or the name, of the very same length, must stay as it is.
 *	number    an own file takes over the number
 *	name      the ledger is renamed, and an own file gets its name
 *	link      the same, and the ledger has had a second name since before
 *	both      number and name
 *	open      the program opens the ledger itself, gives it many numbers, and closes the one it had
 */
#include "tests/subjects/truth.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { NUMBERS = 1024, BLOCKS = 60000, OWN_BYTE = 0x5a };

TRUTH(beside_ledger)
static SITE struct block beside_ledger(size_t size)
{
	return truth_allocated(&truth_of_beside_ledger, malloc(size), size);
}

static char path[4096]; /* of the ledger; empty: there is none */
static int number = -1; /* of its descriptor */

static void find_ledger(void)
{
	for (int candidate = 3; candidate < NUMBERS; candidate++) {
		char link[32];

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", candidate);

		const ssize_t length = readlink(link, path, sizeof(path) - 1);

		if (length > 7 && memcmp(path + length - 7, ".ledger", 7) == 0) {
			path[length] = '\0';
			number = candidate;
			return;
		}
	}
	(void)snprintf(path, sizeof(path), "stand-in"); /* without the library */
	number = fcntl(open(path, O_RDWR | O_CREAT, 0600), F_DUPFD, 900);
}

static off_t size_of(const char *name)
{
	struct stat status;

	return stat(name, &status) == 0 ? status.st_size : -1;
}

/* Of the ledger's length, and of one byte throughout. */
static int make_own(const char *name, off_t size_bytes)
{
	const int file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

	for (off_t offset = 0; offset < size_bytes; offset++) {
		static const char byte = OWN_BYTE;

		if (write(file, &byte, 1) != 1)
			abort();
	}
	return file;
}

static void check_own(const char *name, off_t size_bytes)
{
	const int file = open(name, O_RDONLY);
	unsigned char page[4096];
	off_t found = 0;
	ssize_t count;
	bool is_whole = true;

	while ((count = read(file, page, sizeof(page))) > 0) {
		for (ssize_t index = 0; index < count; index++)
			is_whole = is_whole && page[index] == OWN_BYTE;
		found += count;
	}
	say("the own file is %s", found == size_bytes && is_whole ? "as it was" : "changed");
	(void)close(file);
}

static void move_away(char *ret_own)
{
	if (rename(path, "moved") != 0)
		abort();
	(void)snprintf(ret_own, sizeof(path), "%s", path);
}

static void allocate_many(void)
{
	for (int count = 0; count < BLOCKS; count++)
		(void)beside_ledger(16);
}

int main(int argc, char **argv)
{
	const char *const how = argc == 2 ? argv[1] : "";
	char own[sizeof(path)] = "own";

	(void)beside_ledger(1);
	find_ledger();

	const off_t size_bytes = size_of(path);

	say("the length of the ledger is %s", size_bytes >= 0 ? "known" : "unknown");
	if (strcmp(how, "open") == 0) {
		const int opened = open(path, O_RDWR);

		for (int count = 100; count < 200; count++)
			(void)dup2(opened, count);
		(void)close(number);
		allocate_many();
	} else {
		if (strcmp(how, "link") == 0 && link(path, "second-name") != 0)
			return 2;
		if (strcmp(how, "number") != 0)
			move_away(own);

		const int file = make_own(own, size_bytes);

		if (strcmp(how, "number") == 0 || strcmp(how, "both") == 0)
			(void)dup2(file, number);
		allocate_many();
		check_own(own, size_bytes);
		(void)unlink(own);
	}
	truth_print();
	return 0;
}
