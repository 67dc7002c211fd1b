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

/* The three steps of a realloc. */
bool hm_recorder_take(uint64_t address, struct hm_live_value *ret_value);
void hm_recorder_put_back(uint64_t address, const struct hm_live_value *value);
void hm_recorder_freed_value(const struct hm_live_value *value);

#endif
