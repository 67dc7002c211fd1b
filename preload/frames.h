// SPDX-License-Identifier: Apache-2.0
/*
 * The stack walk: from inside an allocation function out to the program's entry.
 *
 * Each return address has a rule (unwind_rules.h) that says where the caller's frame is; the walk applies
 * one rule a frame, two loads each.  A word of the stack is only read when it is known to be mapped, so
 * that a corrupted frame pointer ends the walk and not the program.
 *
 * Any thread, any signal handler; never allocates; keeps errno.  At most 1 KiB of stack; rules are compiled
 * on one of our own.
 */
#ifndef HM_PRELOAD_FRAMES_H
#define HM_PRELOAD_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The part of the calling thread's stack that was found to be readable, whole pages, kept between walks;
 * zero: none yet.  It grows outwards by a system call a page, and starts anew when the thread is found on
 * another stack.
 */
struct hm_stack_bounds {
	uintptr_t low;
	uintptr_t high;
};

enum hm_walk_end {
	HM_WALK_COMPLETE,  /* the outermost frame was reached */
	HM_WALK_CUT,       /* more than frames_max: the innermost were kept */
	HM_WALK_TRUNCATED, /* a frame without a caller that can be found */
};

struct hm_walk {
	uint32_t frame_count;
	enum hm_walk_end end;
	bool is_kept; /* by the trail that helped */
};

/*
 * Walks from the caller of `own_frame`, which is the __builtin_frame_address(0) of a function on this stack
 * that keeps a frame pointer (NULL: from the caller of this function), and stores frame words
 * (hm_frame_make), innermost first: the address of the call for a frame that waits for one, of the next
 * instruction for a frame that a signal interrupted. frames_max is 1..HM_FRAMES_MAX.  Modules met are entered
 * into the ledger attached by hm_unwind_rules_attach.
 *
 * The stack is the one that libunwind's unw_backtrace would find.  frame_count may be 0: a walk that is
 * truncated among the frames left out (hm_frames_leave_out_library).
 */
struct hm_walk hm_frames_walk(struct hm_stack_bounds *bounds, const void *own_frame, uint64_t *frames,
			      uint32_t frames_max);

/*
 * The same walk with the help of a trail (trail.h), which the caller has claimed.  The frames are where
 * hm_trail_frames_of says.  Returns false, and has not walked, on a stack of which nothing is known yet,
 * where frames would have to be left out, and where the trail has led astray.
 */
struct hm_trail;
bool hm_frames_walk_trail(struct hm_stack_bounds *bounds, const void *own_frame, struct hm_trail *trail,
			  uint32_t frames_max, struct hm_walk *ret_walk);

/*
 * Does now what later walks of this thread will have no means for (sandbox.h): finds the rules of the stack
 * as it is, and which pages of it are readable, up to 256 KiB further in.
 */
void hm_frames_look_ahead(struct hm_stack_bounds *bounds);

/*
 * Whether a frame of the library with the CFA `cfa` is on the calling thread's stack, further out than the
 * frame with the CFA `inner_cfa`; true as well where that cannot be known, since a walk does not come
 * through. Walks at most 64 K frames.  Any thread, any signal handler.
 */
bool hm_frames_contain(struct hm_stack_bounds *bounds, uintptr_t inner_cfa, uintptr_t cfa);

/*
 * From now on frames of the object that contains this function are left out at the inner end of walks: the
 * shim, the recorder.  Once, before the first walk of the library; not called where the walk is linked into
 * the program that it walks, as in tests.
 */
void hm_frames_leave_out_library(void);

#endif
