// SPDX-License-Identifier: Apache-2.0
/*
 * Walks the stack of a thread of another process, by libunwind and the call-frame information that lies in
 * the memory of that process: no file is opened, so code in containers and deleted libraries is walked as any
 * other.
 */
#ifndef HM_TOOLS_THREAD_WALK_H
#define HM_TOOLS_THREAD_WALK_H

#include "tools/mappings.h"
#include "tools/thread_stop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct hm_thread_walker;

/* `mappings` is borrowed and outlives the walker.  NULL where there is no memory. */
struct hm_thread_walker *hm_thread_walker_create(pid_t pid, const struct hm_mappings *mappings);
void hm_thread_walker_free(struct hm_thread_walker *walker);

/*
 * Fills ret_frames, innermost first: where the thread is, then the calls (their return addresses - 1).
 * Returns how many there are, at most frames_max.  *ret_is_complete: the outermost frame was reached.
 */
uint32_t hm_thread_walk(struct hm_thread_walker *walker, const struct hm_thread_copy *copy,
			uint64_t *ret_frames, uint32_t frames_max, bool *ret_is_complete);

#endif
