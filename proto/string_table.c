// SPDX-License-Identifier: Apache-2.0
#include "proto/string_table.h"

#include "proto/text.h"

#include <string.h>

enum { CAPACITY_FIRST = 1024 };

static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 32;
}

/* The slot of `text`, or the empty one where it belongs.  Half of all slots are empty at least. */
static uint32_t *find_slot(const struct hm_string_table *table, const char *text)
{
	const uint32_t mask = 2 * table->capacity - 1;
	uint32_t slot = (uint32_t)hash_text(text) & mask;

	while (table->slots[slot] != 0 && strcmp(table->texts[table->slots[slot] - 1], text) != 0)
		slot = (slot + 1) & mask;
	return &table->slots[slot];
}

static bool grow(struct hm_string_table *table)
{
	const uint32_t capacity = table->capacity == 0 ? CAPACITY_FIRST : 2 * table->capacity;
	const char **const texts = hm_arena_allocate_array(table->arena, capacity, sizeof(*texts));
	uint32_t *const slots = hm_arena_allocate_array(table->arena, 2 * (size_t)capacity, sizeof(*slots));

	if (texts == NULL || slots == NULL)
		return false;
	if (table->count > 0)
		memcpy(texts, table->texts, table->count * sizeof(*texts));
	table->texts = texts;
	table->slots = slots;
	table->capacity = capacity;
	for (uint32_t i = 0; i < table->count; i++)
		*find_slot(table, texts[i]) = i + 1;
	return true;
}

void hm_string_table_init(struct hm_string_table *table, struct hm_arena *arena)
{
	*table = (struct hm_string_table){ .arena = arena };
	hm_string_table_index(table, "");
}

/* `text` itself or its clean form, valid until the next call; NULL: no memory. */
static const char *make_clean(struct hm_string_table *table, const char *text)
{
	const size_t length_bytes = hm_text_clean_length(text);

	if (length_bytes == strlen(text))
		return text;
	if (length_bytes >= table->clean_capacity_bytes) {
		table->clean_capacity_bytes = 2 * (length_bytes + 1);
		table->clean = hm_arena_allocate(table->arena, table->clean_capacity_bytes);
	}
	if (table->clean != NULL)
		hm_text_clean(text, table->clean);
	return table->clean;
}

uint32_t hm_string_table_index(struct hm_string_table *table, const char *text)
{
	const char *const clean = table->failed ? NULL : make_clean(table, text);

	if (clean == NULL || (table->count == table->capacity && !grow(table))) {
		table->failed = true;
		return 0;
	}
	uint32_t *const slot = find_slot(table, clean);
	if (*slot != 0)
		return *slot - 1;
	/* Callers' texts, and the clean one, last for the call only. */
	const char *const kept = hm_arena_copy_text(table->arena, clean, strlen(clean));
	if (kept == NULL) {
		table->failed = true;
		return 0;
	}
	table->texts[table->count++] = kept;
	*slot = table->count;
	return table->count - 1;
}
