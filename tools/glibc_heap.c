// SPDX-License-Identifier: Apache-2.0
#include "tools/glibc_heap.h"

#include "tools/numbers.h"
#include "tools/thread_stop.h"

enum { PAGE_BYTES = 4096, HEAP_ALIGNMENT = 16 };

/* The least size for which a block gets a mapping of its own, unless a program lowers it. */
static const uint64_t mapped_block_bytes = UINT64_C(128) << 10;

struct chunk {
	uint64_t prev_size;
	uint64_t size_and_bits;
};

enum {
	IS_MAPPED = 2,
	IS_IN_OTHER_ARENA = 4,
	CHUNK_BITS = 7,
};

/* Of struct heap_info; padding follows that makes it a multiple of HEAP_ALIGNMENT, and is larger since 2.35. */
struct heap {
	uint64_t arena;
	uint64_t previous;
	uint64_t size_bytes;
	uint64_t accessible_bytes;
};

enum { HEAP_HEAD_BYTES_MAX = 64 };

static uint64_t page_down(uint64_t address)
{
	return address & ~(uint64_t)(PAGE_BYTES - 1);
}

static uint64_t heap_of(uint64_t address)
{
	return address & ~(uint64_t)(HM_GLIBC_HEAP_BYTES - 1);
}

static struct hm_glibc_place in_heap(const struct hm_mapping *mapping, uint64_t address)
{
	const uint64_t heap = heap_of(address);

	return (struct hm_glibc_place){
		.kind = HM_GLIBC_ARENA,
		.start_address = heap,
		.end_address = hm_min_u64(heap + HM_GLIBC_HEAP_BYTES, mapping->end_address),
	};
}

/* False where what was read is no such block's: it was freed meanwhile. */
static bool place_by_chunk(const struct hm_mapping *mapping, uint64_t address, uint64_t size_bytes,
			   const struct chunk *chunk, struct hm_glibc_place *ret_place)
{
	const uint64_t at = address - sizeof(*chunk);
	const uint64_t chunk_bytes = chunk->size_and_bits & ~(uint64_t)CHUNK_BITS;

	if ((chunk->size_and_bits & IS_MAPPED) != 0) {
		if (chunk->prev_size > at - mapping->start_address ||
		    chunk_bytes > mapping->end_address - at || chunk_bytes < sizeof(*chunk) + size_bytes ||
		    (at - chunk->prev_size) % PAGE_BYTES != 0 || (at + chunk_bytes) % PAGE_BYTES != 0)
			return false;
		*ret_place = (struct hm_glibc_place){
			.kind = HM_GLIBC_MAPPED,
			.start_address = at - chunk->prev_size,
			.end_address = at + chunk_bytes,
		};
		return true;
	}
	if (heap_of(address) < mapping->start_address || (chunk->size_and_bits & IS_IN_OTHER_ARENA) == 0)
		*ret_place = (struct hm_glibc_place){ .kind = HM_GLIBC_OTHER };
	else
		*ret_place = in_heap(mapping, address);
	return true;
}

/*
 * A heap is there as a whole, so what lies behind the start of the mapping by less cannot be in one.  Heaps are
 * mapped with MAP_NORESERVE, blocks are not; for a small one, which has no mapping of its own, that is not asked:
 * the kernel forgets it where it never overcommits.
 */
static struct hm_glibc_place guess_place(const struct hm_mapping *mapping, uint64_t address,
					 uint64_t size_bytes)
{
	const bool can_be_in_heap = heap_of(address) >= mapping->start_address;

	if (size_bytes >= mapped_block_bytes &&
	    (!can_be_in_heap || !mapping->no_reserve || address % PAGE_BYTES == sizeof(struct chunk)))
		return (struct hm_glibc_place){
			.kind = HM_GLIBC_MAPPED,
			.start_address = page_down(address),
			.end_address = hm_min_u64(page_down(address + size_bytes + PAGE_BYTES - 1),
						  mapping->end_address),
		};
	return can_be_in_heap ? in_heap(mapping, address) : (struct hm_glibc_place){ .kind = HM_GLIBC_OTHER };
}

struct hm_glibc_place hm_glibc_place_of(pid_t pid, const struct hm_mapping *mapping, uint64_t address,
					uint64_t size_bytes)
{
	struct hm_glibc_place place;
	struct chunk chunk;

	if (address - mapping->start_address >= sizeof(chunk) &&
	    hm_thread_read_memory(pid, address - sizeof(chunk), &chunk, sizeof(chunk)) == sizeof(chunk) &&
	    place_by_chunk(mapping, address, size_bytes, &chunk, &place))
		return place;
	return guess_place(mapping, address, size_bytes);
}

static bool is_heap_head(uint64_t start_address, const struct heap *heap)
{
	const uint64_t first = heap_of(heap->arena);

	return heap->arena % HEAP_ALIGNMENT == 0 && heap->arena - first >= sizeof(*heap) &&
	       heap->arena - first <= HEAP_HEAD_BYTES_MAX &&
	       (heap->previous == 0) == (first == start_address) &&
	       heap_of(heap->previous) == heap->previous && heap->size_bytes != 0 &&
	       heap->size_bytes <= heap->accessible_bytes && heap->accessible_bytes <= HM_GLIBC_HEAP_BYTES &&
	       heap->accessible_bytes % PAGE_BYTES == 0;
}

/* Accessible memory and, up to the next multiple, memory that is not: both mapped as arenas are. */
static bool has_shape_of_heap(const struct hm_mappings *mappings, size_t index, uint64_t start_address)
{
	const struct hm_mapping *const heap = &mappings->entries[index];
	const struct hm_mapping *const behind = heap + 1;

	return start_address == heap->start_address && heap->no_reserve && index + 1 < mappings->count &&
	       behind->start_address == heap->end_address && hm_mapping_is_anonymous(behind) &&
	       behind->no_reserve && !hm_mapping_is_accessible(behind) &&
	       behind->end_address >= start_address + HM_GLIBC_HEAP_BYTES &&
	       heap->end_address < start_address + HM_GLIBC_HEAP_BYTES;
}

bool hm_glibc_is_heap(pid_t pid, const struct hm_pages *pages, const struct hm_mappings *mappings,
		      size_t index, uint64_t start_address)
{
	struct heap head;

	if (pages != NULL && hm_pages_resident(pages, start_address, start_address + 1) == 0)
		return has_shape_of_heap(mappings, index, start_address); /* swapped out, or nothing */
	if (hm_thread_read_memory(pid, start_address, &head, sizeof(head)) == sizeof(head))
		return is_heap_head(start_address, &head);
	return has_shape_of_heap(mappings, index, start_address);
}
