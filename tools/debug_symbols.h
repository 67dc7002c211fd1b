// SPDX-License-Identifier: Apache-2.0
/*
 * Symbols for the addresses that the program file itself has no symbol for: out of the symbol table of its
 * separate debug file, or its compressed .gnu_debugdata.
 */
#ifndef HM_TOOLS_DEBUG_SYMBOLS_H
#define HM_TOOLS_DEBUG_SYMBOLS_H

#include "tools/debug_info.h"

/*
 * Replaces placeholders in `names`, which are those of the query's addresses, by the function symbol that
 * contains the address: of several the one that starts last, then the one with fewer leading underscores, the
 * shorter, the first in the alphabet.  Text is in memory of `arena`.  Returns 0 or -ENOMEM.
 */
int hm_debug_symbols_name(const struct hm_debug_files *files, struct hm_arena *arena,
			  const uint64_t *addresses, struct hm_location_name *names, uint32_t count);

#endif
