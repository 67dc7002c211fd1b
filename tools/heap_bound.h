// SPDX-License-Identifier: Apache-2.0
/*
 * How much the allocator can have touched at all: no more than was ever allocated, and what comes with it.
 * What its mappings hold beyond that, the program has put there: by sbrk, or by mapping memory as the
 * allocator does, beside it.
 */
#ifndef HM_TOOLS_HEAP_BOUND_H
#define HM_TOOLS_HEAP_BOUND_H

#include "proto/snapshot.h"
#include "tools/mappings.h"

/*
 * In bytes; HUGE_VAL where nobody can tell: not all was recorded (asleep, or by the process that this one was
 * forked from), or pages were made resident without being touched (locked memory).
 */
double hm_heap_bound(const struct hm_mappings *mappings, const struct hm_snapshot *snapshot);

#endif
