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

/* The value of KEY in "rate=64K,dir=/tmp/p", as a copy, or NULL. */
static const char *value_in_list(const char *list, const char *key)
{
	const size_t key_length = strlen(key);

	while (list != NULL && *list != '\0') {
		const size_t length = strcspn(list, ",");

		if (length > key_length && strncmp(list, key, key_length) == 0 && list[key_length] == '=')
			return strndup(list + key_length + 1, length - key_length - 1);
		list += length;
		list += *list == ',';
	}
	return NULL;
}

/* A variable of its own wins over the same setting in HEAPMARK. */
static const char *setting(const char *variable, const char *key)
{
	const char *const value = getenv(variable);

	return value != NULL ? value : value_in_list(getenv("HEAPMARK"), key);
}

const char *hm_environment_directory(void)
{
	const char *const directory = setting("HEAPMARK_DIR", "dir");

	return directory != NULL && directory[0] != '\0' ? directory : ".";
}

uint64_t hm_environment_rate(void)
{
	const char *const rate = setting("HEAPMARK_RATE", "rate");
	uint64_t rate_bytes = HM_RATE_DEFAULT_BYTES;

	if (rate != NULL)
		(void)hm_parse_bytes(rate, &rate_bytes); /* the library complains about what is none */
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
