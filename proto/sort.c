// SPDX-License-Identifier: Apache-2.0
#include "proto/sort.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct sorting {
	size_t element_bytes;
	hm_compare *compare;
	const void *context;
};

/* Whether element `left` may stand before element `right`. */
static bool in_order(const struct sorting *sorting, const uint8_t *elements, size_t left, size_t right)
{
	return sorting->compare(elements + left * sorting->element_bytes,
				elements + right * sorting->element_bytes, sorting->context) <= 0;
}

/* Merges the sorted runs [from, middle) and [middle, to) of `source` into the same places of `target`. */
static void merge(const struct sorting *sorting, const uint8_t *source, uint8_t *target, size_t from,
		  size_t middle, size_t to)
{
	const size_t bytes = sorting->element_bytes;
	size_t left = from;
	size_t right = middle;

	if (middle == to || in_order(sorting, source, middle - 1, middle)) {
		memcpy(target + from * bytes, source + from * bytes, (to - from) * bytes);
		return;
	}
	for (size_t i = from; i < to; i++) {
		const bool take_left =
			left < middle && (right == to || in_order(sorting, source, left, right));
		const size_t taken = take_left ? left++ : right++;

		if (bytes == sizeof(uint64_t)) /* a constant size is one move */
			memcpy(target + i * bytes, source + taken * bytes, sizeof(uint64_t));
		else if (bytes == sizeof(uint32_t))
			memcpy(target + i * bytes, source + taken * bytes, sizeof(uint32_t));
		else
			memcpy(target + i * bytes, source + taken * bytes, bytes);
	}
}

/* Bottom-up merge sort: runs of 1, 2, 4, ... elements, going to and fro between the two arrays. */
void hm_sort(void *elements, void *scratch, size_t count, size_t element_bytes, hm_compare *compare,
	     const void *context)
{
	const struct sorting sorting = { element_bytes, compare, context };
	uint8_t *source = elements;
	uint8_t *target = scratch;

	for (size_t run = 1; run < count; run *= 2) {
		for (size_t from = 0; from < count; from += 2 * run) {
			const size_t middle = count - from > run ? from + run : count;
			const size_t to = count - middle > run ? middle + run : count;

			merge(&sorting, source, target, from, middle, to);
		}
		uint8_t *const swapped = source;
		source = target;
		target = swapped;
	}
	if (count > 0 && source != elements)
		memcpy(elements, source, count * element_bytes);
}

int hm_compare_u64(const void *left, const void *right, const void *context)
{
	const uint64_t l = *(const uint64_t *)left;
	const uint64_t r = *(const uint64_t *)right;

	(void)context;
	return (l > r) - (l < r);
}

int hm_compare_u32(const void *left, const void *right, const void *context)
{
	const uint32_t l = *(const uint32_t *)left;
	const uint32_t r = *(const uint32_t *)right;

	(void)context;
	return (l > r) - (l < r);
}

uint32_t hm_first_from_u64(const uint64_t *numbers, uint32_t count, uint64_t least)
{
	uint32_t low = 0;
	uint32_t high = count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (numbers[middle] < least)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
