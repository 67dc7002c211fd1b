// SPDX-License-Identifier: Apache-2.0
#include "tools/run_environment.h"

#include "tools/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set(const char *name, const char *value)
{
	if (setenv(name, value, 1) != 0)
		abort(); /* no memory: nothing has been started yet */
}

static char *copy_text(const char *text, size_t length)
{
	char *const copy = strndup(text, length);

	if (copy == NULL)
		abort();
	return copy;
}

/* The value of KEY in "rate=64K,dir=/tmp/p", as a copy, or NULL. */
static char *value_in_list(const char *list, const char *key)
{
	const size_t key_length = strlen(key);

	while (list != NULL && *list != '\0') {
		const size_t length = strcspn(list, ",");

		if (length > key_length && strncmp(list, key, key_length) == 0 && list[key_length] == '=')
			return copy_text(list + key_length + 1, length - key_length - 1);
		list += length;
		list += *list == ',';
	}
	return NULL;
}

/* As a copy, or NULL where it is not set.  A variable of its own wins over the same setting in HEAPMARK. */
static char *setting(const char *variable, const char *key)
{
	const char *const value = getenv(variable);

	return value != NULL ? copy_text(value, strlen(value)) : value_in_list(getenv("HEAPMARK"), key);
}

char *hm_environment_directory(void)
{
	char *const directory = setting("HEAPMARK_DIR", "dir");

	if (directory != NULL && directory[0] != '\0')
		return directory;
	free(directory);
	return copy_text(".", 1);
}

uint64_t hm_environment_rate(void)
{
	char *const rate = setting("HEAPMARK_RATE", "rate");
	uint64_t rate_bytes = HM_RATE_DEFAULT_BYTES;

	if (rate != NULL)
		(void)hm_parse_bytes(rate, &rate_bytes); /* the library complains about what is none */
	free(rate);
	return rate_bytes;
}

void hm_environment_set_number(const char *name, uint64_t number)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	set(name, text);
}

void hm_environment_preload(const char *library_path)
{
	const char *const others = getenv("LD_PRELOAD");
	char *list = NULL;

	if (others == NULL || others[0] == '\0') {
		set("LD_PRELOAD", library_path);
		return;
	}
	if (asprintf(&list, "%s:%s", library_path, others) < 0)
		abort();
	set("LD_PRELOAD", list);
	free(list);
}
