// SPDX-License-Identifier: Apache-2.0
/*
 * Read-modify-write, as cheap as the process allows.
 *
 * A locked instruction takes some 20 cycles, a plain one that does the same takes 1 to 6, and a recorded
 * allocation with its free makes nine of them.  While there is one thread, all that can come between the two
 * halves of such an instruction is a signal, and signals come between instructions.  So the plain one is as
 * good, and these functions choose by __libc_single_threaded, as malloc itself does:
 *
 *   - pthread_create clears it before there is another thread.  It could only come between the question and
 *     the instruction from a signal handler, where it is not allowed.
 *   - A thread that was made by a bare clone is not counted.  Such threads cannot call malloc: the C
 *     library's would fail for the same reason.
 *   - A vfork child shares the memory, but its parent waits.
 *   - Another process that has the ledger mapped only reads, apart from the control words.
 *
 * The memory orders are those of the locked form, which on x86-64 are all the same.
 */
#ifndef HM_PRELOAD_RMW_H
#define HM_PRELOAD_RMW_H

#include "preload/cc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>

/* What it was set to last stays in the cache: the question costs a load and a branch. */
static inline bool hm_rmw_is_alone(void)
{
	return __libc_single_threaded != 0;
}

/* Adds; wraps.  `order` is a constant. */
static inline void hm_rmw_add(_Atomic uint64_t *sum, uint64_t value, memory_order order)
{
	if (hm_rmw_is_alone())
		__asm__ volatile("addq %1, %0" : "+m"(*sum) : "er"(value) : "cc", "memory");
	else
		atomic_fetch_add_explicit(sum, value, order);
}

/* Compare and exchange, strong, seq_cst.  Where it fails, *expected is what was found. */
static inline bool hm_rmw_exchange(_Atomic uint32_t *word, uint32_t *expected, uint32_t desired)
{
	bool is_done;

	if (!hm_rmw_is_alone())
		return atomic_compare_exchange_strong_explicit(word, expected, desired, memory_order_seq_cst,
							       memory_order_seq_cst);
	__asm__ volatile("cmpxchgl %3, %1"
			 : "+a"(*expected), "+m"(*word), "=@ccz"(is_done)
			 : "r"(desired)
			 : "memory");
	return is_done;
}

/* The same for a byte. */
static inline bool hm_rmw_exchange_byte(_Atomic uint8_t *byte, uint8_t *expected, uint8_t desired)
{
	bool is_done;

	if (!hm_rmw_is_alone())
		return atomic_compare_exchange_strong_explicit(byte, expected, desired, memory_order_seq_cst,
							       memory_order_seq_cst);
	__asm__ volatile("cmpxchgb %3, %1"
			 : "+a"(*expected), "+m"(*byte), "=@ccz"(is_done)
			 : "q"(desired)
			 : "memory");
	return is_done;
}

/* 0 -> 1, acquire.  Whether it was this caller who did it; to be given back by a store with release. */
static inline bool hm_rmw_claim(_Atomic uint32_t *claimed)
{
	uint32_t nobody = 0;

	/* relaxed: a first look, so that what another has is not asked for with a lock */
	return atomic_load_explicit(claimed, memory_order_relaxed) == 0 &&
	       hm_rmw_exchange(claimed, &nobody, 1);
}

#endif
