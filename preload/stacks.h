// SPDX-License-Identifier: Apache-2.0
/*
 * The stack table: each call stack once, with what was allocated and freed there.
 *
 * A hash trie in the ledger (struct hm_ledger_stack, struct hm_trie_node): digits of the stack's hash lead to
 * its record.  It only grows: a reference goes from nothing to a record and from a record to a node, and
 * what it named stays where it is.  So a reader follows references without any care, and an insertion is one
 * compare-and-swap: the one who loses it looks again.
 *
 * Any thread, any signal handler; lock-free but for the growth of the ledger; keeps errno.
 */
#ifndef HM_PRELOAD_STACKS_H
#define HM_PRELOAD_STACKS_H

#include "proto/ledger.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct hm_ledger_file;

/*
 * The hash of a stack, from the outermost frame inwards: that of HM_STACK_HASH_OF_NONE and each frame in
 * turn. So what two stacks have in common outside needs to be hashed once (trail.h).
 */
static const uint64_t HM_STACK_HASH_OF_NONE = UINT64_C(0x9e3779b97f4a7c15);

static inline uint64_t hm_stack_hash_add(uint64_t hash_outside, uint64_t frame)
{
	/* Multiply and fold (murmur's finaliser): a frame word's differences are in its low bits. */
	const uint64_t product = (hash_outside ^ frame) * UINT64_C(0xff51afd7ed558ccd);

	return product ^ product >> 32;
}

/*
 * Finds or stores a stack and returns its unit.  The frames are borrowed for the call; frame_count is
 * 0..HM_FRAMES_MAX (0: a stack of which nothing is known); flags are HM_STACK_*.
 * Where the ledger is full: the unit of [overflow], counted in HM_LOSS_STACKS.
 */
uint32_t hm_stack_intern(struct hm_ledger_file *ledger, const uint64_t *frames, uint32_t frame_count,
			 uint8_t flags);

/* The same where the hash of the frames is known. */
uint32_t hm_stack_intern_hashed(struct hm_ledger_file *ledger, const uint64_t *frames, uint32_t frame_count,
				uint8_t flags, uint64_t frames_hash);

/* Makes a record that no search finds: [dropped], [overflow].  Returns 0 where the ledger is full. */
uint32_t hm_stack_create_special(struct hm_ledger_file *ledger, enum hm_stack_kind kind);

/* The bits, not the number: a comparison of floats would touch the program's floating-point environment. */
static inline bool hm_stack_is_exact(float weight)
{
	static const float one = 1.0F;

	return memcmp(&weight, &one, sizeof(one)) == 0;
}

/*
 * What a sample of `size_bytes` adds to the bytes of its stack, in fixed point: the same number as
 * hm_stack_add_alloc.  The program's floating-point environment is kept, and with weight 1 not touched.
 */
uint64_t hm_stack_estimated_bytes_fixed(uint64_t size_bytes, float weight);

static inline uint64_t hm_stack_bytes_fixed(uint64_t size_bytes, float weight)
{
	return hm_stack_is_exact(weight) ? size_bytes << HM_BYTES_FRACTION_BITS
					 : hm_stack_estimated_bytes_fixed(size_bytes, weight);
}

/*
 * Counts one sample of `size_bytes` as allocated, or as freed, under a stack.  The same size and weight give
 * the same numbers to the last bit, so what is freed takes away what was allocated.
 * The program's floating-point environment is kept, and with weight 1 not touched.
 */
void hm_stack_add_alloc(struct hm_ledger_stack *stack, uint64_t size_bytes, float weight);
void hm_stack_add_freed(struct hm_ledger_stack *stack, uint64_t size_bytes, float weight);

/* An object of weight 1 is so many more, of no more bytes; one is smaller, or gone with its last bytes. */
void hm_stack_divide(struct hm_ledger_stack *stack, uint32_t more_count);
void hm_stack_shrink(struct hm_ledger_stack *stack, uint64_t size_bytes, bool is_gone);

#endif
