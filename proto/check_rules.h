// SPDX-License-Identifier: Apache-2.0
/*
 * The rules of profile_check.h as a table, and what its parts have in common.
 *
 * To add a rule: a constant here, a row in check_rules.c, a check that calls hm_check_found, a way to break
 * it in tests/unit/test_check.c, and a line in docs/man/heapmark-check.1.scd.
 */
#ifndef HM_PROTO_CHECK_RULES_H
#define HM_PROTO_CHECK_RULES_H

#include "proto/profile_check.h"

enum hm_check_rule {
	/* check_header.c */
	HM_RULE_FILE_GZIP,
	HM_RULE_FILE_SINGLE,
	HM_RULE_FIELDS_KNOWN,
	HM_RULE_FIELDS_FIRST,
	HM_RULE_FIELDS_ORDER,
	HM_RULE_STRINGS_EMPTY,
	HM_RULE_STRINGS_TEXT,
	HM_RULE_STRINGS_INDEX,
	HM_RULE_TYPES_GO,
	HM_RULE_TYPES_NAME,
	HM_RULE_TYPES_UNIT,
	HM_RULE_TYPES_ONCE,
	HM_RULE_TYPES_COUNT,
	HM_RULE_TYPES_LAST,
	HM_RULE_DEFAULT_TYPE,
	HM_RULE_DEFAULT_LAST,
	HM_RULE_PERIOD_TYPE,
	HM_RULE_PERIOD,
	HM_RULE_PERIOD_UNKNOWN,
	HM_RULE_TIME,
	HM_RULE_TIME_SANE,
	HM_RULE_DURATION,
	HM_RULE_FRAMES_EXPRESSION,
	HM_RULE_FRAMES_SYNTAX,
	HM_RULE_FRAMES_MAIN,
	HM_RULE_COMMENTS_SHORT,
	HM_RULE_COMMENTS_INFO,
	HM_RULE_DOC_URL,
	/* check_samples.c */
	HM_RULE_SAMPLES_NONE,
	HM_RULE_SAMPLES_VALUES,
	HM_RULE_SAMPLES_SIGN,
	HM_RULE_SAMPLES_ZERO,
	HM_RULE_SAMPLES_KEPT,
	HM_RULE_SAMPLES_OBJECTS,
	HM_RULE_SAMPLES_SHOWN,
	HM_RULE_SAMPLES_STACK,
	HM_RULE_SAMPLES_LOCATION,
	HM_RULE_LABELS_KEY,
	HM_RULE_LABELS_RESERVED,
	HM_RULE_LABELS_UNIT,
	HM_RULE_LABELS_ONCE,
	HM_RULE_LABELS_KIND,
	HM_RULE_LABELS_UNITS,
	HM_RULE_LABELS_BYTES,
	HM_RULE_LABELS_DISTINCT,
	HM_RULE_LIMIT_SAMPLES,
	HM_RULE_LIMIT_BYTES,
	HM_RULE_LIMIT_DEPTH,
	HM_RULE_LIMIT_LABELS,
	/* check_tables.c */
	HM_RULE_IDS_ORDER,
	HM_RULE_IDS_SIZE,
	HM_RULE_MAPPINGS_NONE,
	HM_RULE_MAPPINGS_MAIN,
	HM_RULE_MAPPINGS_LIBRARY,
	HM_RULE_MAPPINGS_RANGE,
	HM_RULE_MAPPINGS_PAGES,
	HM_RULE_MAPPINGS_OVERLAP,
	HM_RULE_MAPPINGS_PATH,
	HM_RULE_MAPPINGS_REAL_PATH,
	HM_RULE_MAPPINGS_DELETED,
	HM_RULE_MAPPINGS_BUILD_ID,
	HM_RULE_MAPPINGS_SHORT_ID,
	HM_RULE_MAPPINGS_NAMELESS,
	HM_RULE_LOCATIONS_ADDRESS,
	HM_RULE_LOCATIONS_MAPPING,
	HM_RULE_LOCATIONS_UNMAPPED,
	HM_RULE_LOCATIONS_RANGE,
	HM_RULE_LOCATIONS_TWICE,
	HM_RULE_LOCATIONS_FUNCTION,
	HM_RULE_LOCATIONS_LINE,
	HM_RULE_FLAGS_PROMISE,
	HM_RULE_FLAGS_MODEST,
	HM_RULE_FUNCTIONS_NAME,
	HM_RULE_FUNCTIONS_LINE,
	HM_RULE_FUNCTIONS_MANGLED,
	/* any part */
	HM_RULE_MEMORY,
	HM_RULE_COUNT,
};

/*
 * Any number of messages may name one text, as long as the file: what is asked of each of them is asked of so
 * many bytes at most.  A build id in hexadecimal has 64, names of types a few.
 */
enum { HM_CHECK_SHORT_BYTES = 256 };

struct hm_check {
	const struct hm_profile *profile; /* borrowed */
	hm_profile_report *report;
	void *context;
	struct hm_arena scratch; /* owned; for what has to be sorted or counted */
	uint64_t counts[HM_RULE_COUNT];
};

/* One finding: what is wrong and where.  Text of the file may stand in it as it is. */
void hm_check_found(struct hm_check *check, enum hm_check_rule rule, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Reports the findings that were only counted; returns how many break the profile. */
uint64_t hm_check_conclude(struct hm_check *check);

/* Zeroed scratch memory for `count` elements; NULL where there is none, which is a finding. */
void *hm_check_scratch(struct hm_check *check, size_t count, size_t element_bytes);

const char *hm_check_text(const struct hm_check *check, uint32_t index);

/* Finds that an index leads nowhere; `what` and `number` say where it stands. */
void hm_check_index(struct hm_check *check, uint32_t index, const char *what, uint32_t number);

bool hm_check_is_short(const char *text);

/* The parts of the check: the file, its types and single values; samples and labels; the other tables. */
void hm_check_header(struct hm_check *check);
void hm_check_samples(struct hm_check *check);
void hm_check_tables(struct hm_check *check);

#endif
