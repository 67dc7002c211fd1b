// SPDX-License-Identifier: Apache-2.0
#include "tools/symbol_cache.h"

#include <string.h>

enum {
	FILES_FIRST = 64,
	SLOTS_FIRST = 4096,
	ADDRESS_BITS = 48,
	/* Some 500,000 names; a process that is profiled has a few thousand. */
	MEMORY_BYTES_MAX = 256 << 20,
};

void hm_symbol_cache_init(struct hm_symbol_cache *cache)
{
	*cache = (struct hm_symbol_cache){ 0 };
	hm_arena_init(&cache->arena, SIZE_MAX);
	hm_string_table_init(&cache->texts, &cache->arena);
}

void hm_symbol_cache_done(struct hm_symbol_cache *cache)
{
	hm_arena_done(&cache->arena);
}

bool hm_symbol_cache_is_full(const struct hm_symbol_cache *cache)
{
	return cache->texts.failed || cache->file_count > HM_SYMBOL_FILES_MAX / 2 ||
	       cache->arena.mapped_bytes > MEMORY_BYTES_MAX;
}

static bool is_file_of(const struct hm_symbol_file *file, const struct hm_snapshot_module *module)
{
	if (file->build_id_size != module->build_id_size)
		return false;
	if (file->build_id_size > 0)
		return memcmp(file->build_id, module->build_id, file->build_id_size) == 0;
	return strcmp(file->path, module->path) == 0;
}

static bool grow_files(struct hm_symbol_cache *cache)
{
	const uint32_t room = cache->file_room == 0 ? FILES_FIRST : 2 * cache->file_room;
	struct hm_symbol_file *const files = hm_arena_allocate_array(&cache->arena, room, sizeof(*files));

	if (files == NULL)
		return false;
	if (cache->file_count > 0)
		memcpy(files, cache->files, cache->file_count * sizeof(*files));
	cache->files = files;
	cache->file_room = room;
	return true;
}

struct hm_symbol_file *hm_symbol_cache_file(struct hm_symbol_cache *cache,
					    const struct hm_snapshot_module *module)
{
	for (uint32_t i = 0; i < cache->file_count; i++)
		if (is_file_of(&cache->files[i], module))
			return &cache->files[i];
	if (cache->file_count == HM_SYMBOL_FILES_MAX ||
	    (cache->file_count == cache->file_room && !grow_files(cache)))
		return NULL;

	const char *const path = hm_arena_copy_text(&cache->arena, module->path, strlen(module->path));

	if (path == NULL)
		return NULL;
	struct hm_symbol_file *const file = &cache->files[cache->file_count++];

	*file = (struct hm_symbol_file){ .build_id_size = module->build_id_size, .path = path };
	memcpy(file->build_id, module->build_id, module->build_id_size);
	return file;
}

static uint64_t make_key(const struct hm_symbol_cache *cache, const struct hm_symbol_file *file,
			 uint64_t address)
{
	return (uint64_t)(file - cache->files + 1) << ADDRESS_BITS |
	       (address & ((UINT64_C(1) << ADDRESS_BITS) - 1));
}

static struct hm_symbol_slot *find_slot(const struct hm_symbol_cache *cache, uint64_t key)
{
	const uint32_t mask = cache->slot_count - 1;
	/* Multiplied by 2^64 / golden ratio, the high bits of the product depend on all of the key. */
	uint32_t slot = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (cache->slots[slot].key != 0 && cache->slots[slot].key != key)
		slot = (slot + 1) & mask;
	return &cache->slots[slot];
}

static bool grow_slots(struct hm_symbol_cache *cache)
{
	const struct hm_symbol_slot *const old = cache->slots;
	const uint32_t old_count = cache->slot_count;
	const uint32_t count = old_count == 0 ? SLOTS_FIRST : 2 * old_count;
	struct hm_symbol_slot *const slots = hm_arena_allocate_array(&cache->arena, count, sizeof(*slots));

	if (slots == NULL)
		return false;
	cache->slots = slots;
	cache->slot_count = count;
	for (uint32_t i = 0; i < old_count; i++)
		if (old[i].key != 0)
			*find_slot(cache, old[i].key) = old[i];
	return true;
}

const struct hm_location_name *hm_symbol_cache_find(const struct hm_symbol_cache *cache,
						    const struct hm_symbol_file *file, uint64_t address)
{
	return cache->slot_count == 0 ? NULL : find_slot(cache, make_key(cache, file, address))->name;
}

static const char *keep_text(struct hm_symbol_cache *cache, const char *text)
{
	if (text == NULL)
		return NULL;

	/* A statement of its own: it may move the array of texts. */
	const uint32_t index = hm_string_table_index(&cache->texts, text);

	return cache->texts.texts[index];
}

static const struct hm_location_name *copy_name(struct hm_symbol_cache *cache,
						const struct hm_location_name *name)
{
	struct hm_location_name *const copy = hm_arena_allocate(&cache->arena, sizeof(*copy));
	struct hm_line *const lines =
		hm_arena_allocate_array(&cache->arena, name->line_count, sizeof(*lines));

	if (copy == NULL || lines == NULL)
		return NULL;
	for (uint32_t i = 0; i < name->line_count; i++) {
		lines[i] = name->lines[i];
		lines[i].name = keep_text(cache, name->lines[i].name);
		lines[i].system_name = keep_text(cache, name->lines[i].system_name);
		lines[i].file = keep_text(cache, name->lines[i].file);
	}
	*copy = (struct hm_location_name){ lines, name->line_count, name->placeholder };
	return cache->texts.failed ? NULL : copy;
}

const struct hm_location_name *hm_symbol_cache_insert(struct hm_symbol_cache *cache,
						      const struct hm_symbol_file *file, uint64_t address,
						      const struct hm_location_name *name)
{
	if (cache->slot_count < 2 * (cache->name_count + 1) && !grow_slots(cache))
		return NULL;

	struct hm_symbol_slot *const slot = find_slot(cache, make_key(cache, file, address));

	if (slot->key == 0) {
		const struct hm_location_name *const copy = copy_name(cache, name);

		if (copy == NULL)
			return NULL;
		*slot = (struct hm_symbol_slot){ make_key(cache, file, address), copy };
		cache->name_count++;
	}
	return slot->name;
}
