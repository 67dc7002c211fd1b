// SPDX-License-Identifier: Apache-2.0
/*
 * Where glibc's malloc has put a block: what it writes before each block and at the start of each heap of an
 * arena, as of malloc/malloc.c and malloc/arena.c for 64 bits, the same since 2.3.
 *
 *	a block         [ prev_size | size and 3 bits ][ the block ...
 *	                bit 1: it has a mapping of its own, which begins prev_size bytes before these two
 *	                words (more than 0 where it was aligned) and ends size bytes behind their start
 *	                bit 2: it lies in an arena other than the first
 *	an arena's heap begins at a multiple of 64 MiB and reaches at most to the next:
 *	                [ arena | the heap before | size | accessible size ...
 *	                where the arena is behind such a head, in this heap or in the arena's first one
 *
 * Where the memory may not be read (Yama lets only parents trace, and anybody look into /proc) it is guessed,
 * from addresses, sizes and the flags that arenas are mapped with.
 */
#ifndef HM_TOOLS_GLIBC_HEAP_H
#define HM_TOOLS_GLIBC_HEAP_H

#include "tools/mappings.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HM_GLIBC_HEAP_BYTES = 64 << 20, /* HEAP_MAX_SIZE: of what an arena takes at a time */
};

enum hm_glibc_kind {
	HM_GLIBC_MAPPED, /* the block has a mapping of its own */
	HM_GLIBC_ARENA,  /* it lies in an arena's heap */
	HM_GLIBC_OTHER,  /* it is not known what it lies in: what the first arena maps where brk fails */
};

struct hm_glibc_place {
	enum hm_glibc_kind kind;
	uint64_t start_address; /* of the mapping, or the heap; HM_GLIBC_OTHER: not set, as the next */
	uint64_t end_address;   /* not beyond that of the mapping it was looked for in */
};

/* Where a block in use lies; `mapping` is the one that holds its address. */
struct hm_glibc_place hm_glibc_place_of(pid_t pid, const struct hm_mapping *mapping, uint64_t address,
					uint64_t size_bytes);

/*
 * Whether an arena's heap begins at `start_address`, a multiple of HM_GLIBC_HEAP_BYTES in entries[index].
 * `pages` (NULL: they cannot be looked at) keeps us from making pages of the process by reading them.
 */
bool hm_glibc_is_heap(pid_t pid, const struct hm_pages *pages, const struct hm_mappings *mappings,
		      size_t index, uint64_t start_address);

#endif
