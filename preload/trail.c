// SPDX-License-Identifier: Apache-2.0
/*
 *   label            releases                          acquires
 *   [trail.claim]    hm_trail_release: claimed         hm_trail_claim: all the rest
 */
#include "preload/trail.h"

#include "preload/cc.h"
#include "preload/stacks.h"
#include "preload/unwind_rules.h"

#include <stdatomic.h>
#include <stddef.h>

enum { WORD_BYTES = 8, END = HM_FRAMES_MAX };

static const uintptr_t place_mask = ~(uintptr_t)(WORD_BYTES - 1);

/* Part of the library's image, zero at first: a page that no walk was led to is not resident. */
static struct hm_trail trails[HM_TRAILS];

static _Atomic bool were_claimed; /* any of them, since the last reset: else their pages are left alone */

/*
 * Stacks of threads lie 8 MiB and a page apart, or whatever the program has asked for: both halves of the
 * number of the page are mixed (murmur's finaliser), for a product alone leads most of them to a few places.
 */
static struct hm_trail *trail_of(uintptr_t stack_high)
{
	uint64_t hash = (uint64_t)stack_high >> 12;

	hash = (hash ^ hash >> 15) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return &trails[hash >> (64 - HM_TRAILS_LOG2)];
}

static bool claim(struct hm_trail *trail)
{
	uint32_t nobody = 0;

	/* relaxed: a hint for a reset, which is made when nobody walks */
	if (HM_UNLIKELY(!atomic_load_explicit(&were_claimed, memory_order_relaxed)))
		atomic_store_explicit(&were_claimed, true, memory_order_relaxed);
	/* relaxed: a first look, so that what another has is not asked for with a lock */
	if (atomic_load_explicit(&trail->claimed, memory_order_relaxed) != 0)
		return false;
	/* acquire [trail.claim] */
	return atomic_compare_exchange_strong_explicit(&trail->claimed, &nobody, 1, memory_order_acquire,
						       memory_order_relaxed);
}

struct hm_trail *hm_trail_claim(uintptr_t stack_high)
{
	const uint64_t epoch = hm_unwind_rules_epoch();
	struct hm_trail *const trail = trail_of(stack_high);

	if (epoch == 0 || !claim(trail))
		return NULL;
	if (trail->epoch != epoch) {
		trail->epoch = epoch;
		hm_trail_forget(trail);
	}
	trail->fresh_count = 0;
	trail->cursor = hm_trail_start(trail);
	trail->joint = END;
	return trail;
}

void hm_trail_forget(struct hm_trail *trail)
{
	trail->kept_count = 0;
	trail->stack_unit = 0;
}

void hm_trail_release(struct hm_trail *trail)
{
	/* release [trail.claim] */
	atomic_store_explicit(&trail->claimed, 0, memory_order_release);
}

/* Words of a stack, whoever's frame they are in. */
__attribute__((no_sanitize("address", "thread"))) static inline uintptr_t word_at(uintptr_t address)
{
	return *(const uintptr_t *)address;
}

/* What has no module may be code that was made at run time: another, or an object, may be there by now. */
static bool has_module(uint64_t word)
{
	return hm_frame_module(word) != 0;
}

static bool is_met(const struct hm_trail_frames *kept, uint32_t index, const struct hm_trail_frame *frame)
{
	return kept->sps[index] == frame->sp && hm_frame_address(kept->words[index]) == frame->pc &&
	       has_module(kept->words[index]) &&
	       ((kept->origins[index] & HM_TRAIL_STEPS_ON_FP) == 0 || kept->fps[index] == frame->fp);
}

/* FP of the frame at `index`, come to from one that has `inner_fp`. */
static inline uintptr_t fp_of(const struct hm_trail_frames *kept, uint32_t index, uintptr_t inner_fp)
{
	const uintptr_t place = kept->origins[index] & place_mask;

	return place == 0 ? inner_fp : word_at(place);
}

/* Index of the last frame before `limit` that checks out, from `index`, where FP is `fp`. */
static uint32_t follow(const struct hm_trail_frames *kept, uint32_t index, uint32_t limit, uintptr_t fp)
{
	for (; index + 1 < limit; index++) {
		const uint32_t next = index + 1;
		const uint64_t word = kept->words[next];

		if ((kept->origins[next] & HM_TRAIL_BARRIER) != 0 || !has_module(word) ||
		    word_at(kept->sps[next] - WORD_BYTES) - 1 != hm_frame_address(word))
			break;
		fp = fp_of(kept, next, fp);
		if ((kept->origins[next] & HM_TRAIL_STEPS_ON_FP) != 0 && fp != kept->fps[next])
			break;
	}
	return index;
}

/* The frames from `first` to `last` become fresh ones: the walk leaves the trail behind them. */
static void copy_to_fresh(struct hm_trail *trail, uint32_t first, uint32_t last, uintptr_t origin,
			  struct hm_trail_frame *frame)
{
	const struct hm_trail_frames *const kept = &trail->kept;

	hm_trail_store(trail, kept->words[first], frame,
		       origin | (kept->origins[first] & HM_TRAIL_STEPS_ON_FP));
	for (uint32_t index = first + 1; index <= last; index++) {
		*frame = (struct hm_trail_frame){
			.pc = hm_frame_address(kept->words[index]),
			.sp = kept->sps[index],
			.fp = fp_of(kept, index, frame->fp),
		};
		hm_trail_store(trail, kept->words[index], frame, kept->origins[index]);
	}
}

enum hm_trail_meeting hm_trail_meet(struct hm_trail *trail, struct hm_trail_frame *frame, uintptr_t origin,
				    uintptr_t readable_end, uint32_t frames_max)
{
	struct hm_trail_frames *const kept = &trail->kept;
	const uint32_t room = frames_max - trail->fresh_count;
	uint32_t first = trail->cursor;

	while (first < END && kept->sps[first] < frame->sp)
		first++;
	trail->cursor = first;
	if (first == END || !is_met(kept, first, frame) || kept->sps[END - 1] > readable_end)
		return HM_TRAIL_APART;

	const uint32_t limit = room < END - first ? first + room : END;
	const uint32_t last = follow(kept, first, limit, frame->fp);

	if (last < END - 1 || (trail->is_cut && room > END - first)) {
		copy_to_fresh(trail, first, last, origin, frame);
		trail->cursor = last + 1;
		return HM_TRAIL_AHEAD;
	}
	/* It has another frame inside of it now. */
	kept->origins[first] = origin | (kept->origins[first] & HM_TRAIL_STEPS_ON_FP);
	trail->joint = first;
	if (!trail->is_cut)
		return HM_TRAIL_TO_END;
	/* FP is right if the next step needs it. */
	*frame = (struct hm_trail_frame){ .pc = hm_frame_address(kept->words[last]),
					  .sp = kept->sps[last],
					  .fp = kept->fps[last] };
	return HM_TRAIL_TO_CUT;
}

void hm_trail_finish(struct hm_trail *trail, bool is_cut)
{
	struct hm_trail_frames *const kept = &trail->kept;
	const struct hm_trail_frames *const fresh = &trail->fresh;
	uint64_t hash = trail->joint == END ? HM_STACK_HASH_OF_NONE : trail->kept_hashes[trail->joint];
	uint32_t to = trail->joint;

	if (trail->fresh_count != 0 || trail->joint != hm_trail_start(trail))
		trail->stack_unit = 0;
	for (uint32_t from = trail->fresh_count; from-- > 0;) {
		to--;
		hash = hm_stack_hash_add(hash, fresh->words[from]);
		trail->kept_hashes[to] = hash;
		kept->words[to] = fresh->words[from];
		kept->sps[to] = fresh->sps[from];
		kept->fps[to] = fresh->fps[from];
		kept->origins[to] = fresh->origins[from];
	}
	trail->kept_count = END - to;
	trail->is_cut = is_cut;
}

void hm_trails_reset(void)
{
	if (!atomic_load_explicit(&were_claimed, memory_order_relaxed))
		return;
	atomic_store_explicit(&were_claimed, false, memory_order_relaxed);
	for (uint32_t index = 0; index < HM_TRAILS; index++) {
		struct hm_trail *const trail = &trails[index];

		/* relaxed: nobody else walks.  Read first: pages that are not in use stay so. */
		if (trail->kept_count == 0 &&
		    atomic_load_explicit(&trail->claimed, memory_order_relaxed) == 0)
			continue;
		trail->kept_count = 0;
		trail->stack_unit = 0;
		atomic_store_explicit(&trail->claimed, 0, memory_order_relaxed);
	}
}
