// SPDX-License-Identifier: Apache-2.0
#include "tools/debug_symbols.h"

#include "proto/sort.h"

#include <errno.h>
#include <gelf.h>
#include <string.h>

/* Names longer than this are nobody's, and a table may have gigabytes of them. */
enum { NAME_BYTES_MAX = 64 << 10 };

struct candidate {
	uint64_t start;
	const char *name; /* owned by elfutils; NULL: none */
};

static bool is_better_name(const char *fresh, const char *best)
{
	const size_t fresh_underscores = strspn(fresh, "_");
	const size_t best_underscores = strspn(best, "_");

	if (fresh_underscores != best_underscores)
		return fresh_underscores < best_underscores;
	const size_t fresh_length = strnlen(fresh, NAME_BYTES_MAX);
	const size_t best_length = strnlen(best, NAME_BYTES_MAX);
	if (fresh_length != best_length)
		return fresh_length < best_length;
	return strncmp(fresh, best, NAME_BYTES_MAX) < 0;
}

static bool is_better(const struct candidate *fresh, const struct candidate *best)
{
	if (best->name == NULL || fresh->start != best->start)
		return best->name == NULL || fresh->start > best->start;
	return is_better_name(fresh->name, best->name);
}

static bool has_placeholder(const struct hm_location_name *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (names[i].placeholder)
			return true;
	return false;
}

/* One pass over the table, whatever the number of addresses. */
static void scan(const struct hm_debug_files *files, const uint64_t *addresses, uint32_t count,
		 struct candidate *candidates)
{
	const int symbol_count = dwfl_module_getsymtab(files->module);

	for (int i = 1; i < symbol_count; i++) {
		GElf_Sym symbol;
		GElf_Addr start = 0;
		const char *const name =
			dwfl_module_getsym_info(files->module, i, &symbol, &start, NULL, NULL, NULL);
		const int type = GELF_ST_TYPE(symbol.st_info);

		if (name == NULL || name[0] == '\0' || symbol.st_size == 0 || symbol.st_shndx == SHN_UNDEF ||
		    (type != STT_FUNC && type != STT_GNU_IFUNC))
			continue;
		const struct candidate fresh = { start, name };
		for (uint32_t k = hm_first_from_u64(addresses, count, start);
		     k < count && addresses[k] - start < symbol.st_size; k++) {
			if (is_better(&fresh, &candidates[k]))
				candidates[k] = fresh;
		}
	}
}

static int take_name(struct hm_arena *arena, const char *symbol, struct hm_location_name *name)
{
	struct hm_line *const line = hm_arena_allocate(arena, sizeof(*line));
	const size_t length = strnlen(symbol, NAME_BYTES_MAX);
	const char *const version = memchr(symbol, '@', length);
	char *const copy = hm_arena_copy_text(
		arena, symbol, version != NULL && version != symbol ? (size_t)(version - symbol) : length);

	if (line == NULL || copy == NULL)
		return -ENOMEM;
	line->name = copy;
	line->system_name = copy;
	*name = (struct hm_location_name){ line, 1, false };
	return 0;
}

int hm_debug_symbols_name(const struct hm_debug_files *files, struct hm_arena *arena,
			  const uint64_t *addresses, struct hm_location_name *names, uint32_t count)
{
	struct candidate *candidates = NULL;
	int error = 0;

	if (!has_placeholder(names, count))
		return 0;
	candidates = hm_arena_allocate_array(arena, count, sizeof(*candidates));
	if (candidates == NULL)
		return -ENOMEM;
	scan(files, addresses, count, candidates);
	for (uint32_t i = 0; i < count && error == 0; i++) {
		if (names[i].placeholder && candidates[i].name != NULL)
			error = take_name(arena, candidates[i].name, &names[i]);
	}
	return error;
}
