// SPDX-License-Identifier: Apache-2.0
/*
 * signalled BYTES: files of this process may not grow beyond that (RLIMIT_FSIZE); says so where SIGXFSZ comes
 * that is not its own doing.  Its own file is written up to the limit, and across it.
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static volatile sig_atomic_t expected;

static void on_signal(int number)
{
	(void)number;
	if (expected == 0)
		say("SIGXFSZ out of the blue");
	else
		expected++;
}

TRUTH(one_of_many)
static SITE struct block one_of_many(size_t size)
{
	return truth_allocated(&truth_of_one_of_many, malloc(size), size);
}

/* As a program that knows its limit does: EFBIG and one signal a try. */
static void write_own_file(void)
{
	static char bytes[65536];
	const int file = open("own", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	size_t total = 0;
	ssize_t count;

	expected = 1;
	while ((count = write(file, bytes, sizeof(bytes))) > 0)
		total += (size_t)count;
	say("wrote %zu, then %s and %d signals", total, strerrorname_np(errno), (int)expected - 1);
	expected = 0;
	(void)close(file);
}

int main(int argc, char **argv)
{
	const struct rlimit limit = { strtoull(argc > 1 ? argv[1] : "0", NULL, 10), RLIM_INFINITY };

	if (signal(SIGXFSZ, on_signal) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 1;
	for (size_t index = 0; index < 50000; index++) {
		struct block block = one_of_many(index % 50);

		if (index % 2 == 0)
			truth_free(&block);
	}
	write_own_file();
	truth_print();
	return 5;
}
