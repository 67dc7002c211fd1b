// SPDX-License-Identifier: Apache-2.0
/*
 * Static probes (USDT) for tracers that gather memory profiles system-wide, by the names that OpenTelemetry
 * gives them:
 *
 *	otel_memory:alloc   address, bytes asked for, bytes it stands for     each sampled allocation
 *	otel_memory:free    address                                           each free of such a one
 *
 * The third argument is size times weight (docs/accuracy.md), rounded: the sum of all is an unbiased estimate
 * of what was allocated.  A realloc is a free and an alloc, in this order.  A block that the program reported
 * itself (heapmark.h) has bit 63 of its address set, as in the live table: it may begin at one of malloc's.
 *
 * Each site is a function of its own, of which the probe is the first instruction: a tracer that reads
 * registers and no notes finds the arguments in rdi, rsi and rdx.  Where no tracer is attached, that is where
 * its semaphore is 0, the function is not called.  Only samples come here.
 *
 * Any thread, any signal handler; nothing is touched but the semaphore.
 */
#ifndef HM_PRELOAD_PROBES_H
#define HM_PRELOAD_PROBES_H

#include "preload/cc.h"
#include "preload/float.h"

#include <stdatomic.h>
#include <stdint.h>

/* Tracers that are attached: counted by the kernel, or by a debugger, straight in our memory. */
extern HM_HIDDEN _Atomic uint16_t otel_memory_alloc_semaphore;
extern HM_HIDDEN _Atomic uint16_t otel_memory_free_semaphore;

void hm_probe_alloc_site(uint64_t address, uint64_t size_bytes, uint64_t weight_bytes);
void hm_probe_free_site(uint64_t address);

static inline void hm_probe_alloc(uint64_t address, uint64_t size_bytes, float weight)
{
	/* relaxed: whoever attaches misses what happens at this very instant */
	if (HM_LIKELY(atomic_load_explicit(&otel_memory_alloc_semaphore, memory_order_relaxed) == 0))
		return;

	/* At rate 1 the weight is 1, and the product exact up to 2^53 bytes. */
	const uint32_t saved = hm_float_enter();
	const uint64_t weight_bytes = (uint64_t)((double)size_bytes * (double)weight + 0.5);

	hm_float_leave(saved);
	hm_probe_alloc_site(address, size_bytes, weight_bytes);
}

static inline void hm_probe_free(uint64_t address)
{
	if (HM_UNLIKELY(atomic_load_explicit(&otel_memory_free_semaphore, memory_order_relaxed) != 0))
		hm_probe_free_site(address);
}

#endif
