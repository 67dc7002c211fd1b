// SPDX-License-Identifier: Apache-2.0
/*
 * The parts of an HTTP request that `heapmark serve` takes apart itself: whatever anybody may have sent.
 *
 * Nothing here allocates, and nothing is written beyond the sizes given; text is bytes up to a NUL.
 */
#ifndef HM_TOOLS_HTTP_TEXT_H
#define HM_TOOLS_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HM_HOST_BYTES_MAX = 256 }; /* DNS names have at most 253 characters */

/*
 * Takes a target in absolute form, "http://host:1/a?b", apart (RFC 9112, 3.2.2): the authority, "host:1", and
 * where the rest begins, "/a?b" or "?b" or "".  One that begins with '/' has no authority, and *ret_rest is
 * all of it.  False where the target is of another form, or its authority is empty or does not fit.
 */
bool hm_http_target(const char *target, char *ret_authority, size_t authority_bytes, const char **ret_rest);

/*
 * Decodes the path of a request's target, "/a%20b?c=d" to "/a b"; that of "" and of "?c=d" is "/".  False
 * where it begins otherwise, has a '%' without two digits behind it, holds an encoded NUL, or does not fit.
 */
bool hm_http_path(const char *target, char *ret_path, size_t path_bytes);

/*
 * The path as Go's mux would have it, "/a//b/./c/../d/" to "/a/b/d/".  True where that is another one.
 * `ret_path` is as large as `path`, which is a path as hm_http_path gives it.
 */
bool hm_http_clean_path(const char *path, char *ret_path);

/*
 * A path and the query after it as text for a Location: all that is not harmless in a path is encoded, and of
 * the query what cannot stand in a header.  Begins with one '/', so that it stays here, where the path does.
 * False where it does not fit.
 */
bool hm_http_location(const char *path, const char *query, char *ret_text, size_t text_bytes);

/* A header's value without the blanks around it, which are no part of it.  False where it does not fit. */
bool hm_http_trim(const char *value, char *ret_text, size_t text_bytes);

/* What follows the '?' of the target, or "" where there is none.  Points into `target`. */
const char *hm_http_query(const char *target);

enum hm_query {
	HM_QUERY_ABSENT,
	HM_QUERY_FOUND,
	HM_QUERY_BAD, /* too long, or wrongly encoded: it is there, and cannot be taken for something else */
};

/* The first value of `key` in "a=1&b=2", both decoded; where there is no '=' behind it, "". */
enum hm_query hm_query_find(const char *query, const char *key, char *ret_value, size_t value_bytes);

/* A Host header, or the address to listen at. */
struct hm_host {
	char name[HM_HOST_BYTES_MAX]; /* lower case; of an IPv6 address without brackets; without a final dot
				       */
	uint16_t port;                /* 0: none was given, or 0 */
	bool has_port;
};

/* Takes "name", "name:", "name:1", "[::1]:1" apart.  False where it is none of them; a name may be empty. */
bool hm_host_parse(const char *text, struct hm_host *ret_host);

/* Whether the name stands for this machine and nothing else: localhost, *.localhost, 127.0.0.0/8, ::1. */
bool hm_host_is_loopback(const char *name);

/* Whether two names are the same host: equal but for case, or two spellings of one IP address. */
bool hm_host_is_same(const char *name, const char *other);

enum hm_token {
	HM_TOKEN_FOUND,
	HM_TOKEN_EMPTY,
	HM_TOKEN_LONG,
	HM_TOKEN_BAD, /* with a blank, NUL or another control character inside: no header could hold it */
};

/*
 * The token in the first line of a file, of which these are the first bytes: without the blanks around it.
 * HM_TOKEN_LONG where neither the line nor the file, of which all `is_whole`, ends within them, or where it
 * does not fit.
 */
enum hm_token hm_token_parse(const char *bytes, size_t count, bool is_whole, char *ret_token,
			     size_t token_bytes);

/*
 * Whether an Authorization header is "Bearer TOKEN", with whatever blanks around the token.  The time it takes depends on the header alone, so it
 * does not tell how much of a guess was right.
 */
bool hm_bearer_matches(const char *authorization, const char *token);

#endif
