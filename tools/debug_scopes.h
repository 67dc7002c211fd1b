// SPDX-License-Identifier: Apache-2.0
/*
 * Which namespaces, types and functions an entry of debug information stands in.
 *
 * Debug information goes from the outside in only, and a function that was inlined everywhere has no linker's
 * name to tell: so the scopes of a unit are listed once, as the intervals that they take up in it, when the
 * first name without one is met.
 */
#ifndef HM_TOOLS_DEBUG_SCOPES_H
#define HM_TOOLS_DEBUG_SCOPES_H

#include "proto/arena.h"

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

struct hm_debug_scope {
	const void *start; /* of its entry, in memory */
	const void *end;   /* of what it holds */
	const char *name;  /* owned by elfutils; NULL: it has none */
	uint32_t outer;    /* index + 1; 0: none */
};

struct hm_debug_scopes {
	struct hm_arena *arena; /* borrowed; owns the list */
	Dwarf_CU *unit;         /* whose they are */
	struct hm_debug_scope *list;
	uint32_t count;
	uint32_t room;
	uint64_t *entries_left; /* borrowed; goes down with each entry visited, nothing is done at 0 */
};

/* Lists the scopes of the unit whose uppermost entry is `head`.  What memory does not allow is left out. */
void hm_debug_scopes_list(struct hm_debug_scopes *scopes, Dwarf_Die *head);

/*
 * "main::{lambda}::operator()" for the entry of a function that is called "operator()" there, in memory of
 * the arena; NULL where it stands in no scope, or in another unit, or memory ran out.
 */
const char *hm_debug_scopes_qualify(const struct hm_debug_scopes *scopes, Dwarf_Die *entry, const char *name);

#endif
