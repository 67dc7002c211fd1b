// SPDX-License-Identifier: Apache-2.0
/*
 * Functions, inlined ones too, files and lines for the addresses of one program file, out of its debug
 * information.
 *
 * Every unit of which an address is wanted is passed over once, whatever the number of addresses: the tree of
 * its functions, and its table of lines.  Units without an address are not read beyond their beginning.
 *
 * A lying file can give wrong names.  It cannot make this loop: the entries visited are bounded by the length
 * of the file, references are followed 16 deep (libdw), trees 256 deep.  libdw itself may crash: for use in
 * an isolated child (tools/isolated.h).
 */
#ifndef HM_TOOLS_DEBUG_INFO_H
#define HM_TOOLS_DEBUG_INFO_H

#include "proto/arena.h"
#include "proto/names.h"
#include "tools/debug_files.h"

#include <stdbool.h>
#include <stdint.h>

struct hm_debug_query {
	const uint64_t *addresses;                  /* in the program file; ascending, each once */
	const struct hm_location_name *known_names; /* of each, from symbol tables; may be placeholders */
	uint32_t count;

	/*
	 * Called once for each address, in any order, as soon as its names are known.  What `name` points to
	 * lasts until the call returns.
	 */
	void (*answer)(void *context, uint32_t index, const struct hm_location_name *name);
	/* Called after each unit with the number of addresses answered so far. */
	void (*progress)(void *context, uint32_t answered_count);
	void *context;
};

/* Answers all.  Returns 0 or -ENOMEM. */
int hm_debug_info_name(const struct hm_debug_files *files, const struct hm_debug_query *query);

#endif
