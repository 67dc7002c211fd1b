// SPDX-License-Identifier: Apache-2.0
#include "preload/frames.h"

#include "preload/cc.h"
#include "preload/memory.h"
#include "preload/trail.h"
#include "preload/unwind_rules.h"
#include "preload/unwinder.h"
#include "proto/ledger.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	WORD_BYTES = 8,
	PAGE_BYTES = 4096,
	PAGES_BRIDGED_MAX = 16,
	CODE_LOWEST = 4096,
	RED_ZONE_BYTES = 128, /* below SP, that a function may use, and signal handlers leave alone */
};

/* Addresses of programs have 47 bits; the upper half is the kernel's. */
static const uintptr_t code_highest = (UINT64_C(1) << 47) - 1;

/* The library's own addresses; empty: none are left out.  Written once, while there is one thread. */
static uintptr_t own_start;
static uintptr_t own_end;

/* The stack as far as it is known. */
struct stack {
	struct hm_stack_bounds window; /* known to be readable */
	struct hm_stack_bounds first;  /* the window about first_sp, once the walk has left it; else empty */
	uintptr_t first_sp;
	bool has_switched; /* through a signal frame, onto another stack */
};

enum step {
	STEP_DONE,
	STEP_OUTERMOST,
	STEP_LOST,
	STEP_COMPLEX,
};

static bool is_inside(const struct hm_stack_bounds *bounds, uintptr_t address)
{
	return address >= bounds->low && address < bounds->high;
}

static uintptr_t page_start(uintptr_t address)
{
	return address & ~(uintptr_t)(PAGE_BYTES - 1);
}

static void set_empty_window(struct hm_stack_bounds *window, uintptr_t address)
{
	window->low = page_start(address);
	window->high = window->low;
}

/* The next walk begins near where this one did, not where it ended. */
static void leave_window(struct stack *stack)
{
	if (is_inside(&stack->window, stack->first_sp))
		stack->first = stack->window;
}

/*
 * For the next walk, what this one found readable, if that will stay so for as long as the thread lives.  It
 * does on the thread's own stack, of which this is one: its outermost frame is the entry of the thread or of
 * the process.  The stacks of coroutines come and go, and one that has no end of its own leads walks onto
 * whatever is above it, which may be gone the next time.
 */
static void keep_window(struct stack *stack, struct hm_stack_bounds *bounds, bool is_own)
{
	leave_window(stack);
	if (is_own && !stack->has_switched && is_inside(&stack->first, stack->first_sp))
		*bounds = stack->first;
}

/*
 * Whether a walk that was cut has come, all the way through readable memory, to what is known of the thread's
 * own stack: a recursion has grown beyond it.  Then the window is one with that.  Between a thread's stack
 * and what else may be mapped below it lies a guard page.
 */
static bool join_known(struct stack *stack, const struct hm_stack_bounds *known, uintptr_t sp)
{
	const bool is_in_one_piece = stack->first.high == 0 && !stack->has_switched;

	if (!is_in_one_piece || !is_inside(known, sp) || stack->first_sp >= known->low)
		return false;
	if (stack->window.high < known->high)
		stack->window.high = known->high;
	return true;
}

/*
 * Extends the window outwards to `address`, page by page.  Across a frame with a large array it is moved in
 * place of extended, which makes that frame cost two system calls in every walk and not one a page in the
 * first.
 */
HM_COLD static bool extend_window(struct stack *stack, uintptr_t address)
{
	struct hm_stack_bounds *const window = &stack->window;

	if (address < window->high || address > code_highest)
		return false;
	if (address - window->high >= PAGES_BRIDGED_MAX * PAGE_BYTES) {
		leave_window(stack);
		set_empty_window(window, address);
	}
	while (window->high <= address) {
		if (!hm_memory_is_readable((const void *)window->high))
			return false;
		window->high += PAGE_BYTES;
	}
	return true;
}

/* An aligned word does not cross into the next page. */
__attribute__((no_sanitize("address", "thread"))) static inline bool
load(struct stack *stack, uintptr_t address, uintptr_t *ret_word)
{
	if (HM_UNLIKELY(address % WORD_BYTES != 0))
		return false;
	if (HM_UNLIKELY(!is_inside(&stack->window, address)) && !extend_window(stack, address))
		return false;
	*ret_word = *(const uintptr_t *)address;
	return true;
}

/* To the frame outside of this one: `pc` is where it goes on, the CFA its SP. */
static inline enum step enter_caller(struct hm_trail_frame *frame, uintptr_t pc, uintptr_t cfa, uintptr_t fp)
{
	if (pc == 0)
		return STEP_OUTERMOST;
	if (pc < CODE_LOWEST || pc > code_highest)
		return STEP_LOST;
	*frame = (struct hm_trail_frame){ .pc = pc - 1, .sp = cfa, .fp = fp };
	return STEP_DONE;
}

static inline enum step step_standard(struct stack *stack, union hm_rule rule, struct hm_trail_frame *frame)
{
	const uintptr_t base = rule.cfa_is_on_fp ? frame->fp : frame->sp;
	const uintptr_t cfa = base + (uintptr_t)(int64_t)rule.cfa_offset * WORD_BYTES;
	uintptr_t fp = frame->fp;
	uintptr_t pc;

	/* Outwards only: else a corrupted FP could lead in a circle. */
	if (cfa <= frame->sp || !load(stack, cfa - WORD_BYTES, &pc))
		return STEP_LOST;
	if (rule.fp_offset != 0 && !load(stack, cfa + (uintptr_t)(int64_t)rule.fp_offset * WORD_BYTES, &fp))
		return STEP_LOST;
	return enter_caller(frame, pc, cfa, fp);
}

HM_COLD static enum step step_realigned(struct stack *stack, union hm_rule rule, struct hm_trail_frame *frame)
{
	const uintptr_t base = frame->fp;
	uintptr_t cfa;
	uintptr_t fp;
	uintptr_t pc;

	if (base < frame->sp || !load(stack, base + (uintptr_t)(int64_t)rule.cfa_offset * WORD_BYTES, &cfa) ||
	    !load(stack, base + (uintptr_t)(int64_t)rule.fp_offset * WORD_BYTES, &fp) || cfa <= frame->sp ||
	    !load(stack, cfa - WORD_BYTES, &pc))
		return STEP_LOST;
	return enter_caller(frame, pc, cfa, fp);
}

/* Onto the interrupted stack, which may be another: this step alone may lead inwards. */
HM_COLD static enum step step_signal(struct stack *stack, struct hm_trail_frame *frame)
{
	const uintptr_t context = frame->sp;
	struct hm_trail_frame interrupted;

	if (!load(stack, context + HM_SIGNAL_FP_OFFSET, &interrupted.fp) ||
	    !load(stack, context + HM_SIGNAL_SP_OFFSET, &interrupted.sp) ||
	    !load(stack, context + HM_SIGNAL_PC_OFFSET, &interrupted.pc) || interrupted.pc < CODE_LOWEST ||
	    interrupted.pc > code_highest)
		return STEP_LOST;
	*frame = interrupted;

	/* An interrupted function may be about to return, and its caller's FP just below its SP. */
	const uintptr_t lowest = interrupted.sp - RED_ZONE_BYTES;

	if (!is_inside(&stack->window, lowest) || !is_inside(&stack->window, interrupted.sp)) {
		leave_window(stack);
		stack->has_switched = true;
		set_empty_window(&stack->window, lowest);
	}
	return STEP_DONE;
}

/*
 * Whether the address that this frame returns to is where a function begins.  No call returns there:
 * makecontext and its like have put it below the first frame of a stack.
 */
static bool is_made_by_hand(const struct hm_trail_frame *frame)
{
	const union hm_rule rule = hm_unwind_rule_find(frame->pc + 1);

	return rule.kind == HM_RULE_STANDARD && !rule.cfa_is_on_fp && (int64_t)rule.cfa_offset == 1 &&
	       rule.fp_offset == 0;
}

/* No call-frame information: if FP is a frame pointer, the caller's FP and PC lie where it points. */
HM_COLD static enum step step_by_frame_pointer(struct stack *stack, struct hm_trail_frame *frame)
{
	const uintptr_t base = frame->fp;
	uintptr_t fp;
	uintptr_t pc;

	if (is_made_by_hand(frame))
		return STEP_OUTERMOST; /* FP is that of whoever made the stack */
	if (base == 0)
		return STEP_OUTERMOST; /* what the x86-64 ABI asks of the outermost frame */
	if (base < frame->sp || base - frame->sp > HM_GUESSED_FRAME_MAX || !load(stack, base, &fp) ||
	    !load(stack, base + WORD_BYTES, &pc))
		return STEP_LOST;
	return enter_caller(frame, pc, base + 2 * WORD_BYTES, fp);
}

HM_COLD static enum step step_unusual(struct stack *stack, union hm_rule rule, struct hm_trail_frame *frame)
{
	switch ((enum hm_rule_kind)rule.kind) {
	case HM_RULE_REALIGNED:
		return step_realigned(stack, rule, frame);
	case HM_RULE_SIGNAL:
		return step_signal(stack, frame);
	case HM_RULE_OUTERMOST:
		return STEP_OUTERMOST;
	case HM_RULE_COMPLEX:
		return STEP_COMPLEX;
	case HM_RULE_UNKNOWN:
		return step_by_frame_pointer(stack, frame);
	case HM_RULE_NONE:
	case HM_RULE_STANDARD:
		break;
	}
	return STEP_LOST;
}

static inline enum step step(struct stack *stack, union hm_rule rule, struct hm_trail_frame *frame)
{
	if (HM_LIKELY(rule.kind == HM_RULE_STANDARD))
		return step_standard(stack, rule, frame);

	/* A copy, so that the frame itself stays in registers. */
	struct hm_trail_frame copy = *frame;
	const enum step stepped = step_unusual(stack, rule, &copy);

	*frame = copy;
	return stepped;
}

/* Stores the frame, unless it is one of ours at the inner end. */
static inline void store(struct hm_walk *walk, uint64_t *frames, uintptr_t pc, union hm_rule rule)
{
	if (walk->frame_count == 0 && pc >= own_start && pc < own_end)
		return;
	frames[walk->frame_count++] = hm_frame_make(rule.module_index, pc);
}

static struct hm_walk end_of(struct hm_walk walk, enum hm_walk_end end)
{
	walk.end = end;
	return walk;
}

/* A walk that takes all registers to finish. */
struct completion {
	struct hm_registers registers; /* to begin with */
	struct hm_walk walk;           /* so far; then all of it */
	union hm_rule rule;            /* of the last frame that was stored */
	uintptr_t sp;                  /* of that frame */
	uint64_t *frames;
	uint32_t frames_max;
};

/* Goes on from the frame that the unwinder has reached. */
static struct hm_walk go_on_by_registers(const struct completion *completion)
{
	struct hm_walk walk = completion->walk;
	union hm_rule rule = completion->rule;

	for (;;) {
		uintptr_t pc;
		uintptr_t sp;
		const enum hm_unwinder_step stepped = hm_unwinder_step(&pc, &sp);

		/* The unwinder calls it the end, too, when it finds no frame pointer to follow. */
		if (stepped == HM_UNWINDER_OUTERMOST && rule.kind != HM_RULE_UNKNOWN)
			return end_of(walk, HM_WALK_COMPLETE);
		if (stepped != HM_UNWINDER_STEPPED || pc < CODE_LOWEST || pc > code_highest)
			return end_of(walk, HM_WALK_TRUNCATED);
		if (walk.frame_count == completion->frames_max)
			return end_of(walk, HM_WALK_CUT);
		if (rule.kind != HM_RULE_SIGNAL)
			pc--;
		rule = hm_unwind_rule_find_locked(pc);
		store(&walk, completion->frames, pc, rule);
	}
}

/* Steps from `registers` until the frame whose SP is `sp`. */
static bool start_at(const struct hm_registers *registers, uintptr_t sp)
{
	enum { STEPS_MAX = HM_FRAMES_MAX + 32 }; /* those of a walk, and our own */
	uintptr_t reached_pc;
	uintptr_t reached_sp = 0;

	hm_unwinder_start(registers);
	for (int steps = 0; steps < STEPS_MAX && reached_sp != sp; steps++)
		if (hm_unwinder_step(&reached_pc, &reached_sp) != HM_UNWINDER_STEPPED)
			return false;
	return reached_sp == sp;
}

static void complete(void *argument)
{
	struct completion *const completion = argument;

	if (start_at(&completion->registers, completion->sp))
		completion->walk = go_on_by_registers(completion);
}

/*
 * Finishes a walk by all registers: the shape of the frame at `sp`, the last one stored, is not one that
 * rules have, and what it needs may be in registers that the walk did not follow.  So the unwinder begins
 * here, and comes by that frame.
 */
HM_COLD static struct hm_walk finish_complex(struct hm_walk walk, union hm_rule rule, uintptr_t sp,
					     uint64_t *frames, uint32_t frames_max)
{
	struct completion completion = {
		.walk = end_of(walk, HM_WALK_TRUNCATED),
		.rule = rule,
		.sp = sp,
		.frames = frames,
		.frames_max = frames_max,
	};

	/* One snapshot: nothing in it moves the stack, so what holds at its first instruction holds at its
	 * last. */
	__asm__ volatile(
		"leaq 0(%%rip), %%rax\n\t"
		"movq %%rax, %c[rip](%[to])\n\t"
		"movq %%rsp, %c[rsp](%[to])\n\t"
		"movq %%rbp, %c[rbp](%[to])\n\t"
		"movq %%rbx, %c[rbx](%[to])\n\t"
		"movq %%r12, %c[r12](%[to])\n\t"
		"movq %%r13, %c[r13](%[to])\n\t"
		"movq %%r14, %c[r14](%[to])\n\t"
		"movq %%r15, %c[r15](%[to])"
		:
		:
		[to] "r"(&completion.registers), [rip] "i"(offsetof(struct hm_registers, rip)),
		[rsp] "i"(offsetof(struct hm_registers, rsp)), [rbp] "i"(offsetof(struct hm_registers, rbp)),
		[rbx] "i"(offsetof(struct hm_registers, rbx)), [r12] "i"(offsetof(struct hm_registers, r12)),
		[r13] "i"(offsetof(struct hm_registers, r13)), [r14] "i"(offsetof(struct hm_registers, r14)),
		[r15] "i"(offsetof(struct hm_registers, r15))
		: "rax", "memory");

	(void)hm_unwind_rules_run(complete, &completion);
	return completion.walk;
}

/* It keeps a frame pointer, so its own frame needs no rule: saved FP, return address. */
static struct hm_trail_frame caller_of(const void *own_frame)
{
	const uintptr_t *const own = own_frame;

	return (struct hm_trail_frame){ .pc = own[1] - 1, .sp = (uintptr_t)(own + 2), .fp = own[0] };
}

/* How the frame that a step has led to was come to: see trail.h. */
static uintptr_t origin_of(union hm_rule rule, const struct hm_trail_frame *frame)
{
	if (rule.kind != HM_RULE_STANDARD)
		return HM_TRAIL_BARRIER;
	if (rule.fp_offset == 0)
		return 0;
	return frame->sp + (uintptr_t)(int64_t)rule.fp_offset * WORD_BYTES;
}

static uintptr_t steps_on_fp(union hm_rule rule)
{
	const bool may_do =
		rule.kind == HM_RULE_STANDARD ? rule.cfa_is_on_fp : rule.kind != HM_RULE_OUTERMOST;

	return may_do ? HM_TRAIL_STEPS_ON_FP : 0;
}

/* A walk by a trail has no frames of ours: see hm_frames_walk_trail. */
static inline void store_for(struct hm_trail *trail, struct hm_walk *walk, uint64_t *frames,
			     const struct hm_trail_frame *frame, union hm_rule rule, uintptr_t origin)
{
	if (trail == NULL) {
		store(walk, frames, frame->pc, rule);
		return;
	}
	hm_trail_store(trail, hm_frame_make(rule.module_index, frame->pc), frame, origin | steps_on_fp(rule));
	walk->frame_count = trail->fresh_count;
}

static struct hm_walk finish_by_trail(struct hm_trail *trail, enum hm_walk_end end)
{
	hm_trail_finish(trail, end == HM_WALK_CUT);
	return (struct hm_walk){ .frame_count = trail->kept_count, .end = end, .is_kept = true };
}

/* The trail has led to a frame with no room for another: is there one, as there was?  Else no frames. */
static struct hm_walk finish_at_cut(struct hm_trail *trail, struct stack *stack, struct hm_trail_frame frame)
{
	if (step(stack, hm_unwind_rule_find(frame.pc), &frame) == STEP_DONE)
		return finish_by_trail(trail, HM_WALK_CUT);
	hm_trail_forget(trail);
	return (struct hm_walk){ .end = HM_WALK_TRUNCATED };
}

/* The walk itself; trail NULL: without one.  Else frames are the trail's fresh words. */
static inline __attribute__((always_inline)) struct hm_walk walk_from(struct hm_trail_frame frame,
								      struct hm_stack_bounds *bounds,
								      struct hm_trail *trail,
								      uint64_t *frames, uint32_t frames_max)
{
	struct stack stack = { .window = *bounds, .first_sp = frame.sp };
	const bool is_known_as_own = is_inside(bounds, frame.sp);
	struct hm_walk walk = { 0 };
	uintptr_t origin = HM_TRAIL_BARRIER;
	union hm_rule rule;
	enum step stepped;

	if (!is_known_as_own)
		set_empty_window(&stack.window, frame.sp);
	do {
		enum hm_trail_meeting meeting = HM_TRAIL_APART;

		if (trail != NULL)
			meeting = hm_trail_meet(trail, &frame, origin, stack.window.high, frames_max);
		if (meeting == HM_TRAIL_TO_END)
			return finish_by_trail(trail, HM_WALK_COMPLETE);
		if (meeting == HM_TRAIL_TO_CUT)
			return finish_at_cut(trail, &stack, frame);
		rule = hm_unwind_rule_find(frame.pc);
		if (meeting == HM_TRAIL_AHEAD)
			walk.frame_count = trail->fresh_count;
		else
			store_for(trail, &walk, frames, &frame, rule, origin);
		stepped = step(&stack, rule, &frame);
		origin = origin_of(rule, &frame);
	} while (stepped == STEP_DONE && walk.frame_count < frames_max);
	keep_window(
		&stack, bounds,
		(stepped == STEP_OUTERMOST && rule.kind == HM_RULE_OUTERMOST) ||
			(stepped == STEP_DONE && (is_known_as_own || join_known(&stack, bounds, frame.sp))));

	switch (stepped) {
	case STEP_DONE:
		if (trail != NULL && !stack.has_switched)
			return finish_by_trail(trail, HM_WALK_CUT);
		return end_of(walk, HM_WALK_CUT);
	case STEP_OUTERMOST:
		if (trail != NULL && rule.kind == HM_RULE_OUTERMOST && !stack.has_switched)
			return finish_by_trail(trail, HM_WALK_COMPLETE);
		return end_of(walk, HM_WALK_COMPLETE);
	case STEP_COMPLEX:
		return finish_complex(walk, rule, frame.sp, frames, frames_max);
	case STEP_LOST:
		break;
	}
	return end_of(walk, HM_WALK_TRUNCATED);
}

HM_NOINLINE struct hm_walk hm_frames_walk(struct hm_stack_bounds *bounds, const void *own_frame,
					  uint64_t *frames, uint32_t frames_max)
{
	return walk_from(caller_of(own_frame != NULL ? own_frame : __builtin_frame_address(0)), bounds, NULL,
			 frames, frames_max);
}

HM_NOINLINE bool hm_frames_walk_trail(struct hm_stack_bounds *bounds, const void *own_frame,
				      struct hm_trail *trail, uint32_t frames_max, struct hm_walk *ret_walk)
{
	const struct hm_trail_frame frame =
		caller_of(own_frame != NULL ? own_frame : __builtin_frame_address(0));

	if (!is_inside(bounds, frame.sp) || (frame.pc >= own_start && frame.pc < own_end))
		return false;
	*ret_walk = walk_from(frame, bounds, trail, trail->fresh.words, frames_max);
	return ret_walk->frame_count != 0;
}

void hm_frames_look_ahead(struct hm_stack_bounds *bounds)
{
	enum { PAGES_AHEAD = 64 };
	uint64_t frames[HM_FRAMES_MAX];

	(void)hm_frames_walk(bounds, NULL, frames, HM_FRAMES_MAX);
	for (int pages = 0; pages < PAGES_AHEAD && bounds->low != 0; pages++) {
		if (!hm_memory_is_readable((const void *)(bounds->low - PAGE_BYTES)))
			return;
		bounds->low -= PAGE_BYTES;
	}
}

HM_NOINLINE bool hm_frames_contain(struct hm_stack_bounds *bounds, uintptr_t inner_cfa, uintptr_t cfa)
{
	enum { STEPS_MAX = 1 << 16 };
	struct hm_trail_frame frame = caller_of(__builtin_frame_address(0));
	struct stack stack = { .window = *bounds, .first_sp = frame.sp };
	bool is_outside = false;

	if (!is_inside(&stack.window, frame.sp))
		set_empty_window(&stack.window, frame.sp);
	for (int steps = 0; steps < STEPS_MAX; steps++) {
		const uintptr_t pc = frame.pc;
		const enum step stepped = step(&stack, hm_unwind_rule_find(pc), &frame);

		if (stepped != STEP_DONE)
			return stepped != STEP_OUTERMOST;
		/* The SP of a frame that was stepped to is the CFA of the one that was left.  Not "further
		 * out than" by comparison: a signal handler may be on a stack of its own. */
		if (is_outside && frame.sp == cfa && pc >= own_start && pc < own_end)
			return true;
		is_outside = is_outside || frame.sp == inner_cfa;
	}
	return true;
}

void hm_frames_leave_out_library(void)
{
	struct dl_find_object own;

	if (_dl_find_object((void *)(uintptr_t)hm_frames_walk, &own) != 0)
		return;
	own_start = (uintptr_t)own.dlfo_map_start;
	own_end = (uintptr_t)own.dlfo_map_end;
}
