// SPDX-License-Identifier: Apache-2.0
/*
 * phases: does what standard input says, a line at a time, so that somebody may change the rate in between.
 *
 *	SITE MIB    allocates so much in a function of that name, in blocks of 16 to 4111 bytes, and keeps an
 *	            eighth of it; then prints
 *	                done SITE OBJECTS BYTES KEPT_OBJECTS KEPT_BYTES SUM_OF_INVERSES
 *	            the last being that of 1 / (size + 1), of which the variance of objects is made
 *	release     frees what was kept
 *	fork        goes on in a child, whose number it prints
 */
#include "tests/subjects/truth.h"

#include <sys/wait.h>

struct sums {
	uint64_t objects;
	uint64_t bytes;
	uint64_t kept_objects;
	uint64_t kept_bytes;
	double inverses;
};

enum { KEPT_MAX = 1 << 20, KEPT_EACH = 8, LINE_BYTES = 128 };

static void *kept[KEPT_MAX];
static size_t kept_count;

static SITE void allocate(uint64_t bytes, struct sums *sums)
{
	uint64_t state = 1;

	while (sums->bytes < bytes) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;

		const size_t size_bytes = 16 + (state >> 33) % 4096;
		void *const block = malloc(size_bytes);

		if (block == NULL)
			abort();
		if (sums->objects % KEPT_EACH == 0 && kept_count < KEPT_MAX) {
			kept[kept_count++] = block;
			sums->kept_objects++;
			sums->kept_bytes += size_bytes;
		} else {
			free(block);
		}
		sums->objects++;
		sums->bytes += size_bytes;
		sums->inverses += 1 / ((double)size_bytes + 1);
	}
}

#define SITES(X)       \
	X(settle)      \
	X(asleep)      \
	X(at_64k)      \
	X(across_1)    \
	X(at_1)        \
	X(across_512k) \
	X(slumber)

#define DEFINE(NAME)                                             \
	static SITE void NAME(uint64_t bytes, struct sums *sums) \
	{                                                        \
		allocate(bytes, sums);                           \
		__asm__ volatile("" : : : "memory");             \
	}
SITES(DEFINE)

static const struct {
	const char *name;
	void (*run)(uint64_t bytes, struct sums *sums);
} sites[] = {
#define ROW(NAME) { #NAME, NAME },
	SITES(ROW)
};

static void release(void)
{
	while (kept_count > 0)
		free(kept[--kept_count]);
}

/* The parent waits for the end of the child, and has the same exit status. */
static void go_on_in_child(void)
{
	const pid_t child = fork();
	int status = 0;

	if (child < 0)
		abort();
	if (child == 0) {
		say("child %d", (int)getpid());
		return;
	}
	if (waitpid(child, &status, 0) != child)
		abort();
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

static bool read_line(char line[LINE_BYTES])
{
	size_t length = 0;

	while (length < LINE_BYTES - 1 && read(STDIN_FILENO, &line[length], 1) == 1 && line[length] != '\n')
		length++;
	line[length] = '\0';
	return length > 0;
}

int main(void)
{
	char line[LINE_BYTES];

	while (read_line(line)) {
		const size_t length = strcspn(line, " ");

		if (strcmp(line, "release") == 0)
			release();
		else if (strcmp(line, "fork") == 0)
			go_on_in_child();
		for (size_t i = 0; i < sizeof(sites) / sizeof(sites[0]); i++) {
			struct sums sums = { 0 };

			if (strlen(sites[i].name) != length || strncmp(line, sites[i].name, length) != 0)
				continue;
			sites[i].run(strtoull(line + length, NULL, 10) << 20, &sums);
			say("done %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %.17g", sites[i].name,
			    sums.objects, sums.bytes, sums.kept_objects, sums.kept_bytes, sums.inverses);
		}
		if (strcmp(line, "release") == 0)
			say("done release");
	}
	return 0;
}
