// SPDX-License-Identifier: Apache-2.0
/*
 * Names for addresses: what a profile writer asks, and what knows the answers offers.
 *
 * One resolver reads ELF symbol tables (proto/elf_symbols.h) and is cheap enough for the inside of the
 * program; one that reads debug information belongs outside.
 */
#ifndef HM_PROTO_NAMES_H
#define HM_PROTO_NAMES_H

#include "proto/arena.h"
#include "proto/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * One function at an address.  Text is any bytes but NUL, and lives as long as the arena it was made in, or
 * as the resolver says.
 */
struct hm_line {
	const char *name;        /* as shown; never NULL or empty */
	const char *system_name; /* as the linker knows it; the same pointer as `name` where not demangled */
	const char *file;        /* source file; NULL: not known */
	uint32_t line;           /* 0: not known */
	uint32_t start_line;     /* where the function begins; 0: not known */
};

/* All functions at an address: the innermost inlined one first, the function that really exists last. */
struct hm_location_name {
	const struct hm_line *lines;
	uint32_t line_count; /* at least 1 */
	bool placeholder;    /* no symbol covers the address: the name is made of the file's and an offset */
};

/* How well a module could be named. */
enum hm_names_outcome {
	HM_NAMES_FOUND,      /* its file was read (it may lack a symbol here and there) */
	HM_NAMES_NO_FILE,    /* not on disk: deleted, not readable from here, or never a file (JIT, vDSO) */
	HM_NAMES_OTHER_FILE, /* what lies there now has another build id: replaced since it was loaded */
	HM_NAMES_NOT_ELF,    /* not an ELF file of this machine, or damaged */
};

struct hm_resolver {
	/*
	 * Names `count` addresses of one module: run-time addresses inside it, ascending, each once.
	 * Fills ret_names[0 .. count), every one, and *ret_outcome.  Memory is taken from `arena`, or is the
	 * resolver's own.  Returns 0 or -ENOMEM.
	 */
	int (*resolve)(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
		       const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		       enum hm_names_outcome *ret_outcome);
	/*
	 * The same for addresses outside of every module (code made at run time): names what it can, and
	 * leaves the rest of ret_names as it is.  NULL: cannot.
	 */
	int (*resolve_elsewhere)(void *context, struct hm_arena *arena, const uint64_t *addresses,
				 uint32_t count, struct hm_location_name *ret_names);
	void *context; /* borrowed by both */
};

#endif
