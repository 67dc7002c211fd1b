// SPDX-License-Identifier: Apache-2.0
/*
 * Trails, on stacks that are made up: a machine with functions of the three kinds that call-frame information
 * knows.  Calls and returns at random; a walk with a trail must find what a walk without one finds.
 */
#include "preload/trail.h"

#include "preload/stacks.h"

#include "tests/unit/check.h"

#include <string.h>

enum {
	STACK_WORDS = 4096,
	FUNCTIONS = 8,
	CALLS_MAX = 100,
	WORD_BYTES = 8,
	MODULE = 3,
	CODE = 0x1000, /* a function has two places to call from, FUNCTIONS apart */
};

/* What a function does to FP, and so where its caller's frame is. */
enum kind {
	LEAVES_FP,    /* CFA = SP + size */
	HAS_VARIABLE, /* saves FP below the return address and keeps a variable in it; CFA = SP + size */
	HAS_FRAME, /* saves FP there and lets it point to it; its frame may have any size; CFA = FP + 2 words
		    */
	MADE_BY_HAND, /* as LEAVES_FP, but by a rule that trails do not know */
};

static enum kind kind_of(uintptr_t pc)
{
	static const enum kind kinds[FUNCTIONS] = { LEAVES_FP, HAS_FRAME,    LEAVES_FP, HAS_VARIABLE,
						    HAS_FRAME, HAS_VARIABLE, LEAVES_FP, MADE_BY_HAND };

	return kinds[pc % FUNCTIONS];
}

/*
 * Words of a frame of fixed size, with the return address and, in it or not, the saved FP.  There are few
 * sizes and few functions, so that different stacks have much in common: the same function at the same place
 * with another FP, and words that earlier frames have left behind.
 */
static uintptr_t size_of(uintptr_t pc)
{
	return 2 + pc % FUNCTIONS % 2;
}

static uintptr_t stack[STACK_WORDS];
static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (random_state >> 33) % limit;
}

static uintptr_t *top(void)
{
	return &stack[STACK_WORDS];
}

/* The frames of the machine, outermost first; frame 0 has no caller. */
static struct hm_trail_frame frames[CALLS_MAX];
static uint32_t depth;

static void call(void)
{
	struct hm_trail_frame *const caller = &frames[depth - 1];
	struct hm_trail_frame called = { .pc = CODE + random_below(FUNCTIONS), .fp = caller->fp };
	uintptr_t *const cfa = (uintptr_t *)caller->sp;
	const enum kind kind = kind_of(called.pc);
	const uintptr_t size = kind == HAS_FRAME ? 2 + random_below(2) : size_of(called.pc);

	cfa[-1] = caller->pc + 1;
	if (kind == HAS_VARIABLE || kind == HAS_FRAME)
		cfa[-2] = caller->fp;
	else
		cfa[-2] = random_below(3); /* something else in its place */
	if (kind == HAS_VARIABLE)
		called.fp = random_below(3);
	if (kind == HAS_FRAME)
		called.fp = (uintptr_t)(cfa - 2);
	called.sp = (uintptr_t)(cfa - size);
	frames[depth++] = called;
}

/* The caller's frame, as a walk finds it. */
static struct hm_trail_frame step(const struct hm_trail_frame *frame, uintptr_t *ret_origin)
{
	const enum kind kind = kind_of(frame->pc);
	const uintptr_t *const cfa = kind == HAS_FRAME ? (const uintptr_t *)frame->fp + 2
						       : (const uintptr_t *)frame->sp + size_of(frame->pc);
	const bool has_saved = kind == HAS_VARIABLE || kind == HAS_FRAME;

	*ret_origin = has_saved ? (uintptr_t)(cfa - 2) : 0;
	if (kind == MADE_BY_HAND)
		*ret_origin = HM_TRAIL_BARRIER;
	return (struct hm_trail_frame){ .pc = cfa[-1] - 1,
					.sp = (uintptr_t)cfa,
					.fp = has_saved ? cfa[-2] : frame->fp };
}

static uintptr_t steps_on_fp(uintptr_t pc)
{
	return kind_of(pc) == HAS_FRAME || kind_of(pc) == MADE_BY_HAND ? HM_TRAIL_STEPS_ON_FP : 0;
}

/* Returns the number of frames that were stepped to, not followed to. */
static uint32_t walk(struct hm_trail *trail, uint32_t frames_max)
{
	struct hm_trail_frame frame = frames[depth - 1];
	uintptr_t origin = HM_TRAIL_BARRIER;
	bool is_cut = false;
	uint32_t steps = 0;

	for (;; steps++) {
		const enum hm_trail_meeting meeting =
			hm_trail_meet(trail, &frame, origin, (uintptr_t)top(), frames_max);

		if (meeting == HM_TRAIL_TO_END)
			break;
		if (meeting == HM_TRAIL_TO_CUT) {
			CHECK(frame.sp == frames[depth - frames_max].sp &&
			      frame.pc == frames[depth - frames_max].pc);
			is_cut = frame.sp != frames[0].sp;
			break;
		}
		if (meeting == HM_TRAIL_APART)
			hm_trail_store(trail, hm_frame_make(MODULE, frame.pc), &frame,
				       origin | steps_on_fp(frame.pc));
		is_cut = frame.sp != frames[0].sp && trail->fresh_count == frames_max;
		if (is_cut || frame.sp == frames[0].sp)
			break;
		frame = step(&frame, &origin);
	}
	hm_trail_finish(trail, is_cut);
	return steps;
}

static bool is_right(const struct hm_trail *trail, uint32_t frames_max)
{
	const uint32_t start = hm_trail_start(trail);
	const uint32_t outermost = depth > frames_max ? depth - frames_max : 0;
	uint64_t hash = HM_STACK_HASH_OF_NONE;

	if (trail->kept_count != depth - outermost || trail->is_cut != (outermost > 0))
		return false;
	for (uint32_t index = outermost; index < depth; index++) {
		const uint32_t at = HM_FRAMES_MAX - 1 - (index - outermost);

		hash = hm_stack_hash_add(hash, hm_frame_make(MODULE, frames[index].pc));
		if (trail->kept.words[at] != hm_frame_make(MODULE, frames[index].pc) ||
		    trail->kept.sps[at] != frames[index].sp || trail->kept_hashes[at] != hash)
			return false;
	}
	return start == HM_FRAMES_MAX - (depth - outermost);
}

/* Returns the frames that were stepped to, of how many. */
static double test_random_stacks(uint32_t frames_max)
{
	enum { WALKS = 300000 };
	uint64_t steps = 0;
	uint64_t walked = 0;
	int wrong = 0;

	random_state = 42;
	frames[0] = (struct hm_trail_frame){ .pc = CODE, .sp = (uintptr_t)(top() - 8) };
	depth = 1;
	for (int i = 0; i < WALKS; i++) {
		/* Mostly little changes; now and then nearly all. */
		uint64_t returns = random_below(16) == 0 ? random_below(depth) : random_below(4);
		uint64_t calls = random_below(16) == 0 ? random_below(CALLS_MAX) : random_below(4);

		for (; returns > 0 && depth > 1; returns--)
			depth--;
		/* The innermost goes on, too: another instruction, another value. */
		frames[depth - 1].pc ^= random_below(2) * FUNCTIONS;
		if (kind_of(frames[depth - 1].pc) == HAS_VARIABLE)
			frames[depth - 1].fp = random_below(3);
		for (; calls > 0 && depth < CALLS_MAX; calls--)
			call();

		struct hm_trail *const trail = hm_trail_claim((uintptr_t)top());

		steps += walk(trail, frames_max);
		walked += trail->kept_count;
		wrong += !is_right(trail, frames_max);
		hm_trail_release(trail);
	}
	CHECK_EQ(wrong, 0);
	return (double)steps / (double)walked;
}

/* A frame without a module may be another by the time that it is met. */
static void test_no_module(void)
{
	struct hm_trail *trail = hm_trail_claim((uintptr_t)top());
	struct hm_trail_frame frame = { .pc = CODE, .sp = (uintptr_t)(top() - 8) };
	struct hm_trail_frame again = frame;

	hm_trail_store(trail, hm_frame_make(0, frame.pc), &frame, HM_TRAIL_BARRIER);
	hm_trail_finish(trail, false);
	hm_trail_release(trail);
	trail = hm_trail_claim((uintptr_t)top());
	CHECK_EQ(hm_trail_meet(trail, &again, HM_TRAIL_BARRIER, (uintptr_t)top(), HM_FRAMES_MAX),
		 HM_TRAIL_APART);
	hm_trail_release(trail);
}

int main(void)
{
	/* It is of use: of the frames that are the same as before, few are stepped to. */
	CHECK(test_random_stacks(HM_FRAMES_MAX) < 1.0 / 3);
	CHECK(test_random_stacks(40) < 1.0 / 2);
	test_no_module();
	return check_result();
}
