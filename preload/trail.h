// SPDX-License-Identifier: Apache-2.0
/*
 * Trails: what the last walk of a stack found, so that the next need not find it again.
 *
 * Two walks of one thread nearly always share their outer frames.  Walking them is slow for one reason: where
 * a frame's caller lies is known only when the frame is, so each waits for memory and for the rule of the one
 * before.  A trail knows the places beforehand.  Checking that the same words still lie there waits for
 * nothing, and takes a quarter of the time.
 *
 *
 * Why a trail that checks out is the walk
 * ---------------------------------------
 * A frame is its PC, SP and FP.  By a STANDARD rule (unwind_rules.h) the caller's frame is a function of the
 * rule, that is of the PC, of the frame, and of two words of the stack: the return address at CFA - 8 and,
 * where the rule says so, the saved FP.  So if a walk arrives at a frame of the trail with the same PC and SP
 * (and FP, where it matters), and those two words are what they were, then the caller's frame is the trail's
 * next; and so on outwards, by induction.  Rules must be the same, which hm_unwind_rules_epoch tells.  Steps
 * by other rules are not part of a trail: the walk takes them itself, and finds back to the trail behind.
 *
 * FP matters only in a frame whose rule counts from it.  Elsewhere it is a variable of some function, and
 * another each time; it is handed on as it is found now.
 *
 *	kept, the last walk:     [          | start: innermost ... outermost ]     ends at HM_FRAMES_MAX
 *	fresh, this walk so far: [ innermost ...  count |                    ]
 *
 * A walk puts its frames into `fresh` until it meets one of `kept` from which all others check out; then the
 * fresh ones go in front of those.  So a walk that differs from the last in its three inner frames stores
 * three.  With each kept frame goes the hash of it and all outside of it (stacks.h), for the same reason.
 *
 * A walk that was cut, with frames_max frames and a caller beyond the last, is kept as well.  One that
 * follows it to the end and has frames_max frames then is the same up to there, and steps once to see that
 * there still is a caller; one that has fewer goes on walking.
 *
 *
 * Whose they are
 * --------------
 * There are HM_TRAILS of them for the whole process, 9 KiB each, of which only what is used becomes resident:
 * nothing is kept for a thread.  A walk claims the one that its stack's address leads to, and does without
 * where another walk has it.  Two threads that share one overwrite each other's, which costs them the time
 * saved.  A signal handler that leaves by longjmp in the middle of a walk leaves its trail claimed: from
 * then on walks that are led to it do without.
 *
 * Private memory; never allocates; any thread, any signal handler.
 */
#ifndef HM_PRELOAD_TRAIL_H
#define HM_PRELOAD_TRAIL_H

#include "preload/frames.h"
#include "proto/ledger.h"

#include <stdbool.h>
#include <stdint.h>

/* A power of two.  Of 16 threads that allocate at once four in ten have one to themselves, of 4 eight in ten.
 */
enum { HM_TRAILS_LOG2 = 4, HM_TRAILS = 1 << HM_TRAILS_LOG2 };

/*
 * The origin of a frame: how it was come to from the one inside of it.  In bits 3 and up, where its FP was
 * read; 0: that of the frame inside.  Below, what else is to be known:
 */
enum {
	HM_TRAIL_BARRIER = 1,     /* not by a STANDARD rule, or from no frame at all: it cannot be checked */
	HM_TRAIL_STEPS_ON_FP = 2, /* the rule of this very frame looks at its FP, or may */
};

struct hm_trail_frames {
	uint64_t words[HM_FRAMES_MAX]; /* frame words: what the walk is made for */
	uintptr_t sps[HM_FRAMES_MAX];
	uintptr_t fps[HM_FRAMES_MAX]; /* of `kept`: right for frames that step on it */
	uintptr_t origins[HM_FRAMES_MAX];
};

struct hm_trail {
	_Atomic uint32_t claimed; /* 1: a walk has it [trail.claim] */
	uint32_t kept_count;      /* 0: nothing */
	bool is_cut;              /* what is kept does not end at the outermost frame */
	uint32_t fresh_count;
	uint32_t cursor;     /* index of the innermost of `kept` that this walk may still meet */
	uint32_t joint;      /* index of the innermost of `kept` that are part of this walk */
	uint32_t stack_unit; /* of the walk that is kept; 0: not known */
	uint64_t epoch;      /* of the rules by which it was walked */
	uint64_t kept_hashes[HM_FRAMES_MAX];
	struct hm_trail_frames kept;
	struct hm_trail_frames fresh;
};

/*
 * Claims the trail for stacks that end at `stack_high` and makes it ready for a walk; NULL where that is not
 * to be had, or where objects are being unloaded.  To be given back by hm_trail_release.
 */
struct hm_trail *hm_trail_claim(uintptr_t stack_high);
void hm_trail_release(struct hm_trail *trail);

/*
 * A frame as walks know it: where it goes on, and its registers there.  For a frame that waits for a call, pc
 * is one less than the return address, for that may already belong to the next function; it is the address
 * of the frame word.
 */
struct hm_trail_frame {
	uintptr_t pc;
	uintptr_t sp;
	uintptr_t fp;
};

/* Stores a frame that the walk has come to, beyond the last one.  There is room for HM_FRAMES_MAX. */
static inline void hm_trail_store(struct hm_trail *trail, uint64_t word, const struct hm_trail_frame *frame,
				  uintptr_t origin)
{
	const uint32_t index = trail->fresh_count++;

	trail->fresh.words[index] = word;
	trail->fresh.sps[index] = frame->sp;
	trail->fresh.fps[index] = frame->fp;
	trail->fresh.origins[index] = origin;
}

enum hm_trail_meeting {
	HM_TRAIL_APART,  /* the frame is not on it */
	HM_TRAIL_AHEAD,  /* followed for some frames, which are stored; *frame is the last of them */
	HM_TRAIL_TO_END, /* followed to the outermost frame: the walk is done */
	HM_TRAIL_TO_CUT, /* followed to where the last walk was cut, which *frame is, with no room for more */
};

/*
 * Whether the walk, at *frame, which is not stored yet, has met the trail; if so, follows it as far as it
 * checks out and frames_max allows.  Words of the stack are read from frame->sp to `readable_end` alone.
 */
enum hm_trail_meeting hm_trail_meet(struct hm_trail *trail, struct hm_trail_frame *frame, uintptr_t origin,
				    uintptr_t readable_end, uint32_t frames_max);

/*
 * The walk has come to the outermost frame, or to the last that there is room for.  From now on it is the one
 * that is kept: kept_count frames at the end of kept.words, their hash the first in use of kept_hashes
 * (hm_trail_start).  stack_unit is left where the walk before was the same, else 0.
 */
void hm_trail_finish(struct hm_trail *trail, bool is_cut);

/* The walk is not what was expected after all: nothing is kept. */
void hm_trail_forget(struct hm_trail *trail);

/* Index of the innermost frame that is kept. */
static inline uint32_t hm_trail_start(const struct hm_trail *trail)
{
	return HM_FRAMES_MAX - trail->kept_count;
}

/* The frames of a walk that this trail has helped; borrowed, until the next. */
static inline const uint64_t *hm_trail_frames_of(const struct hm_trail *trail, const struct hm_walk *walk)
{
	return walk->is_kept ? &trail->kept.words[hm_trail_start(trail)] : trail->fresh.words;
}

/*
 * For a process that starts to record: gives back those that threads of its parent had claimed, and forgets
 * units of its parent's ledger.  Not while other threads walk.
 */
void hm_trails_reset(void);

#endif
