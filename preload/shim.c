// SPDX-License-Identifier: Apache-2.0
/*
 * The exported malloc family.
 *
 * Each function is its fast path: one question (is a sample due? may the block be sampled?), nearly always
 * answered "no", and a tail call to the allocator underneath.  The `slow_` twins below do the rest and are
 * kept out of the way.  Pointers are passed through unaltered.
 */
#include "preload/cc.h"
#include "preload/filter.h"
#include "preload/lifecycle.h"
#include "preload/next.h"
#include "preload/recorder.h"
#include "preload/thread.h"
#include "preload/unwind_rules.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* C23: not declared by the headers of glibc 2.36. */
void free_sized(void *block, size_t size_bytes);
void free_aligned_sized(void *block, size_t alignment, size_t size_bytes);

static inline bool is_due(size_t size_bytes)
{
	return HM_UNLIKELY(hm_sampler_is_due(&hm_thread.sampler, size_bytes));
}

static inline bool may_be_sampled(const void *block)
{
	return HM_UNLIKELY(hm_filter_may_contain((uintptr_t)block));
}

static HM_COLD void *slow_malloc(size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return hm_next.malloc(size_bytes);

	void *const block = hm_next.malloc(size_bytes);

	hm_recorder_end((uintptr_t)block, size_bytes, weight);
	return block;
}

HM_HOT_EXPORT void *malloc(size_t size_bytes)
{
	if (is_due(size_bytes))
		return slow_malloc(size_bytes);
	return hm_next.malloc(size_bytes);
}

/* An arena block never goes to the allocator underneath; its free ends here. */
static HM_COLD bool forget(const void *block)
{
	if (hm_next_owns(block))
		return false;
	hm_recorder_freed((uintptr_t)block);
	return true;
}

static HM_COLD void slow_free(void *block)
{
	if (forget(block))
		hm_next.free(block);
}

HM_HOT_EXPORT void free(void *block)
{
	/* Forget before freeing: once the allocator has the block, another thread may receive the same
	 * address and record it first. */
	if (may_be_sampled(block))
		slow_free(block);
	else
		hm_next.free(block);
}

static HM_COLD void *slow_calloc(size_t count, size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(count * size_bytes, __builtin_return_address(0), __builtin_frame_address(0),
			       &weight))
		return hm_next.calloc(count, size_bytes);

	void *const block = hm_next.calloc(count, size_bytes);

	hm_recorder_end((uintptr_t)block, count * size_bytes, weight);
	return block;
}

HM_HOT_EXPORT void *calloc(size_t count, size_t size_bytes)
{
	size_t total_bytes;

	/* A product that overflows fails underneath, with the errno that belongs to it. */
	if (!__builtin_mul_overflow(count, size_bytes, &total_bytes) && is_due(total_bytes))
		return slow_calloc(count, size_bytes);
	return hm_next.calloc(count, size_bytes);
}

/* A block from before the allocator underneath was known moves into it. */
static void *move_out_of_arena(const void *block, size_t size_bytes)
{
	const size_t old_size_bytes = hm_next_owned_size(block);
	void *const moved = hm_next.malloc(size_bytes);

	if (moved != NULL)
		memcpy(moved, block, old_size_bytes < size_bytes ? old_size_bytes : size_bytes);
	return moved;
}

/* One block goes and one comes: two events, around one call that may fail and then changes nothing. */
static HM_COLD void *slow_realloc(void *block, size_t size_bytes, bool is_sample_due)
{
	struct hm_live_value old;
	float weight;
	const bool is_arena_block = hm_next_owns(block);
	const bool was_sampled = !is_arena_block && hm_filter_may_contain((uintptr_t)block) &&
				 hm_recorder_take((uintptr_t)block, &old);
	const bool is_sampled = is_sample_due && hm_recorder_begin(size_bytes, __builtin_return_address(0),
								   __builtin_frame_address(0), &weight);
	void *const moved =
		is_arena_block ? move_out_of_arena(block, size_bytes) : hm_next.realloc(block, size_bytes);

	/* realloc(block, 0) frees and returns NULL, where it does not return a new empty block. */
	if (was_sampled && moved == NULL && size_bytes != 0)
		hm_recorder_put_back((uintptr_t)block, &old);
	else if (was_sampled)
		hm_recorder_freed_value(&old);
	if (is_sampled)
		hm_recorder_end((uintptr_t)moved, size_bytes, weight);
	return moved;
}

HM_HOT_EXPORT void *realloc(void *block, size_t size_bytes)
{
	const bool is_sample_due = is_due(size_bytes);

	if (is_sample_due || may_be_sampled(block))
		return slow_realloc(block, size_bytes, is_sample_due);
	return hm_next.realloc(block, size_bytes);
}

/*
 * As the C library does it: by the realloc that the program sees.  That is ours, which counts; or that of an
 * allocator in front of us, whose block this is then.  The C library's own leaves errno as realloc did; an
 * allocator's own, after the BSD manual, says ENOMEM.
 */
HM_EXPORT void *reallocarray(void *block, size_t count, size_t size_bytes)
{
	size_t total_bytes;

	if (__builtin_mul_overflow(count, size_bytes, &total_bytes)) {
		errno = ENOMEM;
		return NULL;
	}

	void *const moved = hm_next.visible_realloc(block, total_bytes);

	if (moved == NULL && total_bytes != 0 && hm_next.has_reallocarray)
		errno = ENOMEM;
	return moved;
}

static HM_COLD int slow_posix_memalign(void **ret_block, size_t alignment, size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return hm_next.posix_memalign(ret_block, alignment, size_bytes);

	const int error = hm_next.posix_memalign(ret_block, alignment, size_bytes);

	hm_recorder_end(error == 0 ? (uintptr_t)*ret_block : 0, size_bytes, weight);
	return error;
}

HM_EXPORT int posix_memalign(void **ret_block, size_t alignment, size_t size_bytes)
{
	if (is_due(size_bytes))
		return slow_posix_memalign(ret_block, alignment, size_bytes);
	return hm_next.posix_memalign(ret_block, alignment, size_bytes);
}

static HM_COLD void *slow_memalign(size_t alignment, size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return hm_next.memalign(alignment, size_bytes);

	void *const block = hm_next.memalign(alignment, size_bytes);

	hm_recorder_end((uintptr_t)block, size_bytes, weight);
	return block;
}

HM_EXPORT void *memalign(size_t alignment, size_t size_bytes)
{
	if (is_due(size_bytes))
		return slow_memalign(alignment, size_bytes);
	return hm_next.memalign(alignment, size_bytes);
}

static HM_COLD void *slow_aligned_alloc(size_t alignment, size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return hm_next.aligned_alloc(alignment, size_bytes);

	void *const block = hm_next.aligned_alloc(alignment, size_bytes);

	hm_recorder_end((uintptr_t)block, size_bytes, weight);
	return block;
}

HM_EXPORT void *aligned_alloc(size_t alignment, size_t size_bytes)
{
	if (is_due(size_bytes))
		return slow_aligned_alloc(alignment, size_bytes);
	return hm_next.aligned_alloc(alignment, size_bytes);
}

static HM_COLD void *slow_valloc(size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return hm_next.valloc(size_bytes);

	void *const block = hm_next.valloc(size_bytes);

	hm_recorder_end((uintptr_t)block, size_bytes, weight);
	return block;
}

HM_EXPORT void *valloc(size_t size_bytes)
{
	if (is_due(size_bytes))
		return slow_valloc(size_bytes);
	return hm_next.valloc(size_bytes);
}

static HM_COLD void *slow_pvalloc(size_t size_bytes)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return hm_next.pvalloc(size_bytes);

	void *const block = hm_next.pvalloc(size_bytes);

	hm_recorder_end((uintptr_t)block, size_bytes, weight);
	return block;
}

/* Counted as asked for: that pvalloc rounds up to whole pages is the allocator's overhead, as a size class
 * is. */
HM_EXPORT void *pvalloc(size_t size_bytes)
{
	if (is_due(size_bytes))
		return slow_pvalloc(size_bytes);
	return hm_next.pvalloc(size_bytes);
}

/* C23.  An allocator that does not have these yet takes the block by the free that the program sees. */
HM_EXPORT void free_sized(void *block, size_t size_bytes)
{
	const struct hm_next_sized next = hm_next_sized();

	if (next.free_sized == NULL)
		hm_next.visible_free(block);
	else if (!may_be_sampled(block) || forget(block))
		next.free_sized(block, size_bytes);
}

HM_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size_bytes)
{
	const struct hm_next_sized next = hm_next_sized();

	if (next.free_aligned_sized == NULL)
		hm_next.visible_free(block);
	else if (!may_be_sampled(block) || forget(block))
		next.free_aligned_sized(block, alignment, size_bytes);
}

/* Not of the family, but dlclose has no caller semantics, and after it addresses may mean something else. */
HM_EXPORT int dlclose(void *handle)
{
	hm_unwind_rules_before_unload();

	const int result = hm_next.dlclose(handle);

	hm_unwind_rules_after_unload();
	return result;
}

/* For a program that does not allocate before main: its first sample finds the library started. */
__attribute__((constructor)) static void start(void)
{
	hm_thread.busy_frame = HM_BUSY_THROUGHOUT;
	(void)hm_lifecycle_prepare(
		(const void *)(uintptr_t)start); /* called by the loader, but between two objects */
	hm_thread.busy_frame = 0;
}
