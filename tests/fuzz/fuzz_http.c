// SPDX-License-Identifier: Apache-2.0
/*
 * What a client may send that heapmark serve takes apart itself: the input is a request's target, a Host
 * header and an Authorization header, ended by NUL each.
 */
#include "tests/fuzz/fuzz.h"
#include "tools/http_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The next text, in memory of just its size. */
static char *take_text(const uint8_t **data, size_t *size_bytes)
{
	const size_t length = strnlen((const char *)*data, *size_bytes);
	char *const text = malloc(length + 1);

	memcpy(text, *data, length);
	text[length] = '\0';
	*data += length + (length < *size_bytes);
	*size_bytes -= length + (length < *size_bytes);
	return text;
}

static void try_path(const char *path, const char *query)
{
	char clean[64];
	char again[64];
	char location[96];

	fuzz_require(path[0] == '/', "a path begins with a slash");
	(void)hm_http_clean_path(path, clean);
	fuzz_require(strlen(clean) <= strlen(path), "a clean path is not longer");
	fuzz_require(clean[0] == '/' && clean[1] != '/' && strstr(clean, "/../") == NULL, "a path is clean");
	fuzz_require(!hm_http_clean_path(clean, again), "a clean path stays");
	if (!hm_http_location(clean, query, location, sizeof(location)))
		return;
	fuzz_require(location[0] == '/' && location[1] != '/' && location[1] != '\\',
		     "a location stays on this server");
	for (const char *place = location; *place != '\0'; place++)
		fuzz_require(isgraph((unsigned char)*place), "a location can stand in a header");
}

static void try_target(const char *target)
{
	char authority[32];
	char path[64];
	char value[16];
	const char *rest = target;

	if (hm_http_target(target, authority, sizeof(authority), &rest))
		fuzz_require(strpbrk(authority, "/?#") == NULL, "an authority is no more than that");
	if (hm_http_path(rest, path, sizeof(path)))
		try_path(path, hm_http_query(rest));
	if (hm_query_find(hm_http_query(target), "pid", value, sizeof(value)) == HM_QUERY_FOUND)
		fuzz_require(strpbrk(target, "p%") != NULL && strlen(value) < sizeof(value),
			     "what is found was there");
}

static void try_host(const char *text)
{
	struct hm_host host;
	char trimmed[32];

	if (hm_http_trim(text, trimmed, sizeof(trimmed)) && trimmed[0] != '\0')
		fuzz_require(strchr(" \t", trimmed[0]) == NULL &&
				     strchr(" \t", trimmed[strlen(trimmed) - 1]) == NULL,
			     "no blanks are around it");
	if (!hm_host_parse(text, &host))
		return;
	fuzz_require(strlen(host.name) < sizeof(host.name), "a name ends");
	for (const char *place = host.name; *place != '\0'; place++)
		fuzz_require(isgraph((unsigned char)*place) && !isupper((unsigned char)*place) &&
				     strchr("/\\\"'<>@,;", *place) == NULL,
			     "a name can be printed anywhere");
	fuzz_require(hm_host_is_same(host.name, host.name), "a host is itself");
	(void)hm_host_is_loopback(host.name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char *const target = take_text(&data, &size_bytes);
	char *const host = take_text(&data, &size_bytes);
	char *const authorization = take_text(&data, &size_bytes);

	try_target(target);
	try_host(host);
	if (hm_bearer_matches(authorization, "s3cret"))
		fuzz_require(strstr(authorization, "s3cret") != NULL, "who matches has the token");
	free(target);
	free(host);
	free(authorization);
	return 0;
}
