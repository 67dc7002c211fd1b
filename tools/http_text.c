// SPDX-License-Identifier: Apache-2.0
#include "tools/http_text.h"

#include "tools/cli.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

/* Around a header's value (RFC 9110, 5.6.3: OWS). */
static const char blanks[] = " \t";

/* The length without the blanks at the end. */
static size_t trimmed_length(const char *text)
{
	size_t length = strlen(text);

	while (length > 0 && strchr(blanks, text[length - 1]) != NULL)
		length--;
	return length;
}

static int digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Decodes length bytes of text.  False where the encoding is wrong, a NUL comes out, or it does not fit. */
static bool decode(const char *text, size_t length, bool plus_is_blank, char *ret_text, size_t text_bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		char byte = text[i];

		if (byte == '%') {
			const int high = i + 2 < length ? digit_value(text[i + 1]) : -1;
			const int low = i + 2 < length ? digit_value(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			byte = (char)(high << 4 | low);
			i += 2;
		} else if (byte == '+' && plus_is_blank) {
			byte = ' ';
		}
		if (byte == '\0' || used + 1 >= text_bytes)
			return false;
		ret_text[used++] = byte;
	}
	ret_text[used] = '\0';
	return true;
}

bool hm_http_target(const char *target, char *ret_authority, size_t authority_bytes, const char **ret_rest)
{
	static const char scheme[] = "http://";
	const size_t scheme_length = strlen(scheme);

	if (authority_bytes == 0)
		return false;
	if (target[0] == '/') {
		ret_authority[0] = '\0';
		*ret_rest = target;
		return true;
	}
	if (strncasecmp(target, scheme, scheme_length) != 0)
		return false;

	const char *const authority = target + scheme_length;
	const size_t length = strcspn(authority, "/?#");

	if (length == 0 || length >= authority_bytes)
		return false;
	memcpy(ret_authority, authority, length);
	ret_authority[length] = '\0';
	*ret_rest = authority + length;
	return true;
}

bool hm_http_path(const char *target, char *ret_path, size_t path_bytes)
{
	const size_t length = strcspn(target, "?#");

	if (length == 0)
		return decode("/", 1, false, ret_path, path_bytes);
	return target[0] == '/' && decode(target, length, false, ret_path, path_bytes);
}

bool hm_http_clean_path(const char *path, char *ret_path)
{
	const char *part = path;
	size_t used = 0; /* without the '/' before the next part */

	while (*part != '\0') {
		part += strspn(part, "/");
		const size_t length = strcspn(part, "/");
		const bool is_up = length == 2 && memcmp(part, "..", 2) == 0;
		const bool is_here = length == 0 || (length == 1 && *part == '.');

		while (is_up && used > 0 && ret_path[--used] != '/')
			;
		if (!is_up && !is_here) {
			ret_path[used++] = '/';
			memcpy(ret_path + used, part, length);
			used += length;
		}
		part += length;
	}
	if (used == 0 || part[-1] == '/')
		ret_path[used++] = '/';
	ret_path[used] = '\0';
	return strcmp(path, ret_path) != 0;
}

/* Appends a byte, encoded where it is not harmless.  False where it does not fit. */
static bool encode(char byte, bool is_harmless, char *text, size_t *used, size_t text_bytes)
{
	static const char digits[] = "0123456789ABCDEF";
	const unsigned char value = (unsigned char)byte;

	if (*used + (is_harmless ? 1 : 3) >= text_bytes)
		return false;
	if (is_harmless) {
		text[(*used)++] = byte;
		return true;
	}
	text[(*used)++] = '%';
	text[(*used)++] = digits[value >> 4];
	text[(*used)++] = digits[value & 15];
	return true;
}

bool hm_http_location(const char *path, const char *query, char *ret_text, size_t text_bytes)
{
	size_t used = 0;

	for (; *path != '\0'; path++) {
		const bool is_harmless = isalnum((unsigned char)*path) || strchr("/-._~", *path) != NULL;

		if (!encode(*path, is_harmless, ret_text, &used, text_bytes))
			return false;
	}
	if (*query != '\0' && !encode('?', true, ret_text, &used, text_bytes))
		return false;
	for (; *query != '\0' && *query != '#'; query++)
		if (!encode(*query, isgraph((unsigned char)*query) && strchr("\"<>\\", *query) == NULL,
			    ret_text, &used, text_bytes))
			return false;
	if (used >= text_bytes)
		return false;
	ret_text[used] = '\0';
	return true;
}

bool hm_http_trim(const char *value, char *ret_text, size_t text_bytes)
{
	value += strspn(value, blanks);
	const size_t length = trimmed_length(value);

	if (length >= text_bytes)
		return false;
	memcpy(ret_text, value, length);
	ret_text[length] = '\0';
	return true;
}

const char *hm_http_query(const char *target)
{
	const char *const mark = strchr(target, '?');

	return mark != NULL ? mark + 1 : "";
}

/* Whether these bytes are the key, or an encoding of it; what is wrongly encoded is no key. */
static bool is_key(const char *text, size_t length, const char *key)
{
	enum { KEY_BYTES = 32 }; /* longer than any that is looked for */
	char decoded[KEY_BYTES];

	return decode(text, length, true, decoded, sizeof(decoded)) && strcmp(decoded, key) == 0;
}

enum hm_query hm_query_find(const char *query, const char *key, char *ret_value, size_t value_bytes)
{
	while (*query != '\0') {
		const size_t length = strcspn(query, "&#");
		const size_t name_length = strcspn(query, "=&#");

		if (is_key(query, name_length, key)) {
			const size_t value_at = name_length < length ? name_length + 1 : length;

			return decode(query + value_at, length - value_at, true, ret_value, value_bytes)
				       ? HM_QUERY_FOUND
				       : HM_QUERY_BAD;
		}
		if (query[length] != '&')
			break;
		query += length + 1;
	}
	return HM_QUERY_ABSENT;
}

/* Characters of DNS names, and of IP addresses in brackets; '_' is in names of containers. */
static bool is_name_character(char character, bool in_brackets)
{
	return isalnum((unsigned char)character) || strchr(in_brackets ? ":.%-_" : ".-_", character) != NULL;
}

static bool parse_port(const char *text, struct hm_host *host)
{
	uint64_t port = 0;

	if (strcmp(text, "") == 0 || strcmp(text, ":") == 0) /* a port may be empty (RFC 3986, 3.2.3) */
		return true;
	if (*text != ':' || !hm_parse_count(text + 1, &port) || port > UINT16_MAX)
		return false;
	host->port = (uint16_t)port;
	host->has_port = true;
	return true;
}

bool hm_host_parse(const char *text, struct hm_host *ret_host)
{
	struct hm_host host = { .has_port = false };
	const bool in_brackets = text[0] == '[';
	const char *const name = text + in_brackets;
	size_t length = strcspn(name, in_brackets ? "]" : ":");
	const char *const rest = name + length;

	if (in_brackets && *rest != ']')
		return false;
	if (!parse_port(rest + in_brackets, &host))
		return false;
	if (length > 0 && name[length - 1] == '.')
		length--;
	if (length >= sizeof(host.name))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_name_character(name[i], in_brackets))
			return false;
		host.name[i] = (char)tolower((unsigned char)name[i]);
	}
	*ret_host = host;
	return true;
}

/* An IP address as 16 bytes, IPv4 mapped into IPv6.  False where it is none. */
static bool parse_address(const char *name, struct in6_addr *ret_address)
{
	struct in_addr address;

	if (inet_pton(AF_INET6, name, ret_address) == 1)
		return true;
	if (inet_pton(AF_INET, name, &address) != 1)
		return false;
	memset(ret_address, 0, sizeof(*ret_address));
	memset(&ret_address->s6_addr[10], 0xff, 2);
	memcpy(&ret_address->s6_addr[12], &address, sizeof(address));
	return true;
}

bool hm_host_is_loopback(const char *name)
{
	static const char suffix[] = ".localhost";
	const size_t length = strlen(name);
	struct in6_addr address;

	if (strcasecmp(name, suffix + 1) == 0)
		return true;
	if (length > strlen(suffix) && strcasecmp(name + length - strlen(suffix), suffix) == 0)
		return true;
	if (!parse_address(name, &address))
		return false;
	return IN6_IS_ADDR_LOOPBACK(&address) ||
	       (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

bool hm_host_is_same(const char *name, const char *other)
{
	struct in6_addr left;
	struct in6_addr right;

	if (strcasecmp(name, other) == 0)
		return true;
	return parse_address(name, &left) && parse_address(other, &right) &&
	       IN6_ARE_ADDR_EQUAL(&left, &right);
}

enum hm_token hm_token_parse(const char *bytes, size_t count, bool is_whole, char *ret_token,
			     size_t token_bytes)
{
	size_t first = 0;
	size_t end = 0;

	while (end < count && bytes[end] != '\r' && bytes[end] != '\n')
		end++;
	if (end == count && !is_whole)
		return HM_TOKEN_LONG;
	while (first < end && isspace((unsigned char)bytes[first]))
		first++;
	while (end > first && isspace((unsigned char)bytes[end - 1]))
		end--;
	if (first == end)
		return HM_TOKEN_EMPTY;
	if (end - first >= token_bytes)
		return HM_TOKEN_LONG;
	for (size_t i = first; i < end; i++)
		if (iscntrl((unsigned char)bytes[i]) || isspace((unsigned char)bytes[i]))
			return HM_TOKEN_BAD;
	memcpy(ret_token, bytes + first, end - first);
	ret_token[end - first] = '\0';
	return HM_TOKEN_FOUND;
}

bool hm_bearer_matches(const char *authorization, const char *token)
{
	static const char scheme[] = "Bearer ";
	const size_t scheme_length = strlen(scheme);
	const size_t token_length = strlen(token);
	unsigned char difference = 0;

	if (strncasecmp(authorization, scheme, scheme_length) != 0)
		return false;
	authorization += scheme_length;
	authorization += strspn(authorization, blanks);
	const size_t length = trimmed_length(authorization);

	/* as many rounds as the guess is long, whatever the token is; a token is never empty */
	for (size_t i = 0; i < length; i++)
		difference |= (unsigned char)(authorization[i] ^ token[i % token_length]);
	return difference == 0 && length == token_length;
}
