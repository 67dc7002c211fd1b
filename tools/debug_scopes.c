// SPDX-License-Identifier: Apache-2.0
#include "tools/debug_scopes.h"

#include <dwarf.h>
#include <string.h>

enum {
	TREE_DEPTH_MAX = 256,
	SCOPES_FIRST = 256,
	ORIGINS_MAX = 16,    /* as libdw follows them */
	QUALIFIERS_MAX = 32, /* of one name; those further out are left away */
	NAME_BYTES_MAX = 64 << 10,
};

static bool grow(struct hm_debug_scopes *scopes)
{
	const uint32_t room = scopes->room == 0 ? SCOPES_FIRST : 2 * scopes->room;
	struct hm_debug_scope *const list = hm_arena_allocate_array(scopes->arena, room, sizeof(*list));

	if (list == NULL)
		return false;
	if (scopes->count > 0)
		memcpy(list, scopes->list, scopes->count * sizeof(*list));
	scopes->list = list;
	scopes->room = room;
	return true;
}

/* A name for an entry that may have none of its own. */
static const char *name_of(Dwarf_Die *entry, int tag)
{
	const char *const name = dwarf_diename(entry);

	if (tag == DW_TAG_namespace && name == NULL)
		return "(anonymous namespace)";
	if (tag != DW_TAG_namespace && tag != DW_TAG_subprogram &&
	    (name == NULL || strncmp(name, "<lambda", strlen("<lambda")) == 0))
		return "{lambda}";
	return name;
}

static bool is_scope(int tag)
{
	switch (tag) {
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_subprogram:
		return true;
	default:
		return false;
	}
}

static void list_children(struct hm_debug_scopes *scopes, Dwarf_Die *parent, uint32_t outer, uint32_t depth);

/* Returns the index + 1 of the scope that the entry makes, or `outer`. */
static uint32_t list_entry(struct hm_debug_scopes *scopes, Dwarf_Die *entry, uint32_t outer, uint32_t depth)
{
	const int tag = dwarf_tag(entry);
	uint32_t index = outer;

	if (is_scope(tag) && dwarf_haschildren(entry) > 0) {
		if (scopes->count == scopes->room && !grow(scopes))
			return outer;
		scopes->list[scopes->count++] = (struct hm_debug_scope){
			.start = entry->addr,
			.name = name_of(entry, tag),
			.outer = outer,
		};
		index = scopes->count;
	}
	if (index != outer || tag == DW_TAG_lexical_block)
		list_children(scopes, entry, index, depth);
	return index;
}

/* Forward only: a reference back would have no end. */
static void list_children(struct hm_debug_scopes *scopes, Dwarf_Die *parent, uint32_t outer, uint32_t depth)
{
	Dwarf_Die entry;

	if (depth == TREE_DEPTH_MAX || dwarf_child(parent, &entry) != 0)
		return;
	while (*scopes->entries_left > 0) {
		const void *const before = entry.addr;

		--*scopes->entries_left;
		const uint32_t index = list_entry(scopes, &entry, outer, depth + 1);
		const bool is_last = dwarf_siblingof(&entry, &entry) != 0 || entry.addr <= before;
		if (index != outer)
			/* the last of all reaches to where its own parent ends */
			scopes->list[index - 1].end = is_last ? NULL : entry.addr;
		if (is_last)
			break;
	}
}

void hm_debug_scopes_list(struct hm_debug_scopes *scopes, Dwarf_Die *head)
{
	scopes->unit = head->cu;
	list_children(scopes, head, 0, 0);
	for (uint32_t i = 0; i < scopes->count; i++) {
		struct hm_debug_scope *const scope = &scopes->list[i];

		if (scope->end == NULL && scope->outer != 0)
			scope->end = scopes->list[scope->outer - 1].end;
	}
}

/* The innermost scope around an address in memory; index + 1, or 0. */
static uint32_t find_around(const struct hm_debug_scopes *scopes, const void *address)
{
	uint32_t low = 0;
	uint32_t high = scopes->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (scopes->list[middle].start < address)
			low = middle + 1;
		else
			high = middle;
	}
	while (low != 0 && scopes->list[low - 1].end != NULL && scopes->list[low - 1].end <= address)
		low = scopes->list[low - 1].outer;
	return low;
}

/* Where the function is declared: that is what stands in a namespace or a type. */
static Dwarf_Die find_declaration(Dwarf_Die *entry)
{
	Dwarf_Die declaration = *entry;

	for (int i = 0; i < ORIGINS_MAX; i++) {
		Dwarf_Attribute attribute;
		Dwarf_Die next;

		if (dwarf_attr(&declaration, DW_AT_abstract_origin, &attribute) == NULL &&
		    dwarf_attr(&declaration, DW_AT_specification, &attribute) == NULL)
			break;
		if (dwarf_formref_die(&attribute, &next) == NULL)
			break;
		declaration = next;
	}
	return declaration;
}

const char *hm_debug_scopes_qualify(const struct hm_debug_scopes *scopes, Dwarf_Die *entry, const char *name)
{
	const char *parts[QUALIFIERS_MAX];
	const Dwarf_Die declaration = find_declaration(entry);
	size_t size_bytes = strnlen(name, NAME_BYTES_MAX) + 1;
	uint32_t count = 0;
	char *qualified;

	if (declaration.cu != scopes->unit)
		return NULL;
	for (uint32_t at = find_around(scopes, declaration.addr); at != 0 && count < QUALIFIERS_MAX;
	     at = scopes->list[at - 1].outer) {
		if (scopes->list[at - 1].name == NULL)
			continue;
		parts[count] = scopes->list[at - 1].name;
		size_bytes += strnlen(parts[count++], NAME_BYTES_MAX) + strlen("::");
	}
	qualified = count > 0 && size_bytes <= NAME_BYTES_MAX ? hm_arena_allocate(scopes->arena, size_bytes)
							      : NULL;
	if (qualified == NULL)
		return NULL;
	char *to = qualified;
	while (count > 0) {
		to = stpcpy(to, parts[--count]);
		to = stpcpy(to, "::");
	}
	(void)stpcpy(to, name);
	return qualified;
}
