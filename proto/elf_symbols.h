// SPDX-License-Identifier: Apache-2.0
/*
 * Function names from the ELF file that a module was loaded from.
 *
 * The symbol tables of the file (elf_file.h) are passed over once, whatever the number of addresses; names
 * are fetched only for the symbols that win.  Some 40 KiB of memory and what the names take.
 *
 * Which symbol names an address, the earlier rule first:
 *   1. .symtab and .dynsym alike: one that contains it (value <= address < value + size)
 *        a function rather than a label without type; the one that starts latest; exported rather than local;
 *        fewer leading underscores; shorter; alphabetical.  A version ("@@GLIBC_2.2.5") is cut off.
 *   2. a symbol without size (assembly) before it, where no other function lies between.
 *   3. the start of the function according to .eh_frame_hdr: "libfoo.so.1+0x1f40", the address as in the
 * file, so that a stripped library still adds up by function and one build equals another run of it.
 *   4. "libfoo.so.1+0x1f68": the address itself.
 * Names from 3 and 4 are placeholders.  A file whose build id is not the module's names nothing (rule 4).
 * PLT stubs jump and never stand in a stack, so they have no rule.
 *
 * A C++ name stays as the linker has it, in `name` and in `system_name`; a resolver that demangles puts its
 * own `name` in front.
 *
 * No malloc, stdio or locale; does not keep errno.
 */
#ifndef HM_PROTO_ELF_SYMBOLS_H
#define HM_PROTO_ELF_SYMBOLS_H

#include "proto/names.h"

/* The resolver for modules as they lie on disk.  No context, no state: any number of threads. */
struct hm_resolver hm_elf_resolver(void);

/* The same for a module whose file is to be had at another path; see hm_resolver for the rest. */
int hm_elf_resolve_at(const char *path, struct hm_arena *arena, const struct hm_snapshot_module *module,
		      const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		      enum hm_names_outcome *ret_outcome);

#endif
