// SPDX-License-Identifier: Apache-2.0
#include "preload/recorder.h"

#include "preload/cc.h"
#include "preload/filter.h"
#include "preload/frames.h"
#include "preload/ledger_file.h"
#include "preload/lifecycle.h"
#include "preload/next.h"
#include "preload/peak.h"
#include "preload/probes.h"
#include "preload/process.h"
#include "preload/stacks.h"
#include "preload/thread.h"
#include "preload/trail.h"

#include <errno.h>

_Thread_local struct hm_thread hm_thread;

/* Far enough that the thread does not come back. */
static const int64_t NEVER_BYTES = INT64_C(1) << 62;

static bool is_recording(void)
{
	/* acquire: pairs with the release in lifecycle; the ledger is laid out */
	return atomic_load_explicit(&hm_process->state, memory_order_acquire) == HM_PROCESS_RECORDING;
}

/* A thread that this process has not seen: a new one, or the one that came out of a fork. */
static void adopt(struct hm_thread *thread, uint64_t token, size_t size_bytes)
{
	/* relaxed: only a number that no other thread gets */
	const uint64_t number = atomic_fetch_add_explicit(&hm_process->thread_count, 1, memory_order_relaxed);

	/* Any odd factor keeps the seeds of different threads apart. */
	hm_sampler_seed(&thread->sampler, token + number * UINT64_C(0xd1342543de82ef95));
	thread->process_token = token;
	(void)hm_sampler_is_due(&thread->sampler, size_bytes); /* for hm_sampler_decide, which undoes it */
}

/* Not recording: NEW and STARTING may change with the next call, the others do not. */
static void stand_aside(struct hm_thread *thread, size_t size_bytes)
{
	const uint32_t state = atomic_load_explicit(&hm_process->state, memory_order_relaxed);

	if (state == HM_PROCESS_OFF || state == HM_PROCESS_FINISHED)
		thread->sampler.countdown_bytes = NEVER_BYTES;
	else
		hm_sampler_undo(&thread->sampler, size_bytes);
}

/*
 * Whether the figures are exact, and of everything, depends on every interval that a thread has sampled with.
 * relaxed: statistics.  Read first: the line is shared by all threads, and nothing changes nearly always.
 */
static void note_interval(uint64_t interval_bytes)
{
	struct hm_ledger_intervals *const intervals =
		is_recording() ? &hm_ledger_header(&hm_ledger)->intervals : &hm_process->intervals;

	if (interval_bytes == 0) {
		if (atomic_load_explicit(&intervals->slept, memory_order_relaxed) == 0)
			atomic_store_explicit(&intervals->slept, 1, memory_order_relaxed);
		return;
	}

	uint64_t longest_bytes = atomic_load_explicit(&intervals->longest_bytes, memory_order_relaxed);

	while (longest_bytes < interval_bytes &&
	       !atomic_compare_exchange_weak_explicit(&intervals->longest_bytes, &longest_bytes,
						      interval_bytes, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/*
 * A guard that is up belongs to a frame further out, or was left behind by a longjmp.  The second is as rare
 * as it would be grave, the thread being never sampled again, so the stack is searched for that frame.
 */
static bool is_nested(struct hm_thread *thread, uintptr_t frame)
{
	enum { CFA_OFFSET = 16 }; /* a frame address is where FP is saved, below the return address */

	if (HM_LIKELY(thread->busy_frame == 0))
		return false;
	return (thread->busy_frame & (HM_BUSY_THROUGHOUT | HM_BUSY_FORKING)) != 0 ||
	       hm_frames_contain(&thread->stack, frame + CFA_OFFSET, thread->busy_frame + CFA_OFFSET);
}

/*
 * An allocation that is not the program's own: a point in it is thrown away and the next distance drawn.  To
 * take the subtraction back would leave a distance that is known to be shorter than this allocation, and the
 * next ones would be sampled too often.
 */
static void pass_over(struct hm_thread *thread, size_t size_bytes)
{
	float ignored_weight;

	if (is_recording()) {
		(void)hm_sampler_decide(&thread->sampler, size_bytes, hm_lifecycle_interval_bytes(),
					&ignored_weight);
		note_interval(thread->sampler.interval_bytes);
	} else {
		hm_sampler_undo(&thread->sampler, size_bytes);
	}
}

/*
 * Whether an allocation that is due is a sample, of a process that is ready for it.  A fork child that sleeps
 * starts its ledger when one of its threads looks up for the second time: through it the child is woken, and
 * most children have come to their end by then.
 */
static bool decide(struct hm_thread *thread, size_t size_bytes, const void *caller, float *ret_weight)
{
	/* relaxed: prepared by this thread, or before the state was seen to be recording */
	const uint64_t token = atomic_load_explicit(&hm_process->token, memory_order_relaxed);
	const uint64_t interval_bytes = hm_lifecycle_interval_bytes();
	const bool is_known = thread->process_token == token;

	if (!is_known)
		adopt(thread, token, size_bytes);

	const bool is_hit = hm_sampler_decide(&thread->sampler, size_bytes, interval_bytes, ret_weight);
	const bool is_asleep = is_known && interval_bytes == 0;

	note_interval(thread->sampler.interval_bytes);
	/* A call of the allocator to itself is part of one that was looked at already. */
	return (is_hit || is_asleep) && !hm_next_is_allocator(caller) &&
	       (is_recording() || hm_lifecycle_start()) && is_hit;
}

bool hm_recorder_begin(size_t size_bytes, const void *caller, const void *frame, float *ret_weight)
{
	struct hm_thread *const thread = &hm_thread;
	bool sampled = false;

	if (is_nested(thread, (uintptr_t)frame)) {
		pass_over(thread, size_bytes);
		return false;
	}
	thread->busy_frame = (uintptr_t)frame;

	if (!is_recording() && !hm_lifecycle_prepare(caller))
		stand_aside(thread, size_bytes);
	else
		sampled = decide(thread, size_bytes, caller, ret_weight);
	if (!sampled)
		thread->busy_frame = 0;
	return sampled;
}

/* The stack without the library's own frames: it begins where the program has called. */
static const void *outermost_own_frame(const struct hm_thread *thread)
{
	return (const void *)(thread->busy_frame & ~(HM_BUSY_THROUGHOUT | HM_BUSY_FORKING));
}

static uint32_t frames_max_of(const struct hm_ledger_file *ledger)
{
	return hm_ledger_header(ledger)->frames_kept_max;
}

/* What is to be said of how a walk ended: flags of the stack. */
static uint8_t flags_of(const struct hm_ledger_file *ledger, enum hm_walk_end end)
{
	switch (end) {
	case HM_WALK_TRUNCATED:
		hm_ledger_lose(ledger, HM_LOSS_TRUNCATED);
		return HM_STACK_TRUNCATED;
	case HM_WALK_CUT:
		hm_ledger_lose(ledger, HM_LOSS_CUT);
		return HM_STACK_CUT;
	case HM_WALK_COMPLETE:
		break;
	}
	return 0;
}

static uint32_t intern_without_trail(struct hm_ledger_file *ledger)
{
	uint64_t frames[HM_FRAMES_MAX];
	const struct hm_walk walk = hm_frames_walk(&hm_thread.stack, outermost_own_frame(&hm_thread), frames,
						   frames_max_of(ledger));

	return hm_stack_intern(ledger, frames, walk.frame_count, flags_of(ledger, walk.end));
}

/* Returns 0 where the trail is of no help. */
static uint32_t intern_by_trail(struct hm_ledger_file *ledger, struct hm_trail *trail)
{
	struct hm_walk walk;

	if (!hm_frames_walk_trail(&hm_thread.stack, outermost_own_frame(&hm_thread), trail,
				  frames_max_of(ledger), &walk))
		return 0;

	const uint64_t *const frames = hm_trail_frames_of(trail, &walk);
	const uint8_t flags = flags_of(ledger, walk.end);

	if (!walk.is_kept)
		return hm_stack_intern(ledger, frames, walk.frame_count, flags);
	if (trail->stack_unit != 0)
		return trail->stack_unit;

	const uint32_t unit = hm_stack_intern_hashed(ledger, frames, walk.frame_count, flags,
						     trail->kept_hashes[hm_trail_start(trail)]);

	/* Each sample under [overflow] is a loss to be counted. */
	if (unit != hm_ledger_header(ledger)->overflow_unit)
		trail->stack_unit = unit;
	return unit;
}

static uint32_t intern_stack(struct hm_ledger_file *ledger)
{
	struct hm_trail *const trail = hm_trail_claim(hm_thread.stack.high);
	uint32_t unit = 0;

	if (trail != NULL) {
		unit = intern_by_trail(ledger, trail);
		hm_trail_release(trail);
	}
	return unit != 0 ? unit : intern_without_trail(ledger);
}

static void count_freed(const struct hm_ledger_file *ledger, const struct hm_live_value *value)
{
	struct hm_ledger_stack *const stack = hm_ledger_unit(ledger, value->stack_unit);

	hm_peak_before_free(hm_ledger_header(ledger), stack,
			    hm_stack_bytes_fixed(value->size_bytes, value->weight));
	hm_stack_add_freed(stack, value->size_bytes, value->weight);
}

/*
 * The allocator has given out an address that is still in the table: the block was freed behind our back
 * (RTLD_DEEPBIND, an allocator's own entry points).  It is retired now, late but not lost.
 */
static void evict(struct hm_ledger_file *ledger, uint64_t address)
{
	struct hm_live_value old;

	if (hm_filter_may_contain((uintptr_t)address) && hm_live_take(ledger, address, &old)) {
		hm_probe_free(address);
		count_freed(ledger, &old);
		hm_ledger_lose(ledger, HM_LOSS_MISSED_FREE);
	}
}

/* relaxed: statistics.  Read first: the line is shared by all threads, and changes 16 times a second. */
static void note_sample(struct hm_ledger_header *header, uint64_t ticks)
{
	if (atomic_load_explicit(&header->has_samples, memory_order_relaxed) == 0)
		atomic_store_explicit(&header->has_samples, 1, memory_order_relaxed);
	if (atomic_load_explicit(&header->sampled_ticks, memory_order_relaxed) < ticks)
		atomic_store_explicit(&header->sampled_ticks, ticks, memory_order_relaxed);
}

static void record(struct hm_ledger_file *ledger, uint64_t address, size_t size_bytes, float weight)
{
	hm_live_prefetch(ledger, address); /* while the stack is walked */

	struct hm_live_value value = {
		.size_bytes = size_bytes,
		.stack_unit = intern_stack(ledger),
		.weight = weight,
		.birth_ticks = (uint32_t)(hm_process_ticks() - hm_process->start_ticks),
	};

	evict(ledger, address);
	hm_probe_alloc(address, size_bytes, weight);

	if (hm_live_insert(ledger, address, &value)) {
		struct hm_ledger_stack *const stack = hm_ledger_unit(ledger, value.stack_unit);

		hm_peak_before_alloc(hm_ledger_header(ledger), stack);
		hm_stack_add_alloc(stack, size_bytes, weight);
		hm_peak_after_alloc(hm_ledger_header(ledger), hm_stack_bytes_fixed(size_bytes, weight));
	} else { /* allocated and freed at once: of no concern to the high-water mark */
		value.stack_unit = hm_ledger_header(ledger)->dropped_unit;
		hm_stack_add_alloc(hm_ledger_unit(ledger, value.stack_unit), size_bytes, weight);
		hm_stack_add_freed(hm_ledger_unit(ledger, value.stack_unit), size_bytes, weight);
		hm_probe_free(address); /* the real one will not be noticed */
		hm_ledger_lose(ledger, HM_LOSS_LIVE);
	}
	note_sample(hm_ledger_header(ledger), value.birth_ticks);
}

void hm_recorder_pause(void)
{
	hm_thread.busy_frame = 0;
}

void hm_recorder_resume(const void *frame)
{
	hm_thread.busy_frame = (uintptr_t)frame;
}

void hm_recorder_end(uint64_t address, size_t size_bytes, float weight)
{
	const int saved_errno = errno;

	if (address != 0 && is_recording())
		record(&hm_ledger, address, size_bytes, weight);
	hm_thread.busy_frame = 0;
	errno = saved_errno;
}

bool hm_recorder_take(uint64_t address, struct hm_live_value *ret_value)
{
	const bool is_taken = is_recording() && hm_live_take(&hm_ledger, address, ret_value);

	if (is_taken)
		hm_probe_free(address);
	return is_taken;
}

void hm_recorder_freed_value(const struct hm_live_value *value)
{
	if (is_recording())
		count_freed(&hm_ledger, value);
}

void hm_recorder_put_back(uint64_t address, const struct hm_live_value *value)
{
	struct hm_ledger_file *const ledger = &hm_ledger;

	if (!is_recording())
		return;
	if (hm_live_insert(ledger, address, value)) {
		/* It was said to be free before realloc was tried, while the address could not be another's.
		 */
		hm_probe_alloc(address, value->size_bytes, value->weight);
	} else {
		hm_ledger_lose(ledger, HM_LOSS_LIVE);
		count_freed(ledger, value);
	}
}

void hm_recorder_freed(uint64_t address)
{
	struct hm_live_value value;

	if (hm_recorder_take(address, &value))
		hm_recorder_freed_value(&value);
}

/* --- Mappings ------------------------------------------------------------------------------------------ */

static uint32_t intern_mapping_stack(struct hm_ledger_file *ledger)
{
	uint64_t frames[HM_FRAMES_MAX];
	const struct hm_walk walk = hm_frames_walk(&hm_thread.stack, outermost_own_frame(&hm_thread), frames,
						   frames_max_of(ledger));

	return hm_stack_intern(ledger, frames, walk.frame_count,
			       flags_of(ledger, walk.end) | HM_STACK_MAPPED);
}

void hm_recorder_lose(enum hm_loss kind)
{
	if (is_recording())
		hm_ledger_lose(&hm_ledger, kind);
}

bool hm_recorder_begin_mapping(const void *caller, const void *frame, uint32_t *ret_stack_unit)
{
	struct hm_thread *const thread = &hm_thread;
	const int saved_errno = errno;

	if (is_nested(thread, (uintptr_t)frame)) {
		hm_recorder_lose(HM_LOSS_MAPPINGS);
		return false;
	}
	thread->busy_frame = (uintptr_t)frame;
	if ((!is_recording() && (!hm_lifecycle_prepare(caller) || !hm_lifecycle_start())) ||
	    hm_lifecycle_interval_bytes() == 0) {
		thread->busy_frame = 0;
		errno = saved_errno;
		return false;
	}
	*ret_stack_unit = intern_mapping_stack(&hm_ledger);
	errno = saved_errno;
	return true;
}

uint32_t hm_recorder_birth_ticks(void)
{
	return (uint32_t)(hm_process_ticks() - hm_process->start_ticks);
}

void hm_recorder_list_mapping(uint64_t start_address, uint64_t size_bytes, uint32_t stack_unit,
			      uint32_t birth_ticks)
{
	const struct hm_live_value value = {
		.size_bytes = size_bytes,
		.stack_unit = stack_unit,
		.weight = 1.0F,
		.birth_ticks = birth_ticks,
	};

	if (is_recording() && !hm_live_insert(&hm_ledger, hm_live_mapped_address(start_address), &value))
		hm_ledger_lose(&hm_ledger, HM_LOSS_LIVE);
}

void hm_recorder_unlist_mapping(uint64_t start_address)
{
	struct hm_live_value ignored;

	if (is_recording())
		(void)hm_live_take(&hm_ledger, hm_live_mapped_address(start_address), &ignored);
}

void hm_recorder_mapped(uint64_t start_address, uint64_t size_bytes, uint32_t stack_unit,
			uint32_t birth_ticks)
{
	if (!is_recording())
		return;

	struct hm_ledger_header *const header = hm_ledger_header(&hm_ledger);
	struct hm_ledger_stack *const stack = hm_ledger_unit(&hm_ledger, stack_unit);

	hm_recorder_list_mapping(start_address, size_bytes, stack_unit, birth_ticks);
	hm_peak_before_alloc(header, stack);
	hm_stack_add_alloc(stack, size_bytes, 1.0F);
	hm_peak_after_alloc(header, hm_stack_bytes_fixed(size_bytes, 1.0F));
	note_sample(header, birth_ticks);
}

void hm_recorder_divided(uint32_t stack_unit, uint32_t more_count)
{
	if (is_recording() && more_count != 0)
		hm_stack_divide(hm_ledger_unit(&hm_ledger, stack_unit), more_count);
}

void hm_recorder_unmapped(uint32_t stack_unit, uint64_t size_bytes, bool is_last, bool is_hole)
{
	if (!is_recording())
		return;

	struct hm_ledger_stack *const stack = hm_ledger_unit(&hm_ledger, stack_unit);

	hm_peak_before_free(hm_ledger_header(&hm_ledger), stack, hm_stack_bytes_fixed(size_bytes, 1.0F));
	if (is_hole)
		hm_stack_divide(stack, 1);
	hm_stack_shrink(stack, size_bytes, is_last);
}
