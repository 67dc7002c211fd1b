// SPDX-License-Identifier: Apache-2.0
/*
 * Names that were looked up, kept for as long as the tool runs: `heapmark run` writes a profile of every
 * process, and most of them are of the same few programs.
 *
 * An address is known by the file it lies in and its place there, so one answer holds wherever the file is
 * loaded.  A file is known by its build id, or by its path where it has none.
 */
#ifndef HM_TOOLS_SYMBOL_CACHE_H
#define HM_TOOLS_SYMBOL_CACHE_H

#include "proto/arena.h"
#include "proto/names.h"
#include "proto/snapshot.h"
#include "proto/string_table.h"

#include <stdbool.h>
#include <stdint.h>

struct hm_symbol_file {
	uint32_t build_id_size;
	uint8_t build_id[HM_BUILD_ID_MAX];
	const char *path;              /* owned by the cache */
	enum hm_names_outcome outcome; /* of the last look */
	bool is_bad;                   /* reading its debug information failed: it is not tried again */
};

struct hm_symbol_slot {
	uint64_t key; /* 0: empty */
	const struct hm_location_name *name;
};

struct hm_symbol_cache {
	struct hm_arena arena; /* owns everything below */
	struct hm_string_table texts;
	struct hm_symbol_file *files;
	uint32_t file_count;
	uint32_t file_room;
	struct hm_symbol_slot *slots;
	uint32_t slot_count; /* a power of two, at least twice name_count; or 0 */
	uint32_t name_count;
};

/* Most files that are told apart.  Beyond, or when its memory has grown, the cache is to be emptied. */
enum { HM_SYMBOL_FILES_MAX = 32768 };

void hm_symbol_cache_init(struct hm_symbol_cache *cache);
void hm_symbol_cache_done(struct hm_symbol_cache *cache);

/* Whether it should be emptied (done, init) before the next profile: nothing it gave is in use then. */
bool hm_symbol_cache_is_full(const struct hm_symbol_cache *cache);

/* The file of a module, which is new where it was not seen before.  NULL where memory or room ran out.  The
 * pointer holds until the next call. */
struct hm_symbol_file *hm_symbol_cache_file(struct hm_symbol_cache *cache,
					    const struct hm_snapshot_module *module);

/* The names at an address of the file, or NULL; they last as long as the cache. */
const struct hm_location_name *hm_symbol_cache_find(const struct hm_symbol_cache *cache,
						    const struct hm_symbol_file *file, uint64_t address);

/* Stores a copy, in place of none, and returns it; NULL where memory ran out. */
const struct hm_location_name *hm_symbol_cache_insert(struct hm_symbol_cache *cache,
						      const struct hm_symbol_file *file, uint64_t address,
						      const struct hm_location_name *name);

#endif
