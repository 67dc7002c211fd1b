// SPDX-License-Identifier: Apache-2.0
/* The functions of the public header. */
#include "preload/cc.h"
#include "preload/filter.h"
#include "preload/gauges.h"
#include "preload/heapmark.h"
#include "preload/lifecycle.h"
#include "preload/process.h"
#include "preload/recorder.h"
#include "preload/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

HM_EXPORT void heapmark_gauge(const char *name, double value)
{
	/* acquire: pairs with the release in lifecycle */
	if (atomic_load_explicit(&hm_process->state, memory_order_acquire) == HM_PROCESS_RECORDING)
		hm_gauge_set(&hm_ledger, name, value);
}

HM_EXPORT int heapmark_dump(const char *path)
{
	const int saved_errno = errno;

	hm_thread.busy_frame = HM_BUSY_THROUGHOUT;

	const int error = hm_lifecycle_dump(path);

	hm_thread.busy_frame = 0;
	errno = saved_errno;
	return error;
}

HM_EXPORT void heapmark_report_alloc(const void *block, size_t size_bytes)
{
	float weight;

	if (block != NULL && hm_sampler_is_due(&hm_thread.sampler, size_bytes) &&
	    hm_recorder_begin(size_bytes, __builtin_return_address(0), __builtin_frame_address(0), &weight))
		hm_recorder_end(hm_live_reported_address(block), size_bytes, weight);
}

HM_EXPORT void heapmark_report_free(const void *block)
{
	const uint64_t address = hm_live_reported_address(block);

	if (hm_filter_may_contain((uintptr_t)address))
		hm_recorder_freed(address);
}

HM_EXPORT void heapmark_report_realloc(const void *old_block, const void *new_block, size_t size_bytes)
{
	heapmark_report_free(old_block);
	heapmark_report_alloc(new_block, size_bytes);
}
