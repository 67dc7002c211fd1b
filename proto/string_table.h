// SPDX-License-Identifier: Apache-2.0
/* The table of texts of a profile: each text once, named by its index; index 0 is "". */
#ifndef HM_PROTO_STRING_TABLE_H
#define HM_PROTO_STRING_TABLE_H

#include "proto/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hm_string_table {
	struct hm_arena *arena; /* borrowed */
	const char **texts;     /* `count` of them, in order of their first use */
	uint32_t *slots;        /* hash table: index + 1 of a text; 0: empty */
	uint32_t count;
	uint32_t capacity; /* of texts; slots are twice as many */
	char *clean;       /* room for one text made clean, used again for each */
	size_t clean_capacity_bytes;
	bool failed; /* memory ran out: indexes since then are 0 */
};

/* Makes a table that holds "" alone. */
void hm_string_table_init(struct hm_string_table *table, struct hm_arena *arena);

/* Returns the index of `text`, made clean by hm_text_clean, which is stored where it is new. */
uint32_t hm_string_table_index(struct hm_string_table *table, const char *text);

#endif
