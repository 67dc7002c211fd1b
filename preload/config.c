// SPDX-License-Identifier: Apache-2.0
#include "preload/config.h"

#include "preload/say.h"
#include "proto/ledger.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t RATE_DEFAULT = 512 * 1024; /* as Go's runtime.MemProfileRate */
static const uint64_t RATE_MAX = UINT64_C(1) << 40;
static const uint64_t LIMIT_DEFAULT = 256 * 1024 * 1024;
static const uint64_t LIMIT_MIN = 256 * 1024;
static const uint64_t LIMIT_MAX = UINT64_C(64) << 30; /* 31 bits of units in a trie reference hold 128 GiB */

/* A value in the environment: text that is not terminated where it comes out of the combined variable. */
struct value {
	const char *text; /* NULL: not set */
	size_t length;
};

static bool is_known_key(const char *key, size_t key_length)
{
	static const char *const keys[] = { "rate", "dir",     "children", "frames",
					    "max",  "verbose", "seed",     "mmap" };

	for (size_t index = 0; index < sizeof(keys) / sizeof(keys[0]); index++) {
		if (strlen(keys[index]) == key_length && memcmp(keys[index], key, key_length) == 0)
			return true;
	}
	return false;
}

static void check_combined(const char *combined)
{
	for (const char *item = combined; item != NULL && *item != '\0';) {
		const size_t length = strcspn(item, ",");
		const size_t key_length = strcspn(item, ",=");

		if (length > 0 && (key_length == length || !is_known_key(item, key_length)))
			hm_say("HEAPMARK: \"%.*s\" is not a setting; there are rate=, dir=, children=, "
			       "frames=, max=, "
			       "verbose=, mmap=",
			       (int)(length < 100 ? length : 100), item);
		item += length + (item[length] == ',');
	}
}

/* "rate" of "rate=64K,dir=/tmp/p" */
static struct value find_combined(const char *combined, const char *key)
{
	const size_t key_length = strlen(key);

	for (const char *item = combined; item != NULL && *item != '\0';) {
		const size_t length = strcspn(item, ",");

		if (length > key_length && item[key_length] == '=' && strncmp(item, key, key_length) == 0)
			return (struct value){ item + key_length + 1, length - key_length - 1 };
		item += length + (item[length] == ',');
	}
	return (struct value){ NULL, 0 };
}

static struct value find(const char *variable, const char *key)
{
	const char *const text = getenv(variable);

	if (text != NULL)
		return (struct value){ text, strlen(text) };
	return find_combined(getenv("HEAPMARK"), key);
}

/* Digits and a unit: 524288, 512K, 512k, 2M, 1G, 64KiB, 64kB. */
static bool parse_size(struct value value, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	uint64_t number = 0;
	size_t index = 0;

	for (; index < value.length && value.text[index] >= '0' && value.text[index] <= '9'; index++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(value.text[index] - '0'), &number))
			return false;
	}
	if (index == 0)
		return false;
	if (index < value.length) {
		const char upper = (char)(value.text[index] & ~0x20);
		const char *const unit = upper == '\0' ? NULL : strchr(units, upper);

		if (unit != NULL) {
			const uint32_t shift = 10 * (uint32_t)(unit - units + 1);

			if (number > UINT64_MAX >> shift)
				return false;
			number <<= shift;
			index++;
			if (index < value.length && value.text[index] == 'i')
				index++;
		}
		if (index < value.length && (value.text[index] & ~0x20) == 'B')
			index++;
	}
	*ret_bytes = number;
	return index == value.length;
}

static void complain(const char *variable, struct value value, const char *expected, const char *used)
{
	hm_say("%s: \"%.*s\" is not %s; using %s", variable, (int)(value.length < 100 ? value.length : 100),
	       value.text, expected, used);
}

/* A size between the bounds, or the default. */
static uint64_t read_size(const char *variable, const char *key, uint64_t lowest, uint64_t highest,
			  uint64_t fallback, const char *expected, const char *fallback_text)
{
	const struct value value = find(variable, key);
	uint64_t bytes;

	if (value.text == NULL)
		return fallback;
	if (parse_size(value, &bytes) && bytes >= lowest && bytes <= highest)
		return bytes;
	complain(variable, value, expected, fallback_text);
	return fallback;
}

static bool read_switch(const char *variable, const char *key, bool fallback)
{
	const struct value value = find(variable, key);

	if (value.text == NULL)
		return fallback;
	if (value.length == 1 && (value.text[0] == '0' || value.text[0] == '1'))
		return value.text[0] == '1';
	complain(variable, value, "0 or 1", fallback ? "1" : "0");
	return fallback;
}

static void read_run_id(uint64_t *ret_run_id)
{
	const char *const text = getenv("HEAPMARK_RUN");
	char *end;

	*ret_run_id = 0;
	if (text == NULL)
		return;

	const int saved_errno = errno;

	*ret_run_id = strtoull(text, &end, 16);
	if (*text == '\0' || *end != '\0')
		*ret_run_id = 0;
	errno = saved_errno;
}

/* Absolute, since the program may change its directory before a child of it starts a ledger. */
static void read_directory(char *ret_directory)
{
	const struct value value = find("HEAPMARK_DIR", "dir");
	const bool is_absolute = value.length > 0 && value.text[0] == '/';
	size_t used;

	if (getcwd(ret_directory, PATH_MAX) == NULL)
		memcpy(ret_directory, ".", sizeof("."));
	used = is_absolute ? 0 : strlen(ret_directory);
	if (value.length == 0)
		return;
	if (used + 1 + value.length >= PATH_MAX) {
		complain("HEAPMARK_DIR", value, "a path that is short enough", "the working directory");
		return;
	}
	if (used > 0 && ret_directory[used - 1] != '/')
		ret_directory[used++] = '/';
	memcpy(ret_directory + used, value.text, value.length);
	ret_directory[used + value.length] = '\0';
}

void hm_config_read(struct hm_config *ret_config)
{
	struct hm_config *const config = ret_config;
	const int saved_errno = errno;

	check_combined(getenv("HEAPMARK"));
	config->interval_bytes = read_size("HEAPMARK_RATE", "rate", 0, RATE_MAX, RATE_DEFAULT,
					   "a number of bytes such as 1, 64K or 2M (at most 1T)", "512K");
	config->limit_bytes = read_size("HEAPMARK_MAX", "max", LIMIT_MIN, LIMIT_MAX, LIMIT_DEFAULT,
					"a size between 256K and 64G", "256M");
	config->frames_max = (uint32_t)read_size("HEAPMARK_FRAMES", "frames", 1, HM_FRAMES_MAX, HM_FRAMES_MAX,
						 "a number between 1 and 128", "128");
	config->seed = read_size("HEAPMARK_SEED", "seed", 0, UINT64_MAX, 0, "a number", "chance");
	config->children = read_switch("HEAPMARK_CHILDREN", "children", true);
	config->verbose = read_switch("HEAPMARK_VERBOSE", "verbose", false);
	config->mappings = read_switch("HEAPMARK_MMAP", "mmap", false);
	read_run_id(&config->run_id);
	read_directory(config->directory);
	errno = saved_errno;
}
