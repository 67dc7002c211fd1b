// SPDX-License-Identifier: Apache-2.0
/*
 * Which pages of a process are jemalloc's, free ones included: as jemalloc itself has it.
 *
 * It finds what a page belongs to in a radix tree, of which the library's static data has the root.  As of
 * 5.0 to 5.3 for 64 bits with 48 of addresses (rtree.h, edata.h, base.c):
 *
 *	root[2^18]      by bits 47..30 of an address: a leaf, or 0
 *	leaf[2^18]      by bits 29..12: [ class of size : 16 | extent : 41 | bits : 7 ], or 0.  The first and
 *			the last page of each extent have one, free or not; of small blocks all pages
 *	extent          [ bits | address | size, and a number below a page ...
 *	base block      [ size | the one before | an extent: what is left of it ... at a multiple of 2 MiB:
 *			where leaves and extents lie.  In no leaf themselves
 *
 * Nothing exports the root.  It is the place in the static data from which an address that is known to be
 * jemalloc's leads to an extent that has this address: no other can be taken for it.  Of a jemalloc that is
 * made otherwise nothing is found.  What of this index is swapped out is taken for empty; and with opt.hpa,
 * which is off, what is free has no entries.
 */
#ifndef HM_TOOLS_JEMALLOC_PAGES_H
#define HM_TOOLS_JEMALLOC_PAGES_H

#include "tools/mappings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HM_JEMALLOC_WINDOW_WORDS = 4096 };

struct hm_jemalloc {
	pid_t pid;
	const struct hm_pages *pages; /* borrowed; NULL: which pages are resident cannot be told */
	uint64_t root_address;

	/* A part of a leaf, copied. */
	bool has_window;         /* it was */
	bool window_is_empty;    /* zeros only */
	uint64_t window_address; /* of the first page that it is about */
	uint64_t window[HM_JEMALLOC_WINDOW_WORDS];
};

/*
 * Finds the root, by addresses that are likely jemalloc's.  `pages` outlives *ret_jemalloc.  False where
 * there is none, or the memory must not be read.
 */
bool hm_jemalloc_find(pid_t pid, const struct hm_pages *pages, const struct hm_mappings *mappings,
		      const uint64_t *addresses, size_t address_count, struct hm_jemalloc *ret_jemalloc);

/*
 * The next of jemalloc's pages that begin between two addresses, of whole pages: up to the first one that is
 * not, which may lie behind end_address.  False where there are no more.
 */
bool hm_jemalloc_next(struct hm_jemalloc *jemalloc, uint64_t start_address, uint64_t end_address,
		      uint64_t *ret_start_address, uint64_t *ret_end_address);

#endif
