// SPDX-License-Identifier: Apache-2.0
/*
 * The test harness: checks that go on after a failure.  A test is a program whose main ends with
 * `return check_result();`; the last line it prints is "N passed, M failed", where a check in a loop is one.
 */
#ifndef HM_TESTS_CHECK_H
#define HM_TESTS_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* One place in the source that checks something, however often it is passed. */
struct check_site {
	const char *file;
	int line;
	bool reached;
	unsigned long failure_count;
};

static unsigned long check_site_count;
static unsigned long check_failed_count;

static inline bool check_report(bool passed, struct check_site *site, const char *text)
{
	enum { SHOWN_MAX = 5 }; /* of each place: a loop over a million cases may fail in all of them */

	if (!site->reached) {
		site->reached = true;
		check_site_count++;
	}
	if (!passed) {
		check_failed_count += site->failure_count == 0;
		if (site->failure_count++ < SHOWN_MAX)
			fprintf(stderr, "%s:%d: failed: %s\n", site->file, site->line, text);
	}
	return passed;
}

static inline bool check_equal(int64_t a, int64_t b, struct check_site *site, const char *text)
{
	if (!check_report(a == b, site, text) && site->failure_count <= 5)
		fprintf(stderr, "\t%" PRId64 " is not %" PRId64 "\n", a, b);
	return a == b;
}

static inline bool check_text_equal(const char *a, const char *b, struct check_site *site, const char *text)
{
	const bool equal = a != NULL && b != NULL && strcmp(a, b) == 0;

	if (!check_report(equal, site, text))
		fprintf(stderr, "\t\"%s\" is not \"%s\"\n", a != NULL ? a : "(null)",
			b != NULL ? b : "(null)");
	return equal;
}

static inline int check_result(void)
{
	printf("%lu passed, %lu failed\n", check_site_count - check_failed_count, check_failed_count);
	return check_failed_count == 0 ? 0 : 1;
}

/* clang-format off */
#define CHECK_SITE() \
	({ static struct check_site check_site_here = { .file = __FILE__, .line = __LINE__ }; &check_site_here; })
/* clang-format on */
#define CHECK(condition) check_report((condition), CHECK_SITE(), #condition)
#define CHECK_EQ(a, b)   check_equal((int64_t)(a), (int64_t)(b), CHECK_SITE(), #a " == " #b)
#define CHECK_STR(a, b)  check_text_equal((a), (b), CHECK_SITE(), #a " is " #b)

#endif
