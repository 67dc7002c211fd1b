// SPDX-License-Identifier: Apache-2.0
/*
 * Names as people write them: C++ and Rust, by libiberty, without what nobody reads.
 *
 *	_ZNSt6vectorIiSaIiEE9push_backEOi     std::vector<int>::push_back
 *	_ZN4core3ptr4read17h0123456789abcdefE core::ptr::read
 *	parse_line.part.0                     parse_line
 *
 * Arguments of functions are left out, since the name tells functions apart well enough, and so are return
 * types, template arguments that are the usual default (allocators, comparisons, hashes), inline namespaces
 * of the standard library, and the suffixes by which a compiler marks pieces and copies of a function.
 * Template arguments stay: which container grows is what a profile of the heap is asked for.  Only in a name
 * longer than HM_DEMANGLE_LONG_BYTES are those within others replaced by "...", and then all.
 *
 * The full name is always to be had from the linker's name, which a profile holds too.
 */
#ifndef HM_TOOLS_DEMANGLE_H
#define HM_TOOLS_DEMANGLE_H

#include "proto/arena.h"

#include <stdbool.h>

enum { HM_DEMANGLE_LONG_BYTES = 160 };

/*
 * The readable form of a linker's name, in memory of `arena`; `linkage_name` itself where that is readable
 * already, or cannot be understood, or is longer than any compiler makes it.  NULL where memory ran out.
 */
const char *hm_demangle(struct hm_arena *arena, const char *linkage_name);

/* Whether a linker's name begins as those of C++ and Rust do. */
bool hm_is_mangled(const char *linkage_name);

/*
 * Shortens a name in place by the rules above, whatever made it: an entry of debug information has template
 * arguments in its name too.
 */
void hm_demangle_shorten(char *name);

#endif
