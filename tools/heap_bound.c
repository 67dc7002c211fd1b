// SPDX-License-Identifier: Apache-2.0
#include "tools/heap_bound.h"

#include <math.h>

enum {
	PAGE_BYTES = 4096,
	SIGMAS = 5, /* that the estimate may be too low */
};

/* Sizes are rounded up, by a quarter in the classes of jemalloc and tcmalloc; glibc's heads are less. */
static const double rounding = 1.25;

/* Bookkeeping, and lists that an allocator writes into what it has not given out yet: of tcmalloc a few MiB. */
static const double slack_bytes = 32 << 20;

double hm_heap_bound(const struct hm_mappings *mappings, const struct hm_snapshot *snapshot)
{
	const double bytes_unit = (double)(UINT64_C(1) << HM_BYTES_FRACTION_BITS);
	const double objects_unit = (double)(UINT64_C(1) << HM_OBJECTS_FRACTION_BITS);
	double bound = slack_bytes;
	double bytes_variance = 0;
	double objects_variance = 0;

	if (snapshot->stack_count == 0 || snapshot->slept || snapshot->inherited_bytes != 0)
		return HUGE_VAL;
	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		const struct hm_figures *const alloc = &snapshot->stacks[i].alloc;

		if ((snapshot->stacks[i].flags & HM_STACK_MAPPED) != 0)
			continue;
		/* Aligned, and alone there, each has a page that it does not fill. */
		bound += rounding * (double)alloc->bytes_fixed / bytes_unit +
			 PAGE_BYTES * (double)alloc->objects_fixed / objects_unit;
		bytes_variance += alloc->bytes_variance;
		objects_variance += alloc->objects_variance;
	}
	bound += SIGMAS * (rounding * sqrt(bytes_variance) + PAGE_BYTES * sqrt(objects_variance));
	for (size_t i = 0; i < mappings->count; i++) {
		if (mappings->entries[i].is_locked)
			return HUGE_VAL;
		/* The kernel makes the whole of a large page for the first byte in it. */
		bound += (double)mappings->entries[i].huge_bytes;
	}
	return bound;
}
