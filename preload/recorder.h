// SPDX-License-Identifier: Apache-2.0
/*
 * The slow path: what happens to the few allocations that are sampled, and when they are freed.
 *
 *	begin ---> the allocator underneath ---> end        malloc and its kind
 *	freed ---> the allocator underneath                 free
 *	take  ---> the allocator underneath ---> freed_value, or put_back where it failed      realloc
 *
 * A free is recorded before the block is handed back: once the allocator has it, another thread may be
 * given the same address and record it first.
 *
 * Any thread, any signal handler; nothing waits for a lock that a fork could leave held; keeps errno and the
 * floating-point environment.
 */
#ifndef HM_PRELOAD_RECORDER_H
#define HM_PRELOAD_RECORDER_H

#include "preload/live.h"
#include "proto/ledger.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * After hm_sampler_is_due: whether the allocation is to be recorded.  Where true, the thread's guard is up
 * until hm_recorder_end.  `caller` and `frame` are __builtin_return_address(0) and __builtin_frame_address(0)
 * of the function that the program has called (or that it was tail-called to).
 */
bool hm_recorder_begin(size_t size_bytes, const void *caller, const void *frame, float *ret_weight);

/* `address` is what the allocator returned; 0: it failed, and nothing is recorded. */
void hm_recorder_end(uint64_t address, size_t size_bytes, float weight);

/*
 * Between begin and end, around a call that may leave by an exception and would leave the guard up: it is
 * lowered, and raised again.  `frame` is that of hm_recorder_begin.
 */
void hm_recorder_pause(void);
void hm_recorder_resume(const void *frame);

/* The block at `address` is about to be freed; nothing happens where it was not sampled. */
void hm_recorder_freed(uint64_t address);

/*
 * Mappings (map_recorder.h), one by one and exactly.  Begin raises the guard and tells the caller's stack;
 * where it is false, nothing is to be recorded: the library sleeps, or this is not the program's own call.
 * hm_recorder_pause lowers the guard.
 */
bool hm_recorder_begin_mapping(const void *caller, const void *frame, uint32_t *ret_stack_unit);
uint32_t hm_recorder_birth_ticks(void);
void hm_recorder_mapped(uint64_t start_address, uint64_t size_bytes, uint32_t stack_unit,
			uint32_t birth_ticks);

/* Part of a mapping, or the last of it, is gone; with a hole in it, it is two from now on. */
void hm_recorder_unmapped(uint32_t stack_unit, uint64_t size_bytes, bool is_last, bool is_hole);

/* A mapping is so many more. */
void hm_recorder_divided(uint32_t stack_unit, uint32_t more_count);

/* In the table of what is live, and out of it. */
void hm_recorder_list_mapping(uint64_t start_address, uint64_t size_bytes, uint32_t stack_unit,
			      uint32_t birth_ticks);
void hm_recorder_unlist_mapping(uint64_t start_address);

/* Counts a loss in the ledger, where there is one. */
void hm_recorder_lose(enum hm_loss kind);

/* The three steps of a realloc. */
bool hm_recorder_take(uint64_t address, struct hm_live_value *ret_value);
void hm_recorder_put_back(uint64_t address, const struct hm_live_value *value);
void hm_recorder_freed_value(const struct hm_live_value *value);

#endif
