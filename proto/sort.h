// SPDX-License-Identifier: Apache-2.0
/* Sorting without malloc, which the C library's qsort may call; and finding in what is sorted. */
#ifndef HM_PROTO_SORT_H
#define HM_PROTO_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Negative, zero, positive as for qsort.  `context` is handed through. */
typedef int hm_compare(const void *left, const void *right, const void *context);

/*
 * Sorts `count` elements; equal ones keep their order.  `scratch` has room for as many elements and holds
 * nothing of use afterwards.
 */
void hm_sort(void *elements, void *scratch, size_t count, size_t element_bytes, hm_compare *compare,
	     const void *context);

/* For arrays of uint64_t and of uint32_t in ascending order. */
hm_compare hm_compare_u64;
hm_compare hm_compare_u32;

/* Index of the first of `count` ascending numbers that is not below `least`; count: none. */
uint32_t hm_first_from_u64(const uint64_t *numbers, uint32_t count, uint64_t least);

#endif
