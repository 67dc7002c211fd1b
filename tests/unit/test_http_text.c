// SPDX-License-Identifier: Apache-2.0
/* The parts of a request that are ours to understand, as tables: what is taken, and as what. */
#include "tests/unit/check.h"
#include "tools/http_text.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void test_paths(void)
{
	static const struct {
		const char *target;
		const char *path; /* NULL: refused */
	} rows[] = {
		{ "/", "/" },
		{ "/a/b?c=d", "/a/b" },
		{ "/a#b?c", "/a" },
		{ "/%61%2fb%20+", "/a/b +" },
		{ "/a%00b", NULL },
		{ "/a%", NULL },
		{ "/a%6", NULL },
		{ "/a%6?1", NULL },
		{ "/a%6g", NULL },
		{ "/%C3%A4", "/\xc3\xa4" },
		{ "/1234567", "/1234567" },
		{ "/12345678", NULL }, /* does not fit */
		{ "/%31%32%33%34%35%36%37%38", NULL },
		{ "http://evil/", NULL },
		{ "*", NULL },
		{ "", "/" },
		{ "?a", "/" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char path[9] = "";
		const bool taken = hm_http_path(rows[i].target, path, sizeof(path));

		CHECK_EQ(taken, rows[i].path != NULL);
		if (taken && rows[i].path != NULL)
			CHECK_STR(path, rows[i].path);
	}
}

static void test_targets(void)
{
	static const struct {
		const char *target;
		const char *authority; /* NULL: refused */
		const char *rest;
	} rows[] = {
		{ "/a?b", "", "/a?b" },
		{ "//a/b", "", "//a/b" },
		{ "http://a/b?c", "a", "/b?c" },
		{ "HTTP://a:1/", "a:1", "/" },
		{ "http://a", "a", "" },
		{ "http://a?b", "a", "?b" },
		{ "http://a#b", "a", "#b" },
		{ "http://u@a/", "u@a", "/" },
		{ "http://1234567/", "1234567", "/" },
		{ "http://12345678/", NULL, "" }, /* does not fit */
		{ "http:///a", NULL, "" },
		{ "http://", NULL, "" },
		{ "http:/a", NULL, "" },
		{ "https://a/", NULL, "" },
		{ "a:80", NULL, "" },
		{ "*", NULL, "" },
		{ "", NULL, "" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char authority[8] = "";
		const char *rest = "";
		const bool taken = hm_http_target(rows[i].target, authority, sizeof(authority), &rest);

		CHECK_EQ(taken, rows[i].authority != NULL);
		CHECK_STR(rest, rows[i].rest);
		if (taken && rows[i].authority != NULL)
			CHECK_STR(authority, rows[i].authority);
	}
}

static void test_clean_paths(void)
{
	/* what Go's path.Clean makes of them, with the '/' at the end as its mux has it */
	static const struct {
		const char *path;
		const char *clean;
	} rows[] = {
		{ "/", "/" },
		{ "//", "/" },
		{ "/a/b", "/a/b" },
		{ "/a/b/", "/a/b/" },
		{ "//a//b", "/a/b" },
		{ "/a//", "/a/" },
		{ "/a/.", "/a" },
		{ "/a/./", "/a/" },
		{ "/a/./b", "/a/b" },
		{ "/a/../b", "/b" },
		{ "/a/b/..", "/a" },
		{ "/a/b/../", "/a/" },
		{ "/..", "/" },
		{ "/../../a", "/a" },
		{ "/a/...", "/a/..." },
		{ "/.a/..b/c.", "/.a/..b/c." },
		{ "/a//b/./c/../d/", "/a/b/d/" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char clean[32];

		CHECK_EQ(hm_http_clean_path(rows[i].path, clean), strcmp(rows[i].path, rows[i].clean) != 0);
		CHECK_STR(clean, rows[i].clean);
	}
}

static void test_locations(void)
{
	static const struct {
		const char *path;
		const char *query;
		const char *text; /* NULL: does not fit */
	} rows[] = {
		{ "/a-b/c.d", "", "/a-b/c.d" },
		{ "/a", "b=%20&c", "/a?b=%20&c" },
		{ "/a", "b#c", "/a?b" },
		{ "/\\e:", "", "/%5Ce%3A" },
		{ "/a\r\nb?", "c\r\n d", "/a%0D%0Ab%3F?c%0D%0A%20d" },
		{ "/\xc3\xa4", "\xc3\"", "/%C3%A4?%C3%22" },
		{ "/34567890123456789012345678901", "", "/34567890123456789012345678901" },
		{ "/345678901234567890123456789012", "", "/345678901234567890123456789012" },
		{ "/3456789012345678901234567890123", "", NULL },
		{ "/34567890123456789012345678901 ", "", NULL },
		{ "/34567890123456789012345678901", "a", NULL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[32] = "";
		const bool fits = hm_http_location(rows[i].path, rows[i].query, text, sizeof(text));

		CHECK_EQ(fits, rows[i].text != NULL);
		if (fits && rows[i].text != NULL)
			CHECK_STR(text, rows[i].text);
	}
}

static void test_trim(void)
{
	char text[4] = "";

	CHECK(hm_http_trim("a", text, sizeof(text)));
	CHECK_STR(text, "a");
	CHECK(hm_http_trim("\t a c \t ", text, sizeof(text)));
	CHECK_STR(text, "a c");
	CHECK(hm_http_trim("  ", text, sizeof(text)));
	CHECK_STR(text, "");
	CHECK(!hm_http_trim("abcd", text, sizeof(text)));
}

static void test_queries(void)
{
	static const struct {
		const char *query;
		enum hm_query found;
		const char *value;
	} rows[] = {
		{ "", HM_QUERY_ABSENT, "" },
		{ "pid=1", HM_QUERY_FOUND, "1" },
		{ "a=2&pid=1&b", HM_QUERY_FOUND, "1" },
		{ "pid=1&pid=2", HM_QUERY_FOUND, "1" },
		{ "pid", HM_QUERY_FOUND, "" },
		{ "pid=", HM_QUERY_FOUND, "" },
		{ "pid&a", HM_QUERY_FOUND, "" },
		{ "&&pid=1", HM_QUERY_FOUND, "1" },
		{ "pid=1=2", HM_QUERY_FOUND, "1=2" },
		{ "pid=%31+a", HM_QUERY_FOUND, "1 a" },
		{ "pid=1#pid=2", HM_QUERY_FOUND, "1" },
		{ "a#pid=1", HM_QUERY_ABSENT, "" },
		{ "xpid=1", HM_QUERY_ABSENT, "" },
		{ "pidx=1", HM_QUERY_ABSENT, "" },
		{ "PID=1", HM_QUERY_ABSENT, "" },
		{ "%70id=1", HM_QUERY_FOUND, "1" },
		{ "a=2&p%69%64=1", HM_QUERY_FOUND, "1" },
		{ "%zzpid=2&pid=1", HM_QUERY_FOUND, "1" },
		{ "pid%00=2&pid=1", HM_QUERY_FOUND, "1" },
		{ "pid%3d1", HM_QUERY_ABSENT, "" },
		{ "a=pid=1", HM_QUERY_ABSENT, "" },
		{ "pid=%", HM_QUERY_BAD, "" },
		{ "pid=%0", HM_QUERY_BAD, "" },
		{ "pid=%00", HM_QUERY_BAD, "" },
		{ "pid=1%&3", HM_QUERY_BAD, "" },
		{ "pid=1234567", HM_QUERY_FOUND, "1234567" },
		{ "pid=12345678", HM_QUERY_BAD, "" }, /* does not fit */
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char value[8] = "";
		const enum hm_query found = hm_query_find(rows[i].query, "pid", value, sizeof(value));

		CHECK_EQ(found, rows[i].found);
		if (found == HM_QUERY_FOUND)
			CHECK_STR(value, rows[i].value);
	}
	CHECK_STR(hm_http_query("/a?b?c"), "b?c");
	CHECK_STR(hm_http_query("/a"), "");
}

static void test_hosts(void)
{
	static const struct {
		const char *text;
		const char *name; /* NULL: refused */
		int port;         /* -1: none */
	} rows[] = {
		{ "localhost", "localhost", -1 },
		{ "LocalHost:8080", "localhost", 8080 },
		{ "a.example.:1", "a.example", 1 },
		{ "127.0.0.1:0", "127.0.0.1", 0 },
		{ "[::1]:6060", "::1", 6060 },
		{ "[::1]", "::1", -1 },
		{ "[fe80::1%eth0]:1", "fe80::1%eth0", 1 },
		{ ":6060", "", 6060 },
		{ "", "", -1 },
		{ ".", "", -1 },
		{ "a_b-c.d", "a_b-c.d", -1 },
		{ "::1", NULL, 0 },
		{ "[::1", NULL, 0 },
		{ "[::1]x", NULL, 0 },
		{ "[::1]]", NULL, 0 },
		{ "a:", "a", -1 },
		{ "[::1]:", "::1", -1 },
		{ "a::", NULL, 0 },
		{ "a:b", NULL, 0 },
		{ "a:65536", NULL, 0 },
		{ "a:-1", NULL, 0 },
		{ "a:1:2", NULL, 0 },
		{ "a: 1", NULL, 0 },
		{ "a b", NULL, 0 },
		{ "a/b", NULL, 0 },
		{ "a@b", NULL, 0 },
		{ "a,b", NULL, 0 },
		{ "\xc3\xa4", NULL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct hm_host host = { .has_port = false };
		const bool taken = hm_host_parse(rows[i].text, &host);

		CHECK_EQ(taken, rows[i].name != NULL);
		if (!taken || rows[i].name == NULL)
			continue;
		CHECK_STR(host.name, rows[i].name);
		CHECK_EQ(host.has_port ? host.port : -1, rows[i].port);
	}
}

static void test_loopback(void)
{
	static const char *const own[] = { "localhost",   "LOCALHOST", "a.localhost", "127.0.0.1",
					   "127.255.1.2", "::1",       "0:0::1",      "::ffff:127.0.0.1" };
	static const char *const others[] = { "",
					      "localhost.example",
					      "notlocalhost",
					      ".localhost",
					      "127.0.0.1.example",
					      "127.1",
					      "128.0.0.1",
					      "0.0.0.0",
					      "::",
					      "::ffff:10.0.0.1",
					      "127.0.0.1%lo" };

	for (size_t i = 0; i < COUNT(own); i++)
		CHECK(hm_host_is_loopback(own[i]));
	for (size_t i = 0; i < COUNT(others); i++)
		CHECK(!hm_host_is_loopback(others[i]));
	CHECK(hm_host_is_same("A.example", "a.EXAMPLE"));
	CHECK(hm_host_is_same("::1", "0:0:0::1"));
	CHECK(hm_host_is_same("10.0.0.1", "::ffff:10.0.0.1"));
	CHECK(!hm_host_is_same("10.0.0.1", "10.0.0.2"));
	CHECK(!hm_host_is_same("a", "b"));
}

static void test_token_files(void)
{
#define TEXT(text) text, sizeof(text) - 1
	static const struct {
		const char *bytes;
		size_t count;
		enum hm_token found;
		const char *token;
		bool is_cut;
	} rows[] = {
		{ TEXT("s3cret"), HM_TOKEN_FOUND, "s3cret", false },
		{ TEXT("s3cret\n"), HM_TOKEN_FOUND, "s3cret", true },
		{ TEXT("s3cret\r\nmore\0x"), HM_TOKEN_FOUND, "s3cret", true },
		{ TEXT(" \t s3cret\t \n"), HM_TOKEN_FOUND, "s3cret", true },
		{ TEXT("\xc3\xa4\n"), HM_TOKEN_FOUND, "\xc3\xa4", true },
		{ TEXT("1234567\n"), HM_TOKEN_FOUND, "1234567", false },
		{ TEXT("12345678\n"), HM_TOKEN_LONG, "", false },
		{ TEXT("s3cret"), HM_TOKEN_LONG, "", true },
		{ TEXT(""), HM_TOKEN_EMPTY, "", false },
		{ TEXT("\ns3cret"), HM_TOKEN_EMPTY, "", false },
		{ TEXT(" \t\r\n"), HM_TOKEN_EMPTY, "", false },
		{ TEXT("s3 cret\n"), HM_TOKEN_BAD, "", false },
		{ TEXT("s3\0cret\n"), HM_TOKEN_BAD, "", false },
		{ TEXT("\0\n"), HM_TOKEN_BAD, "", false },
		{ TEXT("s3\x7f\n"), HM_TOKEN_BAD, "", false },
	};
#undef TEXT

	for (size_t i = 0; i < COUNT(rows); i++) {
		char token[8] = "";

		CHECK_EQ(hm_token_parse(rows[i].bytes, rows[i].count, !rows[i].is_cut, token, sizeof(token)),
			 rows[i].found);
		CHECK_STR(token, rows[i].token);
	}
}

static void test_tokens(void)
{
	static const struct {
		const char *authorization;
		bool matches;
	} rows[] = {
		{ "Bearer s3cret", true },
		{ "bearer   s3cret", true },
		{ "Bearer s3cret ", true },
		{ "Bearer \t s3cret\t ", true },
		{ "Bearer s3 cret", false },
		{ "Bearer   ", false },
		{ "Bearer s3cre", false },
		{ "Bearer s3crets3cret", false },
		{ "Bearer S3cret", false },
		{ "Bearer ", false },
		{ "Bearer", false },
		{ "Bearers3cret", false },
		{ "Basic s3cret", false },
		{ "s3cret", false },
		{ "", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		CHECK_EQ(hm_bearer_matches(rows[i].authorization, "s3cret"), rows[i].matches);
}

int main(void)
{
	test_paths();
	test_targets();
	test_clean_paths();
	test_locations();
	test_trim();
	test_queries();
	test_hosts();
	test_loopback();
	test_token_files();
	test_tokens();
	return check_result();
}
