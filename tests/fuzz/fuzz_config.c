// SPDX-License-Identifier: Apache-2.0
/*
 * The HEAPMARK_* variables with any values: the input is an environment, entries ended by NUL, of which each
 * begins with the number of its variable (modulo their count).
 */
#include "preload/config.h"

#include "preload/say.h"
#include "proto/ledger.h"
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES_MAX = 16 };

static const char *const variables[] = { "HEAPMARK",          "HEAPMARK_RATE",   "HEAPMARK_DIR",
					 "HEAPMARK_CHILDREN", "HEAPMARK_FRAMES", "HEAPMARK_MAX",
					 "HEAPMARK_VERBOSE",  "HEAPMARK_RUN",    "HEAPMARK_SEED" };
enum { VARIABLES = sizeof(variables) / sizeof(variables[0]) };

/* In place of the library's, which writes to descriptor 2: the text is made, and thrown away. */
void hm_say(const char *format, ...)
{
	char text[1000];
	va_list arguments;

	va_start(arguments, format);
	fuzz_require(vsnprintf(text, sizeof(text), format, arguments) > 0, "something is said");
	va_end(arguments);
}

/* "HEAPMARK_RATE=64K", in memory of just that size. */
static char *make_entry(const uint8_t *text, size_t length)
{
	const char *const variable = variables[text[0] % VARIABLES];
	const size_t variable_length = strlen(variable);
	char *const entry = malloc(variable_length + 1 + length); /* less its number, and terminated */

	memcpy(entry, variable, variable_length);
	entry[variable_length] = '=';
	memcpy(entry + variable_length + 1, text + 1, length - 1);
	entry[variable_length + length] = '\0';
	return entry;
}

static void require_sane(const struct hm_config *config)
{
	fuzz_require(config->interval_bytes <= UINT64_C(1) << 40, "the rate is at most 1T");
	fuzz_require(config->limit_bytes >= 256 << 10 && config->limit_bytes <= UINT64_C(64) << 30,
		     "the limit lies between 256K and 64G");
	fuzz_require(config->frames_max >= 1 && config->frames_max <= HM_FRAMES_MAX,
		     "1 to 128 frames are kept");
	fuzz_require(memchr(config->directory, '\0', sizeof(config->directory)) != NULL,
		     "the directory ends");
	fuzz_require(config->directory[0] == '/', "the directory is absolute");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char **const outer = environ;
	char *entries[ENTRIES_MAX + 1] = { 0 };
	size_t count = 0;
	struct hm_config config;

	for (size_t at = 0; at < size_bytes && count < ENTRIES_MAX; count++) {
		const size_t length = strnlen((const char *)data + at + 1, size_bytes - at - 1) + 1;

		entries[count] = make_entry(data + at, length);
		at += length + 1;
	}
	memset(&config, 0xa5, sizeof(config)); /* a field that nobody sets shows */
	environ = entries;
	hm_config_read(&config);
	environ = outer;
	require_sane(&config);
	for (size_t i = 0; i < count; i++)
		free(entries[i]);
	return 0;
}
