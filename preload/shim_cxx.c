// SPDX-License-Identifier: Apache-2.0
/*
 * The C++ operators new and delete.
 *
 * Where they come from the C++ runtime they end in malloc and free, which are counted there: then these only
 * pass the call on.  An allocator that defines the operators itself (jemalloc, tcmalloc, mimalloc) serves
 * them without calling malloc: then they are counted here.  Which of the two it is, is known for each
 * operator when it is looked up: jemalloc has the plain ones and leaves the aligned ones to the runtime.
 *
 * The operator underneath is looked up behind this library; where there is none (a C program that loads a C++
 * plug-in privately), in the dependencies of the object that called.
 *
 * Compiled with -fexceptions: bad_alloc passes through.  The guard that it leaves behind is noticed as one
 * that belongs to no frame (preload/thread.h).
 */
#include "preload/cc.h"
#include "preload/filter.h"
#include "preload/next.h"
#include "preload/recorder.h"
#include "preload/say.h"
#include "preload/thread.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * All operators fit one shape: up to three arguments in registers.  new(size), new(size, alignment),
 * new(size, nothrow), new(size, alignment, nothrow); delete(block, size, alignment) and its shorter kinds.
 * The calling convention lets a function be handed arguments that it does not look at.
 */
typedef void *(*new_function)(size_t size_bytes, uintptr_t second, uintptr_t third);
typedef void (*delete_function)(void *block, uintptr_t second, uintptr_t third);

enum operator_index {
	NEW,
	NEW_ARRAY,
	NEW_NOTHROW,
	NEW_ARRAY_NOTHROW,
	NEW_ALIGNED,
	NEW_ARRAY_ALIGNED,
	NEW_ALIGNED_NOTHROW,
	NEW_ARRAY_ALIGNED_NOTHROW,
	DELETE,
	DELETE_ARRAY,
	DELETE_SIZED,
	DELETE_ARRAY_SIZED,
	DELETE_NOTHROW,
	DELETE_ARRAY_NOTHROW,
	DELETE_ALIGNED,
	DELETE_ARRAY_ALIGNED,
	DELETE_SIZED_ALIGNED,
	DELETE_ARRAY_SIZED_ALIGNED,
	DELETE_ALIGNED_NOTHROW,
	DELETE_ARRAY_ALIGNED_NOTHROW,
	OPERATORS,
};

/* As the Itanium C++ ABI mangles them. */
static const char *const operator_name[OPERATORS] = {
	[NEW] = "_Znwm",
	[NEW_ARRAY] = "_Znam",
	[NEW_NOTHROW] = "_ZnwmRKSt9nothrow_t",
	[NEW_ARRAY_NOTHROW] = "_ZnamRKSt9nothrow_t",
	[NEW_ALIGNED] = "_ZnwmSt11align_val_t",
	[NEW_ARRAY_ALIGNED] = "_ZnamSt11align_val_t",
	[NEW_ALIGNED_NOTHROW] = "_ZnwmSt11align_val_tRKSt9nothrow_t",
	[NEW_ARRAY_ALIGNED_NOTHROW] = "_ZnamSt11align_val_tRKSt9nothrow_t",
	[DELETE] = "_ZdlPv",
	[DELETE_ARRAY] = "_ZdaPv",
	[DELETE_SIZED] = "_ZdlPvm",
	[DELETE_ARRAY_SIZED] = "_ZdaPvm",
	[DELETE_NOTHROW] = "_ZdlPvRKSt9nothrow_t",
	[DELETE_ARRAY_NOTHROW] = "_ZdaPvRKSt9nothrow_t",
	[DELETE_ALIGNED] = "_ZdlPvSt11align_val_t",
	[DELETE_ARRAY_ALIGNED] = "_ZdaPvSt11align_val_t",
	[DELETE_SIZED_ALIGNED] = "_ZdlPvmSt11align_val_t",
	[DELETE_ARRAY_SIZED_ALIGNED] = "_ZdaPvmSt11align_val_t",
	[DELETE_ALIGNED_NOTHROW] = "_ZdlPvSt11align_val_tRKSt9nothrow_t",
	[DELETE_ARRAY_ALIGNED_NOTHROW] = "_ZdaPvSt11align_val_tRKSt9nothrow_t",
};

/* What is underneath; written once, or more than once with the same values. */
static struct {
	void *_Atomic function;    /* NULL until first used */
	_Atomic bool is_allocator; /* the allocator's own, which does not end in malloc: counted here */
} next_operator[OPERATORS];

/* In the object that called, or what it depends on.  That runtime then stays loaded: we keep its address. */
static void *find_for_caller(const char *name, const void *caller)
{
	struct dl_find_object object;

	if (_dl_find_object((void *)(uintptr_t)caller, &object) != 0)
		return NULL;

	void *const handle = dlopen(object.dlfo_link_map->l_name, RTLD_LAZY | RTLD_NOLOAD);

	if (handle == NULL)
		return NULL;

	void *const function = dlsym(handle, name);
	Dl_info runtime;

	if (function != NULL && dladdr(function, &runtime) != 0)
		(void)dlopen(runtime.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
	(void)hm_next.dlclose(handle);
	return function;
}

static HM_COLD void *look_up(enum operator_index which, const void *caller)
{
	const uintptr_t busy_frame = hm_thread.busy_frame;

	hm_thread.busy_frame = HM_BUSY_THROUGHOUT; /* what the loader allocates now is not the program's */
	hm_next_resolve();

	void *function = dlsym(RTLD_NEXT, operator_name[which]);

	if (function == NULL)
		function = find_for_caller(operator_name[which], caller);
	hm_thread.busy_frame = busy_frame;
	if (function == NULL) {
		hm_say("no %s after libheapmark.so and none for the object that calls it; is a C++ runtime "
		       "missing?",
		       operator_name[which]);
		abort();
	}
	/* relaxed: ordered before the function */
	atomic_store_explicit(&next_operator[which].is_allocator, hm_next_defines(function),
			      memory_order_relaxed);
	/* release: pairs with next_of */
	atomic_store_explicit(&next_operator[which].function, function, memory_order_release);
	return function;
}

static inline void *next_of(enum operator_index which, const void *caller)
{
	/* acquire: is_allocator is known by then */
	void *const function = atomic_load_explicit(&next_operator[which].function, memory_order_acquire);

	return HM_LIKELY(function != NULL) ? function : look_up(which, caller);
}

static inline bool is_counted_here(enum operator_index which)
{
	/* relaxed: after next_of */
	return atomic_load_explicit(&next_operator[which].is_allocator, memory_order_relaxed);
}

static HM_COLD void *slow_new(new_function function, size_t size_bytes, uintptr_t second, uintptr_t third)
{
	float weight;

	if (!hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		return function(size_bytes, second, third);

	hm_recorder_pause(); /* it may throw bad_alloc */

	void *const block = function(size_bytes, second, third);

	hm_recorder_resume(__builtin_frame_address(0));
	hm_recorder_end((uintptr_t)block, size_bytes, weight);
	return block;
}

static inline __attribute__((always_inline)) void *new_through(enum operator_index which, const void *caller,
							       size_t size_bytes, uintptr_t second,
							       uintptr_t third)
{
	new_function function;
	void *const address = next_of(which, caller);

	memcpy(&function, &address, sizeof(function));
	if (is_counted_here(which) && HM_UNLIKELY(hm_sampler_is_due(&hm_thread.sampler, size_bytes)))
		return slow_new(function, size_bytes, second, third);
	return function(size_bytes, second, third);
}

static inline __attribute__((always_inline)) void
delete_through(enum operator_index which, const void *caller, void *block, uintptr_t second, uintptr_t third)
{
	delete_function function;
	void *const address = next_of(which, caller);

	memcpy(&function, &address, sizeof(function));
	/* Forget before freeing, as free() does. */
	if (is_counted_here(which) && HM_UNLIKELY(hm_filter_may_contain((uintptr_t)block)))
		hm_recorder_freed((uintptr_t)block);
	function(block, second, third);
}

/* The exported names: each says which operator it is and how many arguments it has. */

HM_EXPORT void *hm_cxx_new(size_t size_bytes) __asm__("_Znwm");
void *hm_cxx_new(size_t size_bytes)
{
	return new_through(NEW, __builtin_return_address(0), size_bytes, 0, 0);
}

HM_EXPORT void *hm_cxx_new_array(size_t size_bytes) __asm__("_Znam");
void *hm_cxx_new_array(size_t size_bytes)
{
	return new_through(NEW_ARRAY, __builtin_return_address(0), size_bytes, 0, 0);
}

HM_EXPORT void *hm_cxx_new_nothrow(size_t size_bytes, uintptr_t second) __asm__("_ZnwmRKSt9nothrow_t");
void *hm_cxx_new_nothrow(size_t size_bytes, uintptr_t second)
{
	return new_through(NEW_NOTHROW, __builtin_return_address(0), size_bytes, second, 0);
}

HM_EXPORT void *hm_cxx_new_array_nothrow(size_t size_bytes, uintptr_t second) __asm__("_ZnamRKSt9nothrow_t");
void *hm_cxx_new_array_nothrow(size_t size_bytes, uintptr_t second)
{
	return new_through(NEW_ARRAY_NOTHROW, __builtin_return_address(0), size_bytes, second, 0);
}

HM_EXPORT void *hm_cxx_new_aligned(size_t size_bytes, uintptr_t second) __asm__("_ZnwmSt11align_val_t");
void *hm_cxx_new_aligned(size_t size_bytes, uintptr_t second)
{
	return new_through(NEW_ALIGNED, __builtin_return_address(0), size_bytes, second, 0);
}

HM_EXPORT void *hm_cxx_new_array_aligned(size_t size_bytes, uintptr_t second) __asm__("_ZnamSt11align_val_t");
void *hm_cxx_new_array_aligned(size_t size_bytes, uintptr_t second)
{
	return new_through(NEW_ARRAY_ALIGNED, __builtin_return_address(0), size_bytes, second, 0);
}

HM_EXPORT void *hm_cxx_new_aligned_nothrow(size_t size_bytes, uintptr_t second,
					   uintptr_t third) __asm__("_ZnwmSt11align_val_tRKSt9nothrow_t");
void *hm_cxx_new_aligned_nothrow(size_t size_bytes, uintptr_t second, uintptr_t third)
{
	return new_through(NEW_ALIGNED_NOTHROW, __builtin_return_address(0), size_bytes, second, third);
}

HM_EXPORT void *
hm_cxx_new_array_aligned_nothrow(size_t size_bytes, uintptr_t second,
				 uintptr_t third) __asm__("_ZnamSt11align_val_tRKSt9nothrow_t");
void *hm_cxx_new_array_aligned_nothrow(size_t size_bytes, uintptr_t second, uintptr_t third)
{
	return new_through(NEW_ARRAY_ALIGNED_NOTHROW, __builtin_return_address(0), size_bytes, second, third);
}

HM_EXPORT void hm_cxx_delete(void *block) __asm__("_ZdlPv");
void hm_cxx_delete(void *block)
{
	delete_through(DELETE, __builtin_return_address(0), block, 0, 0);
}

HM_EXPORT void hm_cxx_delete_array(void *block) __asm__("_ZdaPv");
void hm_cxx_delete_array(void *block)
{
	delete_through(DELETE_ARRAY, __builtin_return_address(0), block, 0, 0);
}

HM_EXPORT void hm_cxx_delete_sized(void *block, uintptr_t second) __asm__("_ZdlPvm");
void hm_cxx_delete_sized(void *block, uintptr_t second)
{
	delete_through(DELETE_SIZED, __builtin_return_address(0), block, second, 0);
}

HM_EXPORT void hm_cxx_delete_array_sized(void *block, uintptr_t second) __asm__("_ZdaPvm");
void hm_cxx_delete_array_sized(void *block, uintptr_t second)
{
	delete_through(DELETE_ARRAY_SIZED, __builtin_return_address(0), block, second, 0);
}

HM_EXPORT void hm_cxx_delete_nothrow(void *block, uintptr_t second) __asm__("_ZdlPvRKSt9nothrow_t");
void hm_cxx_delete_nothrow(void *block, uintptr_t second)
{
	delete_through(DELETE_NOTHROW, __builtin_return_address(0), block, second, 0);
}

HM_EXPORT void hm_cxx_delete_array_nothrow(void *block, uintptr_t second) __asm__("_ZdaPvRKSt9nothrow_t");
void hm_cxx_delete_array_nothrow(void *block, uintptr_t second)
{
	delete_through(DELETE_ARRAY_NOTHROW, __builtin_return_address(0), block, second, 0);
}

HM_EXPORT void hm_cxx_delete_aligned(void *block, uintptr_t second) __asm__("_ZdlPvSt11align_val_t");
void hm_cxx_delete_aligned(void *block, uintptr_t second)
{
	delete_through(DELETE_ALIGNED, __builtin_return_address(0), block, second, 0);
}

HM_EXPORT void hm_cxx_delete_array_aligned(void *block, uintptr_t second) __asm__("_ZdaPvSt11align_val_t");
void hm_cxx_delete_array_aligned(void *block, uintptr_t second)
{
	delete_through(DELETE_ARRAY_ALIGNED, __builtin_return_address(0), block, second, 0);
}

HM_EXPORT void hm_cxx_delete_sized_aligned(void *block, uintptr_t second,
					   uintptr_t third) __asm__("_ZdlPvmSt11align_val_t");
void hm_cxx_delete_sized_aligned(void *block, uintptr_t second, uintptr_t third)
{
	delete_through(DELETE_SIZED_ALIGNED, __builtin_return_address(0), block, second, third);
}

HM_EXPORT void hm_cxx_delete_array_sized_aligned(void *block, uintptr_t second,
						 uintptr_t third) __asm__("_ZdaPvmSt11align_val_t");
void hm_cxx_delete_array_sized_aligned(void *block, uintptr_t second, uintptr_t third)
{
	delete_through(DELETE_ARRAY_SIZED_ALIGNED, __builtin_return_address(0), block, second, third);
}

HM_EXPORT void hm_cxx_delete_aligned_nothrow(void *block, uintptr_t second,
					     uintptr_t third) __asm__("_ZdlPvSt11align_val_tRKSt9nothrow_t");
void hm_cxx_delete_aligned_nothrow(void *block, uintptr_t second, uintptr_t third)
{
	delete_through(DELETE_ALIGNED_NOTHROW, __builtin_return_address(0), block, second, third);
}

HM_EXPORT void
hm_cxx_delete_array_aligned_nothrow(void *block, uintptr_t second,
				    uintptr_t third) __asm__("_ZdaPvSt11align_val_tRKSt9nothrow_t");
void hm_cxx_delete_array_aligned_nothrow(void *block, uintptr_t second, uintptr_t third)
{
	delete_through(DELETE_ARRAY_ALIGNED_NOTHROW, __builtin_return_address(0), block, second, third);
}
