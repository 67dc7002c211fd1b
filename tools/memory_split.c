// SPDX-License-Identifier: Apache-2.0
#include "tools/memory_split.h"

#include "tools/heap_bound.h"
#include "tools/memory_claims.h"
#include "tools/numbers.h"
#include "tools/process.h"

#include <math.h>

const char *hm_memory_part_text(enum hm_memory_part part)
{
	static const char *const texts[] = {
		[HM_MEMORY_LIVE] = "live heap",
		[HM_MEMORY_KEPT] = "kept by the allocator",
		[HM_MEMORY_ANONYMOUS] = "other anonymous memory",
		[HM_MEMORY_STACKS] = "thread stacks",
		[HM_MEMORY_FILES] = "files and code",
		[HM_MEMORY_OWN] = "heapmark itself",
		[HM_MEMORY_UNRECORDED] = "not recorded",
	};

	return texts[part];
}

/*
 * How much of a range is resident, at most what its mapping has left: pages come and go while we look.  Where
 * they cannot be looked at, they are taken to be spread evenly.
 */
static uint64_t resident_of(const struct hm_pages *pages, const struct hm_mapping *mapping, uint64_t start,
			    uint64_t end, uint64_t left_bytes)
{
	uint64_t bytes = 0;

	if (start == mapping->start_address && end == mapping->end_address)
		return left_bytes;
	if (pages != NULL)
		bytes = hm_pages_resident(pages, start, end);
	else
		bytes = (uint64_t)((double)mapping->resident_bytes * (double)(end - start) /
				   (double)(mapping->end_address - mapping->start_address));
	return bytes < left_bytes ? bytes : left_bytes;
}

static void attribute(const struct hm_mappings *mappings, const struct hm_pages *pages,
		      const struct hm_memory_claims *claims, uint64_t owned_bytes[HM_OWNERS])
{
	size_t next = 0;

	for (size_t i = 0; i < mappings->count; i++) {
		const struct hm_mapping *const mapping = &mappings->entries[i];
		uint64_t left_bytes = mapping->resident_bytes;

		while (next < claims->count && claims->entries[next].end_address <= mapping->start_address)
			next++;
		for (size_t k = next; k < claims->count && left_bytes > 0 &&
				      claims->entries[k].start_address < mapping->end_address;
		     k++) {
			const struct hm_memory_claim *const claim = &claims->entries[k];
			const uint64_t start = claim->start_address > mapping->start_address
						       ? claim->start_address
						       : mapping->start_address;
			const uint64_t end = claim->end_address < mapping->end_address ? claim->end_address
										       : mapping->end_address;
			const uint64_t bytes = resident_of(pages, mapping, start, end, left_bytes);

			owned_bytes[claim->owner] += bytes;
			left_bytes -= bytes;
		}
		owned_bytes[claims->rest[i]] += left_bytes;
	}
}

/* Moves what is known to be there but not where; no more than there is. */
static uint64_t move(uint64_t owned_bytes[HM_OWNERS], enum hm_memory_owner to, double wanted_bytes)
{
	uint64_t *const from = &owned_bytes[HM_OWNER_ANONYMOUS];
	const uint64_t bytes = wanted_bytes < (double)*from ? (uint64_t)wanted_bytes : *from;

	*from -= bytes;
	owned_bytes[to] += bytes;
	return bytes;
}

/* Of the allocator's memory what it cannot have touched is the program's, wherever exactly that is. */
static uint64_t displace(uint64_t owned_bytes[HM_OWNERS], double bound_bytes)
{
	uint64_t *const from = &owned_bytes[HM_OWNER_ALLOCATOR];

	if ((double)*from <= bound_bytes)
		return 0;

	const uint64_t bytes = *from - (uint64_t)bound_bytes;

	*from -= bytes;
	owned_bytes[HM_OWNER_ANONYMOUS] += bytes;
	return bytes;
}

/* What is live of the allocator's memory, and what it keeps. */
static void divide_heap(uint64_t heap_bytes, struct hm_memory_split *split)
{
	const double wanted = split->live_touched_bytes;
	const uint64_t live_bytes = wanted < (double)heap_bytes ? (uint64_t)wanted : heap_bytes;

	split->heap_bytes = heap_bytes;
	split->clipped_bytes = wanted > (double)heap_bytes ? wanted - (double)heap_bytes : 0;
	split->parts_bytes[HM_MEMORY_LIVE] = live_bytes;
	split->parts_bytes[HM_MEMORY_KEPT] = heap_bytes - live_bytes;
}

static uint64_t unrecorded_bytes(const struct hm_snapshot *snapshot)
{
	uint64_t bytes = hm_add_saturated_u64(snapshot->asleep_bytes, snapshot->inherited_bytes);

	for (uint32_t i = 0; i < snapshot->stack_count; i++)
		if (snapshot->stacks[i].kind == HM_STACK_DROPPED)
			bytes = hm_add_saturated_u64(bytes, snapshot->stacks[i].alloc.bytes_fixed >>
								    HM_BYTES_FRACTION_BITS);
	return bytes;
}

static void set_unrecorded_apart(struct hm_memory_split *split)
{
	uint64_t *const parts = split->parts_bytes;
	const uint64_t of_kept = hm_min_u64(parts[HM_MEMORY_KEPT], split->unrecorded_bytes);
	const uint64_t of_anonymous =
		hm_min_u64(parts[HM_MEMORY_ANONYMOUS], split->unrecorded_bytes - of_kept);

	split->surely_mapped_bytes =
		parts[HM_MEMORY_ANONYMOUS] - hm_min_u64(parts[HM_MEMORY_ANONYMOUS], split->unrecorded_bytes);
	parts[HM_MEMORY_KEPT] -= of_kept;
	parts[HM_MEMORY_ANONYMOUS] -= of_anonymous;
	parts[HM_MEMORY_UNRECORDED] = of_kept + of_anonymous;
}

void hm_memory_split(pid_t pid, const struct hm_mappings *mappings, const struct hm_snapshot *snapshot,
		     const struct hm_stack_place *stacks, size_t stack_count,
		     struct hm_memory_split *ret_split)
{
	struct hm_pages opened = { .descriptor = -1 };
	const struct hm_pages *const pages = hm_pages_open(pid, &opened) == 0 ? &opened : NULL;
	const struct hm_memory_evidence evidence = {
		.pid = hm_process_running_thread(pid),
		.mappings = mappings,
		.pages = pages,
		.snapshot = snapshot,
		.stacks = stacks,
		.stack_count = stack_count,
	};
	uint64_t owned_bytes[HM_OWNERS] = { 0 };
	struct hm_memory_claims claims;

	hm_memory_claims_make(&evidence, &claims);
	attribute(mappings, pages, &claims, owned_bytes);

	struct hm_memory_split split = {
		.resident_bytes = mappings->resident_bytes,
		.swapped_bytes = mappings->swapped_bytes,
		.live_bytes = claims.live_bytes,
		.live_variance = claims.live_variance,
		.live_touched_bytes = claims.live_touched_bytes,
		.knows_free = claims.knows_free,
		.unrecorded_bytes = unrecorded_bytes(snapshot),
		.has_pages = pages != NULL,
		.allocator = claims.allocator,
	};

	split.inferred_bytes = move(owned_bytes, HM_OWNER_ALLOCATOR, claims.inferred_bytes);
	(void)move(owned_bytes, HM_OWNER_OWN, (double)snapshot->own_untold_bytes);
	split.displaced_bytes = displace(owned_bytes, hm_heap_bound(mappings, snapshot));
	divide_heap(owned_bytes[HM_OWNER_ALLOCATOR], &split);
	split.parts_bytes[HM_MEMORY_ANONYMOUS] = owned_bytes[HM_OWNER_ANONYMOUS];
	split.parts_bytes[HM_MEMORY_STACKS] = owned_bytes[HM_OWNER_STACKS];
	split.parts_bytes[HM_MEMORY_FILES] = owned_bytes[HM_OWNER_FILES];
	split.parts_bytes[HM_MEMORY_OWN] = owned_bytes[HM_OWNER_OWN];
	set_unrecorded_apart(&split);
	hm_memory_claims_done(&claims);
	hm_pages_close(&opened);
	*ret_split = split;
}
