// SPDX-License-Identifier: Apache-2.0
/* The HEAPMARK_* variables: what they mean, which wins, what nonsense does. */
#include "preload/config.h"

#include "tests/unit/check.h"

#include <stdlib.h>
#include <unistd.h>

struct rate_case {
	const char *text; /* NULL: not set */
	uint64_t interval_bytes;
	bool complains;
};

static const struct rate_case rates[] = {
	{ NULL, 524288, false },
	{ "1", 1, false },
	{ "0", 0, false },
	{ "64K", 65536, false },
	{ "64k", 65536, false },
	{ "2M", 2097152, false },
	{ "64KiB", 65536, false },
	{ "64kB", 65536, false },
	{ "1G", 1073741824, false },
	{ "123456", 123456, false },
	{ "1T", UINT64_C(1) << 40, false },
	{ "", 524288, true },
	{ "K", 524288, true },
	{ "-1", 524288, true },
	{ "64 K", 524288, true },
	{ "64X", 524288, true },
	{ "1.5M", 524288, true },
	{ "2T", 524288, true },
	{ "99999999999999999999", 524288, true },
	{ "18446744073709551615K", 524288, true },
	{ "0x10", 524288, true },
	{ "512KK", 524288, true },
	{ "12\n", 524288, true },
};

static void clear(void)
{
	static const char *const variables[] = { "HEAPMARK",          "HEAPMARK_RATE",   "HEAPMARK_DIR",
						 "HEAPMARK_CHILDREN", "HEAPMARK_FRAMES", "HEAPMARK_MAX",
						 "HEAPMARK_VERBOSE",  "HEAPMARK_RUN",    "HEAPMARK_SEED",
						 "HEAPMARK_MMAP" };

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
}

/* Reads the settings and returns the number of lines written to stderr meanwhile. */
static int read_and_count(struct hm_config *config)
{
	int ends[2];
	char text[4096];
	int lines = 0;
	const int saved = dup(STDERR_FILENO);

	if (pipe(ends) != 0)
		return -1;
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	hm_config_read(config);
	dup2(saved, STDERR_FILENO);
	close(saved);

	ssize_t length;

	while ((length = read(ends[0], text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < length; i++)
			lines += text[i] == '\n';
	}
	close(ends[0]);
	return lines;
}

static void test_rates(void)
{
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct hm_config config = { 0 };

		clear();
		if (rates[i].text != NULL)
			setenv("HEAPMARK_RATE", rates[i].text, 1);
		CHECK_EQ(read_and_count(&config), rates[i].complains);
		if (!CHECK_EQ(config.interval_bytes, rates[i].interval_bytes))
			fprintf(stderr, "\tof \"%s\"\n", rates[i].text);
	}
}

static void test_combined(void)
{
	struct hm_config config = { 0 };

	clear();
	setenv("HEAPMARK", "rate=64K,dir=/tmp/p,children=0,frames=16,max=1M,verbose=1", 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK_EQ(config.interval_bytes, 65536);
	CHECK_STR(config.directory, "/tmp/p");
	CHECK(!config.children);
	CHECK(config.verbose);
	CHECK_EQ(config.frames_max, 16);
	CHECK_EQ(config.limit_bytes, 1 << 20);

	setenv("HEAPMARK_RATE", "2M", 1); /* single variables win */
	setenv("HEAPMARK_CHILDREN", "1", 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK_EQ(config.interval_bytes, 2 << 20);
	CHECK(config.children);
	CHECK_EQ(config.frames_max, 16);

	clear();
	setenv("HEAPMARK", "rates=5,rate=7,,dir,", 1); /* a key is a whole word and has a value */
	CHECK_EQ(read_and_count(&config), 2);
	CHECK_EQ(config.interval_bytes, 7);
}

static void test_defaults(void)
{
	struct hm_config config = { 0 };
	char working[PATH_MAX];

	clear();
	CHECK_EQ(read_and_count(&config), 0);
	CHECK(config.children);
	CHECK(!config.verbose);
	CHECK_EQ(config.frames_max, 128);
	CHECK_EQ(config.limit_bytes, 256 << 20);
	CHECK_EQ(config.run_id, 0);
	CHECK_STR(config.directory, getcwd(working, sizeof(working)));
}

static void test_directory(void)
{
	struct hm_config config = { 0 };
	char expected[PATH_MAX + 64];
	char working[PATH_MAX];
	char *const too_long = malloc(PATH_MAX + 1);

	clear();
	setenv("HEAPMARK_DIR", "some/where", 1);
	CHECK_EQ(read_and_count(&config), 0);
	snprintf(expected, sizeof(expected), "%s/some/where", getcwd(working, sizeof(working)));
	CHECK_STR(config.directory, expected);

	memset(too_long, 'x', PATH_MAX);
	too_long[PATH_MAX] = '\0';
	setenv("HEAPMARK_DIR", too_long, 1);
	CHECK_EQ(read_and_count(&config), 1);
	CHECK_STR(config.directory, working);

	too_long[0] = '/';
	setenv("HEAPMARK_DIR", too_long, 1);
	CHECK_EQ(read_and_count(&config), 1);
	CHECK_STR(config.directory, working);
	too_long[PATH_MAX - 2] = '\0'; /* the longest that is taken */
	setenv("HEAPMARK_DIR", too_long, 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK_STR(config.directory, too_long);
	free(too_long);

	setenv("HEAPMARK_DIR", "", 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK_STR(config.directory, working);
	setenv("HEAPMARK_DIR", "/", 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK_STR(config.directory, "/");
}

static void test_mappings(void)
{
	struct hm_config config = { 0 };

	clear();
	CHECK_EQ(read_and_count(&config), 0);
	CHECK(!config.mappings);
	setenv("HEAPMARK", "mmap=1", 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK(config.mappings);
	setenv("HEAPMARK_MMAP", "0", 1);
	CHECK_EQ(read_and_count(&config), 0);
	CHECK(!config.mappings);
	setenv("HEAPMARK_MMAP", "yes", 1);
	CHECK_EQ(read_and_count(&config), 1);
	CHECK(!config.mappings);
}

static void test_nonsense(void)
{
	struct hm_config config = { 0 };

	clear();
	setenv("HEAPMARK_FRAMES", "129", 1);
	setenv("HEAPMARK_MAX", "1K", 1);
	setenv("HEAPMARK_CHILDREN", "no", 1);
	setenv("HEAPMARK_VERBOSE", "", 1);
	setenv("HEAPMARK_RUN", "xyz", 1);
	CHECK_EQ(read_and_count(&config), 4); /* HEAPMARK_RUN is ours, not a user's */
	CHECK_EQ(config.frames_max, 128);
	CHECK_EQ(config.limit_bytes, 256 << 20);
	CHECK(config.children);
	CHECK_EQ(config.run_id, 0);
}

int main(void)
{
	test_rates();
	test_combined();
	test_defaults();
	test_directory();
	test_mappings();
	test_nonsense();
	return check_result();
}
