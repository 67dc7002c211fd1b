// SPDX-License-Identifier: Apache-2.0
/*
 * The live table: which sampled blocks have not been freed, by their address.
 *
 * Open addressing in the ledger's live segments (struct hm_ledger_live_bucket).  Segment k has 2048 << k
 * slots in buckets of 8; an address has one bucket in each segment and may lie in any slot of it.
 *
 *	segment 0   [bucket][bucket]...                 insert: newest segment first, first empty slot
 *	segment 1   [bucket][bucket][bucket][bucket]    take:   newest segment first, the slot that has it
 *	   ...                                          all 8 full in every segment: add a segment
 *
 * Why nothing more is needed
 * --------------------------
 * Between malloc and free a block has one owner, and a program that hands it on does so in an order of its
 * own making; so of two operations on the *same* address one always happens before the other.  Only
 * operations on different addresses race, and only for an empty slot: the one that moves its generation from
 * even to odd has it.  A slot is found by its address and left by storing 0, there is no pointer that could
 * come back as another's (no ABA), no chain to repair, and nobody waits.
 * A program that frees twice or races free against free breaks the ownership, and may lose us that event.
 *
 * Any thread, any signal handler; lock-free but for the growth of the ledger; keeps errno.
 */
#ifndef HM_PRELOAD_LIVE_H
#define HM_PRELOAD_LIVE_H

#include "proto/ledger.h"

#include <stdbool.h>
#include <stdint.h>

struct hm_ledger_file;

/* A live sample. */
struct hm_live_value {
	uint64_t size_bytes;
	uint32_t stack_unit;
	float weight;
	uint32_t birth_ticks;
};

/* The address of a block that the program reported itself: it may begin where one of malloc's begins. */
static inline uint64_t hm_live_reported_address(const void *block)
{
	return (uint64_t)(uintptr_t)block | HM_LIVE_REPORTED;
}

/* A mapping begins where a block of a pool in it may begin, too. */
static inline uint64_t hm_live_mapped_address(uint64_t start_address)
{
	return start_address | HM_LIVE_MAPPED;
}

/*
 * Inserts `address` (not 0, not in the table) and counts it in the free filter.
 * False where the table is full and the ledger cannot grow.
 */
bool hm_live_insert(struct hm_ledger_file *ledger, uint64_t address, const struct hm_live_value *value);

/*
 * Where the table is large, fetches the cache lines of it and of the filter that an insertion of `address`
 * will look at first; for a caller who has something else to do meanwhile.
 */
void hm_live_prefetch(const struct hm_ledger_file *ledger, uint64_t address);

/* Takes `address` out; false where it is not there, as for a false alarm of the filter, and for 0. */
bool hm_live_take(struct hm_ledger_file *ledger, uint64_t address, struct hm_live_value *ret_value);

#endif
