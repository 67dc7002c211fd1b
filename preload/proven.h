// SPDX-License-Identifier: Apache-2.0
/*
 * Pages that are known to be readable, so that each is asked for once.
 *
 * Tables of an object lie in its own memory, but what leads to them is only what the object says about
 * itself; and the stack of a walk may hold anything.  Not for several threads at once; keeps errno.
 */
#ifndef HM_PRELOAD_PROVEN_H
#define HM_PRELOAD_PROVEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HM_PROVEN_PAGES_MAX = 256 };

/* Numbers of pages, each at the place that its low bits say.  Zero: none yet; page 0 is never there. */
struct hm_proven_pages {
	uintptr_t numbers[HM_PROVEN_PAGES_MAX];
};

/* Whether all of the `size_bytes` at `address` can be read: a system call for each page that is new. */
bool hm_proven_readable(struct hm_proven_pages *proven, uintptr_t address, size_t size_bytes);

/* To be called when memory may have gone. */
void hm_proven_forget(struct hm_proven_pages *proven);

#endif
