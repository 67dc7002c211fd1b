// SPDX-License-Identifier: Apache-2.0
#include "tools/debug_info.h"

#include "tools/debug_scopes.h"
#include "tools/demangle.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <libelf.h>
#include <stddef.h>
#include <string.h>

enum {
	TREE_DEPTH_MAX = 256,
	FRAMES_MAX = TREE_DEPTH_MAX, /* a function inlined into another lies deeper in the tree */
	NO_UNIT = UINT32_MAX,
	PATH_BYTES_MAX = 64 << 10,
	/* An entry takes a byte at least, and compressed information is not packed better than this. */
	ENTRIES_PER_FILE_BYTE = 16,
};

/* A function, or one that was inlined, around some of the addresses. */
struct scope {
	Dwarf_Die entry;
	const struct scope *outer; /* NULL: the function that really exists */
};

struct place {
	uint64_t unit_start;       /* of the range by which it was given its unit */
	uint32_t unit;             /* index, or NO_UNIT */
	const struct scope *scope; /* the innermost; NULL: none, or not yet */
};

struct unit {
	Dwarf_Die head; /* has the ranges and the lines */
	Dwarf_Die tree; /* has the functions: the same, but where they are in a .dwo file */
	uint32_t place_count;
};

/* A walk through the functions of one unit. */
struct walk {
	struct namer *namer;
	uint32_t unit;
	bool everywhere; /* also where functions are not usually found: in types and in other functions */
};

struct namer {
	const struct hm_debug_files *files; /* borrowed; so is the next */
	const struct hm_debug_query *query;
	struct hm_arena arena;   /* of all units */
	struct hm_arena scratch; /* of one unit */
	struct place *places;    /* one for each address */
	struct unit *units;
	uint32_t unit_count;
	uint32_t unit_room;
	uint64_t entries_left;         /* to be visited, of the whole file */
	struct unit *unit;             /* the one whose addresses are being named */
	struct hm_debug_scopes scopes; /* of that unit, once they were needed */
	uint32_t answered_count;
	int error;
};

static uint64_t dwarf_address(const struct namer *namer, uint32_t place)
{
	return namer->query->addresses[place] - namer->files->dwarf_bias;
}

/* Index of the first address from `address` on, as debug information counts them. */
static uint32_t first_from(const struct namer *namer, uint64_t address)
{
	uint32_t low = 0;
	uint32_t high = namer->query->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (dwarf_address(namer, middle) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* --- Units -------------------------------------------------------------------------------------------- */

/* Gives the addresses in one range of a unit to it.  Of ranges that overlap, the one that starts last has
 * them: code that the linker left out keeps its information, with addresses from 0 on. */
static void claim_range(struct namer *namer, uint32_t unit, uint64_t start, uint64_t end)
{
	for (uint32_t i = first_from(namer, start); i < namer->query->count && dwarf_address(namer, i) < end;
	     i++) {
		struct place *const place = &namer->places[i];

		if (place->unit != NO_UNIT && place->unit_start >= start)
			continue;
		place->unit = unit;
		place->unit_start = start;
	}
}

static bool add_unit(struct namer *namer, const struct unit *unit)
{
	if (namer->unit_count == namer->unit_room) {
		const uint32_t room = namer->unit_room == 0 ? 256 : 2 * namer->unit_room;
		struct unit *const units = hm_arena_allocate_array(&namer->arena, room, sizeof(*units));

		if (units == NULL)
			return false;
		if (namer->unit_count > 0)
			memcpy(units, namer->units, namer->unit_count * sizeof(*units));
		namer->units = units;
		namer->unit_room = room;
	}
	namer->units[namer->unit_count++] = *unit;
	return true;
}

/* Goes over the heads of all units. */
static void find_units(struct namer *namer)
{
	Dwarf_CU *cu = NULL;
	Dwarf_CU *next = NULL;
	struct unit unit;
	uint8_t kind = 0;
	Dwarf_Die split;

	while (namer->entries_left > 0 &&
	       dwarf_get_units(namer->files->dwarf, cu, &next, NULL, &kind, &unit.head, &split) == 0) {
		Dwarf_Addr base = 0;
		Dwarf_Addr start = 0;
		Dwarf_Addr end = 0;
		ptrdiff_t at = 0;

		namer->entries_left--;
		cu = next;
		if (kind != DW_UT_compile && kind != DW_UT_skeleton)
			continue;
		unit.tree = kind == DW_UT_skeleton && split.addr != NULL ? split : unit.head;
		unit.place_count = 0;
		while (namer->entries_left > 0 &&
		       (at = dwarf_ranges(&unit.head, at, &base, &start, &end)) > 0) {
			namer->entries_left--;
			claim_range(namer, namer->unit_count, start, end);
		}
		if (!add_unit(namer, &unit)) {
			namer->error = -ENOMEM;
			return;
		}
	}
	for (uint32_t i = 0; i < namer->query->count; i++) {
		if (namer->places[i].unit != NO_UNIT)
			namer->units[namer->places[i].unit].place_count++;
	}
}

/* --- Functions ---------------------------------------------------------------------------------------- */

/*
 * Puts the addresses in the ranges of `entry` into a scope of its own, within `outer`.  Returns that scope,
 * or NULL where no address is in it.
 */
static const struct scope *enter_scope(const struct walk *walk, Dwarf_Die *entry, const struct scope *outer)
{
	struct namer *const namer = walk->namer;
	struct scope *scope = NULL;
	Dwarf_Addr base = 0;
	Dwarf_Addr start = 0;
	Dwarf_Addr end = 0;
	ptrdiff_t at = 0;

	while (namer->entries_left > 0 && (at = dwarf_ranges(entry, at, &base, &start, &end)) > 0) {
		namer->entries_left--;
		for (uint32_t i = first_from(namer, start);
		     i < namer->query->count && dwarf_address(namer, i) < end; i++) {
			struct place *const place = &namer->places[i];

			/* What says that it is inlined here must lie in what it was inlined into. */
			if (place->unit != walk->unit || (outer != NULL && place->scope != outer))
				continue;
			if (scope == NULL)
				scope = hm_arena_allocate(&namer->scratch, sizeof(*scope));
			if (scope == NULL) {
				namer->error = -ENOMEM;
				return NULL;
			}
			*scope = (struct scope){ .entry = *entry, .outer = outer };
			place->scope = scope;
		}
	}
	return scope;
}

static void walk_children(const struct walk *walk, Dwarf_Die *parent, const struct scope *scope,
			  uint32_t depth);

static void walk_entry(const struct walk *walk, Dwarf_Die *entry, const struct scope *scope, uint32_t depth)
{
	const struct scope *inner = NULL;

	switch (dwarf_tag(entry)) {
	case DW_TAG_subprogram:
		inner = enter_scope(walk, entry, NULL);
		if (inner != NULL || walk->everywhere)
			walk_children(walk, entry, inner, depth);
		break;
	case DW_TAG_inlined_subroutine:
		inner = scope != NULL ? enter_scope(walk, entry, scope) : NULL;
		if (inner != NULL)
			walk_children(walk, entry, inner, depth);
		break;
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
	case DW_TAG_namespace:
	case DW_TAG_module:
		walk_children(walk, entry, scope, depth);
		break;
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_enumeration_type:
		if (walk->everywhere)
			walk_children(walk, entry, NULL, depth);
		break;
	default:
		break;
	}
}

/* Children and siblings must go forward in the file: a reference back would have no end. */
static void walk_children(const struct walk *walk, Dwarf_Die *parent, const struct scope *scope,
			  uint32_t depth)
{
	Dwarf_Die entry;

	if (depth == TREE_DEPTH_MAX || dwarf_child(parent, &entry) != 0)
		return;
	while (walk->namer->entries_left > 0 && walk->namer->error == 0) {
		const void *const before = entry.addr;

		walk->namer->entries_left--;
		walk_entry(walk, &entry, scope, depth + 1);
		if (dwarf_siblingof(&entry, &entry) != 0 || entry.addr <= before)
			break;
	}
}

static bool has_strays(const struct namer *namer, uint32_t unit)
{
	for (uint32_t i = 0; i < namer->query->count; i++) {
		if (namer->places[i].unit == unit && namer->places[i].scope == NULL)
			return true;
	}
	return false;
}

/* --- Names -------------------------------------------------------------------------------------------- */

static const char *linkage_name_of(Dwarf_Die *entry)
{
	Dwarf_Attribute attribute;

	if (dwarf_attr_integrate(entry, DW_AT_linkage_name, &attribute) == NULL &&
	    dwarf_attr_integrate(entry, DW_AT_MIPS_linkage_name, &attribute) == NULL)
		return NULL;
	return dwarf_formstring(&attribute);
}

/* Takes "./" and "//" out of a path, in place; ".." stays, since what it leads through may be a link. */
static void clean_path(char *path)
{
	char *to = path;

	for (const char *at = path; *at != '\0';) {
		if (at[0] == '/' && at[1] == '/')
			at += 1;
		else if (at[0] == '/' && at[1] == '.' && at[2] == '/')
			at += 2;
		else
			*to++ = *at++;
	}
	*to = '\0';
}

/*
 * The path of a source file: absolute, where the compiler has told from which directory it is relative.  A
 * directory that is relative itself (Debian's builds) says nothing.  NULL where there is no path.
 */
static const char *source_path(struct namer *namer, const char *path)
{
	Dwarf_Attribute attribute;
	const char *directory = NULL;

	if (path == NULL || path[0] == '\0' || strcmp(path, "???") == 0)
		return NULL;
	while (path[0] == '.' && path[1] == '/' && path[2] != '\0')
		path += 2;
	if (path[0] != '/')
		directory = dwarf_formstring(dwarf_attr(&namer->unit->head, DW_AT_comp_dir, &attribute));
	if (directory == NULL || directory[0] != '/')
		directory = "";

	const size_t directory_bytes = strnlen(directory, PATH_BYTES_MAX);
	const size_t path_bytes = strnlen(path, PATH_BYTES_MAX);
	char *const joined = hm_arena_allocate(&namer->scratch, directory_bytes + path_bytes + sizeof("/"));
	if (joined == NULL) {
		namer->error = -ENOMEM;
		return NULL;
	}
	memcpy(joined, directory, directory_bytes);
	joined[directory_bytes] = '/';
	/* without a directory there is no slash either */
	char *const tail = joined + directory_bytes + (directory_bytes > 0);
	memcpy(tail, path, path_bytes);
	tail[path_bytes] = '\0';
	clean_path(joined);
	return joined;
}

static uint32_t number_of(Dwarf_Die *entry, unsigned int name, bool integrate)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value = 0;

	if ((integrate ? dwarf_attr_integrate(entry, name, &attribute)
		       : dwarf_attr(entry, name, &attribute)) == NULL ||
	    dwarf_formudata(&attribute, &value) != 0 || value > INT32_MAX)
		return 0;
	return (uint32_t)value;
}

/* Whether functions stand in namespaces or types there. */
static bool has_scopes(Dwarf_Die *head)
{
	switch (dwarf_srclang(head)) {
	case DW_LANG_C_plus_plus:
	case DW_LANG_C_plus_plus_03:
	case DW_LANG_C_plus_plus_11:
	case DW_LANG_C_plus_plus_14:
	case DW_LANG_ObjC_plus_plus:
	case DW_LANG_Rust:
		return true;
	default:
		return false;
	}
}

/* A name without the linker's: as debug information has it, with what it stands in. */
static const char *qualified_name(struct namer *namer, Dwarf_Die *entry, const char *plain)
{
	const char *qualified = NULL;
	char *copy = NULL;

	if (has_scopes(&namer->unit->head)) {
		if (namer->scopes.arena == NULL) {
			namer->scopes.arena = &namer->scratch;
			namer->scopes.entries_left = &namer->entries_left;
			hm_debug_scopes_list(&namer->scopes, &namer->unit->tree);
		}
		qualified = hm_debug_scopes_qualify(&namer->scopes, entry, plain);
	}
	if (qualified == NULL)
		qualified = plain;
	copy = hm_arena_copy_text(&namer->scratch, qualified, strlen(qualified));
	if (copy != NULL)
		hm_demangle_shorten(copy);
	return copy;
}

/* Fills in what the function is called and where it begins. */
static void name_function(struct namer *namer, const struct scope *scope, const struct hm_line *symbol,
			  struct hm_line *line)
{
	Dwarf_Die entry = scope->entry;
	const char *const linkage_name = linkage_name_of(&entry);
	const char *const plain = dwarf_diename(&entry);
	const char *const declared_in = source_path(namer, dwarf_decl_file(&entry));

	if (linkage_name != NULL && hm_is_mangled(linkage_name)) {
		line->system_name = linkage_name;
		line->name = hm_demangle(&namer->scratch, linkage_name);
	} else if (symbol != NULL) {
		/* Of several names of a function in C, "strdup" and "__GI___strdup", callers use the
		 * symbol's. */
		line->system_name = symbol->system_name;
		line->name = hm_demangle(&namer->scratch, symbol->system_name);
	} else if (plain != NULL && plain[0] != '\0') {
		line->system_name = linkage_name != NULL && linkage_name[0] != '\0' ? linkage_name : plain;
		line->name = qualified_name(namer, &entry, plain);
	} else {
		line->name = line->system_name = "<unnamed>";
	}
	if (line->name == NULL) {
		namer->error = -ENOMEM;
		line->name = line->system_name;
	}
	if (line->file == NULL)
		line->file = declared_in;
	/* The line where it begins is one of the file that is shown, or of none. */
	if (declared_in != NULL && line->file != NULL && strcmp(declared_in, line->file) == 0)
		line->start_line = number_of(&entry, DW_AT_decl_line, true);
}

/* Where in the unit's files, by number. */
static const char *file_by_number(struct namer *namer, Dwarf_Die *tree, uint32_t number)
{
	Dwarf_Files *files = NULL;
	size_t count = 0;

	if (dwarf_getsrcfiles(tree, &files, &count) != 0 || number >= count)
		return NULL;
	return source_path(namer, dwarf_filesrc(files, number, NULL, NULL));
}

/* Whether symbol tables name the address, by a symbol and not by what we made up. */
static const struct hm_line *symbol_of(const struct namer *namer, uint32_t index)
{
	const struct hm_location_name *const known = &namer->query->known_names[index];

	return known->placeholder || known->line_count == 0 ? NULL : &known->lines[known->line_count - 1];
}

static void answer_known(struct namer *namer, uint32_t index, const char *file, uint32_t source_line)
{
	const struct hm_location_name *const known = &namer->query->known_names[index];
	struct hm_line line = { .name = "", .system_name = "" };
	const struct hm_location_name name = { &line, 1, known->placeholder };

	if (known->line_count > 0)
		line = known->lines[known->line_count - 1];
	line.name = known->placeholder ? line.name : hm_demangle(&namer->scratch, line.system_name);
	line.file = file;
	line.line = file != NULL ? source_line : 0;
	if (line.name == NULL)
		line.name = line.system_name;
	namer->answered_count++;
	namer->query->answer(namer->query->context, index, &name);
}

static void answer(struct namer *namer, struct unit *unit, uint32_t index)
{
	const struct place *const place = &namer->places[index];
	Dwarf_Line *const row = dwarf_getsrc_die(&unit->head, dwarf_address(namer, index));
	const char *file = row != NULL ? source_path(namer, dwarf_linesrc(row, NULL, NULL)) : NULL;
	int number = 0;
	uint32_t source_line = row != NULL && dwarf_lineno(row, &number) == 0 ? (uint32_t)number : 0;
	struct hm_line lines[FRAMES_MAX] = { 0 };
	uint32_t count = 0;

	if (place->scope == NULL) {
		answer_known(namer, index, file, source_line);
		return;
	}
	for (const struct scope *scope = place->scope; scope != NULL && count < FRAMES_MAX; count++) {
		Dwarf_Die entry = scope->entry;

		lines[count].file = file;
		lines[count].line = source_line;
		name_function(namer, scope, scope->outer == NULL ? symbol_of(namer, index) : NULL,
			      &lines[count]);
		if (lines[count].file == NULL)
			lines[count].line = 0;
		/* Where it was inlined is where the one around it stands. */
		file = file_by_number(namer, &unit->tree, number_of(&entry, DW_AT_call_file, false));
		source_line = number_of(&entry, DW_AT_call_line, false);
		scope = scope->outer;
	}
	const struct hm_location_name name = { lines, count, false };
	namer->answered_count++;
	namer->query->answer(namer->query->context, index, &name);
}

static void name_unit(struct namer *namer, uint32_t index)
{
	struct unit *const unit = &namer->units[index];
	struct walk walk = { .namer = namer, .unit = index };

	namer->unit = unit;
	namer->scopes = (struct hm_debug_scopes){ 0 };
	walk_children(&walk, &unit->tree, NULL, 0);
	if (has_strays(namer, index)) {
		walk.everywhere = true;
		walk_children(&walk, &unit->tree, NULL, 0);
	}
	for (uint32_t i = 0; i < namer->query->count && namer->error == 0; i++) {
		if (namer->places[i].unit == index)
			answer(namer, unit, i);
	}
	hm_arena_done(&namer->scratch);
	namer->query->progress(namer->query->context, namer->answered_count);
}

static void name_units(struct namer *namer)
{
	for (uint32_t i = 0; i < namer->query->count; i++) {
		if (namer->places[i].unit == NO_UNIT)
			answer_known(namer, i, NULL, 0);
	}
	for (uint32_t i = 0; i < namer->unit_count && namer->error == 0; i++) {
		if (namer->units[i].place_count > 0)
			name_unit(namer, i);
	}
}

static uint64_t file_bytes(Dwarf *dwarf)
{
	size_t size_bytes = 0;

	return elf_rawfile(dwarf_getelf(dwarf), &size_bytes) != NULL ? size_bytes : 0;
}

int hm_debug_info_name(const struct hm_debug_files *files, const struct hm_debug_query *query)
{
	struct namer namer = { .files = files, .query = query };

	hm_arena_init(&namer.arena, SIZE_MAX);
	hm_arena_init(&namer.scratch, SIZE_MAX);
	namer.places = hm_arena_allocate_array(&namer.arena, query->count, sizeof(*namer.places));
	if (namer.places == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < query->count; i++)
		namer.places[i].unit = NO_UNIT;
	if (files->dwarf != NULL) {
		namer.entries_left = file_bytes(files->dwarf) * ENTRIES_PER_FILE_BYTE;
		find_units(&namer);
	}
	name_units(&namer);
	hm_arena_done(&namer.scratch);
	hm_arena_done(&namer.arena);
	return namer.error;
}
