// SPDX-License-Identifier: Apache-2.0
#include "tools/memory_claims.h"

#include "tools/ledger.h"
#include "tools/library.h"
#include "tools/static_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

/*
 * glibc's malloc/arena.c and malloc.c for 64 bits: HEAP_MAX_SIZE, the least size for which a block gets a
 * mapping of its own unless a program lowers it, and what lies before the block there.
 */
static const uint64_t arena_heap_bytes = UINT64_C(64) << 20;
static const uint64_t mapped_block_bytes = UINT64_C(128) << 10;
enum { CHUNK_HEAD_BYTES = 16 };

/* Of a block from this size on it is looked up which of its pages were ever touched. */
static const uint64_t large_block_bytes = UINT64_C(64) << 10;

/* What jemalloc takes from and gives to the system at a time: 2 MiB, a large page. */
static const uint64_t extent_bytes_max = UINT64_C(2) << 20;

/* The most that a thread's stack takes where its end is not known: what `ulimit -s` says nearly everywhere.
 */
static const uint64_t stack_bytes_max = UINT64_C(8) << 20;
/* Inaccessible memory below a stack: a page unless a program asks for more. */
static const uint64_t guard_bytes_max = UINT64_C(64) << 10;

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t page_down(uint64_t address)
{
	return address & ~(uint64_t)(PAGE_BYTES - 1);
}

static uint64_t page_up(uint64_t address)
{
	return page_down(address + PAGE_BYTES - 1);
}

static const char *base_name(const char *path)
{
	const char *const slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static bool begins_with(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool is_heap(const struct hm_mapping *mapping)
{
	return strcmp(mapping->name, "[heap]") == 0;
}

static bool is_accessible(const struct hm_mapping *mapping)
{
	return mapping->readable || mapping->writable || mapping->executable;
}

static size_t index_of(const struct hm_mappings *mappings, const struct hm_mapping *mapping)
{
	return (size_t)(mapping - mappings->entries);
}

static void claim(struct hm_memory_claims *claims, uint64_t start_address, uint64_t end_address,
		  enum hm_memory_owner owner)
{
	if (start_address >= end_address)
		return;
	if (claims->count == claims->room) {
		claims->room = claims->room != 0 ? 2 * claims->room : 64;
		claims->entries = reallocarray(claims->entries, claims->room, sizeof(claims->entries[0]));
		if (claims->entries == NULL)
			abort();
	}
	claims->entries[claims->count++] = (struct hm_memory_claim){
		.start_address = start_address,
		.end_address = end_address,
		.owner = owner,
	};
}

/* --- Mappings by their names --------------------------------------------------------------------------- */

static const char *allocator_of(const struct hm_mappings *mappings)
{
	static const struct {
		const char *library;
		const char *name;
	} known[] = {
		{ "libjemalloc", "jemalloc" },   { "libmimalloc", "mimalloc" }, { "libtcmalloc", "tcmalloc" },
		{ "libsnmalloc", "snmalloc" },   { "librpmalloc", "rpmalloc" }, { "libhoard", "Hoard" },
		{ "libtbbmalloc", "tbbmalloc" },
	};

	for (size_t i = 0; i < mappings->count; i++)
		for (size_t k = 0; mappings->entries[i].inode != 0 && k < sizeof(known) / sizeof(known[0]);
		     k++)
			if (begins_with(base_name(mappings->entries[i].name), known[k].library))
				return known[k].name;
	return NULL;
}

/* Memory that the kernel gives the name of a file, so that it can be shared: there is none. */
static bool is_shared_memory(const struct hm_mapping *mapping)
{
	static const char *const beginnings[] = { "/dev/zero", "/memfd:", "/SYSV", "/anon_hugepage",
						  "[anon_shmem:" };

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (begins_with(mapping->name, beginnings[i]))
			return true;
	return false;
}

static enum hm_memory_owner owner_by_name(const struct hm_mapping *mapping)
{
	const char *const base = base_name(mapping->name);

	if (is_heap(mapping))
		return HM_OWNER_ALLOCATOR;
	if (strcmp(mapping->name, "[stack]") == 0)
		return HM_OWNER_STACKS;
	if (strcmp(mapping->name, "[anon:heapmark]") == 0 || begins_with(base, HM_LIBRARY_NAME) ||
	    (begins_with(base, "heapmark.") && strstr(base, HM_LEDGER_SUFFIX) != NULL))
		return HM_OWNER_OWN;
	return hm_mapping_is_anonymous(mapping) || is_shared_memory(mapping) ? HM_OWNER_ANONYMOUS
									     : HM_OWNER_FILES;
}

/* Static data without bytes in a file lies behind the file's last mapping, and is the file's. */
static void claim_static_data(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	const struct hm_mappings *const mappings = evidence->mappings;

	for (size_t i = 1; i < mappings->count; i++) {
		const struct hm_mapping *const file = &mappings->entries[i - 1];
		const struct hm_mapping *const behind = &mappings->entries[i];

		if (file->inode == 0 || !file->writable || behind->start_address != file->end_address ||
		    !hm_mapping_is_anonymous(behind) || behind->resident_bytes == 0)
			continue;
		claim(claims, behind->start_address,
		      min_u64(behind->end_address,
			      behind->start_address + hm_static_data_bytes(evidence->pid, file->name)),
		      owner_by_name(file));
	}
}

static void claim_own(const struct hm_snapshot *snapshot, struct hm_memory_claims *claims)
{
	for (uint32_t i = 0; i < snapshot->own_range_count; i++)
		claim(claims, page_down(snapshot->own_ranges[i].start_address),
		      page_up(snapshot->own_ranges[i].start_address + snapshot->own_ranges[i].size_bytes),
		      HM_OWNER_OWN);
}

/* --- Blocks -------------------------------------------------------------------------------------------- */

static int compare_addresses(const void *a, const void *b)
{
	const struct hm_snapshot_live *const left = a;
	const struct hm_snapshot_live *const right = b;

	return left->address < right->address ? -1 : left->address > right->address;
}

/* How much of a block was ever touched: pages that it shares with neighbours count as far as it fills them.
 */
static double touched_bytes(const struct hm_memory_evidence *evidence, const struct hm_snapshot_live *live,
			    const struct hm_mapping *mapping)
{
	if (live->size_bytes < large_block_bytes || evidence->pages == NULL || mapping == NULL)
		return (double)live->size_bytes;

	const uint64_t end = min_u64(live->address + live->size_bytes, mapping->end_address);

	return (double)min_u64(live->size_bytes, hm_pages_resident(evidence->pages, live->address, end));
}

/* The rules of glibc.  Returns whether the block has a mapping of its own. */
static bool claim_block(const struct hm_mapping *mapping, const struct hm_snapshot_live *live,
			struct hm_memory_claims *claims, enum hm_memory_owner *rest)
{
	const uint64_t end = live->address + live->size_bytes;
	const uint64_t heap = live->address & ~(arena_heap_bytes - 1);

	if (live->address % PAGE_BYTES == CHUNK_HEAD_BYTES && live->size_bytes >= mapped_block_bytes) {
		claim(claims, page_down(live->address), min_u64(page_up(end), mapping->end_address),
		      HM_OWNER_ALLOCATOR);
		return true;
	}
	if (heap < mapping->start_address)
		*rest = HM_OWNER_ALLOCATOR;
	else if (claims->count == 0 || claims->entries[claims->count - 1].start_address != heap)
		claim(claims, heap, min_u64(heap + arena_heap_bytes, mapping->end_address),
		      HM_OWNER_ALLOCATOR);
	return false;
}

static void follow_block(const struct hm_memory_evidence *evidence, const struct hm_snapshot_live *live,
			 struct hm_memory_claims *claims)
{
	const struct hm_mapping *const mapping = hm_mappings_find(evidence->mappings, live->address);
	const double weight = (double)live->weight;
	const double size = (double)live->size_bytes;
	const double touched = touched_bytes(evidence, live, mapping);

	claims->live_bytes += weight * size;
	claims->live_variance += size * size * weight * (weight - 1);
	claims->live_touched_bytes += weight * touched;
	if (mapping == NULL || !hm_mapping_is_anonymous(mapping))
		return; /* in the heap, or freed since */

	enum hm_memory_owner *const rest = &claims->rest[index_of(evidence->mappings, mapping)];

	if (claims->allocator != NULL)
		*rest = HM_OWNER_ALLOCATOR;
	else if (claim_block(mapping, live, claims, rest))
		claims->inferred_bytes += (weight - 1) * touched;
}

/* In the order of addresses, so that an arena's heap is claimed once. */
static void claim_blocks(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	const struct hm_snapshot *const snapshot = evidence->snapshot;
	struct hm_snapshot_live *const sorted = calloc(snapshot->live_count + 1, sizeof(sorted[0]));
	size_t count = 0;

	if (sorted == NULL)
		abort();
	for (uint64_t i = 0; i < snapshot->live_count; i++)
		if (!snapshot->live[i].reported && !snapshot->live[i].mapped &&
		    snapshot->live[i].size_bytes <= INT64_MAX)
			sorted[count++] = snapshot->live[i];
	qsort(sorted, count, sizeof(sorted[0]), compare_addresses);
	for (size_t i = 0; i < count; i++)
		follow_block(evidence, &sorted[i], claims);
	free(sorted);
}

/*
 * Of an allocator loaded in place of glibc's: what lies beside a mapping of its own, is made in the same way,
 * and is separated from it by no more than an extent that was given back.
 */
static bool is_like(const struct hm_mapping *one, const struct hm_mapping *other, uint64_t gap_bytes)
{
	return one->no_reserve && other->no_reserve && other->writable && hm_mapping_is_anonymous(other) &&
	       gap_bytes <= extent_bytes_max;
}

static void spread_to_neighbours(const struct hm_mappings *mappings, struct hm_memory_claims *claims)
{
	const struct hm_mapping *const entries = mappings->entries;

	for (size_t i = 1; i < mappings->count; i++)
		if (claims->rest[i - 1] == HM_OWNER_ALLOCATOR &&
		    is_like(&entries[i - 1], &entries[i],
			    entries[i].start_address - entries[i - 1].end_address))
			claims->rest[i] = HM_OWNER_ALLOCATOR;
	for (size_t i = mappings->count; i-- > 1;)
		if (claims->rest[i] == HM_OWNER_ALLOCATOR &&
		    is_like(&entries[i], &entries[i - 1],
			    entries[i].start_address - entries[i - 1].end_address))
			claims->rest[i - 1] = HM_OWNER_ALLOCATOR;
}

/* Arenas of glibc in which nothing was sampled. */
static void claim_arenas_by_shape(const struct hm_mappings *mappings, struct hm_memory_claims *claims)
{
	for (size_t i = 0; i + 1 < mappings->count; i++) {
		const struct hm_mapping *const heap = &mappings->entries[i];
		const struct hm_mapping *const behind = &mappings->entries[i + 1];
		const uint64_t start = heap->start_address;

		if (start % arena_heap_bytes == 0 && hm_mapping_is_anonymous(heap) && heap->writable &&
		    heap->end_address - start < arena_heap_bytes && hm_mapping_is_anonymous(behind) &&
		    !is_accessible(behind) && behind->start_address == heap->end_address &&
		    behind->end_address >= start + arena_heap_bytes)
			claim(claims, start, heap->end_address, HM_OWNER_ALLOCATOR);
	}
}

/* --- Stacks -------------------------------------------------------------------------------------------- */

/* Whether inaccessible memory lies right below, as libc puts it below a stack. */
static bool has_guard(const struct hm_mappings *mappings, const struct hm_mapping *mapping)
{
	if (mapping == mappings->entries)
		return false;

	const struct hm_mapping *const below = mapping - 1;

	return below->end_address == mapping->start_address && hm_mapping_is_anonymous(below) &&
	       !is_accessible(below) && below->end_address - below->start_address <= guard_bytes_max;
}

/* The main thread's is known by its name; one in malloc'd memory is the allocator's. */
static void claim_stack(const struct hm_mappings *mappings, const struct hm_stack_place *stack,
			struct hm_memory_claims *claims, bool *is_known)
{
	const struct hm_mapping *const mapping = hm_mappings_find(mappings, stack->stack_pointer);

	if (mapping == NULL || !hm_mapping_is_anonymous(mapping))
		return;
	if (!has_guard(mappings, mapping) && claims->rest[index_of(mappings, mapping)] == HM_OWNER_ALLOCATOR)
		return;

	const uint64_t end = stack->end_address > stack->stack_pointer
				     ? page_up(stack->end_address)
				     : page_up(stack->stack_pointer) + stack_bytes_max;
	/* Without a guard, or far below, the mapping may be joined with something else there. */
	const uint64_t start = stack->stack_pointer - mapping->start_address <= stack_bytes_max
				       ? mapping->start_address
				       : page_down(stack->stack_pointer);

	claim(claims, start, min_u64(end, mapping->end_address), HM_OWNER_STACKS);
	is_known[index_of(mappings, mapping)] = true;
}

/* Where threads run and nobody may look at their registers: as many others as look like stacks. */
static void claim_stacks_by_shape(const struct hm_mappings *mappings, size_t wanted,
				  struct hm_memory_claims *claims, const bool *is_known)
{
	for (size_t i = 1; i < mappings->count && wanted > 0; i++) {
		const struct hm_mapping *const mapping = &mappings->entries[i];

		if (is_known[i] || !hm_mapping_is_anonymous(mapping) || !mapping->writable ||
		    claims->rest[i] == HM_OWNER_ALLOCATOR || mapping->resident_bytes == 0 ||
		    mapping->end_address - mapping->start_address > stack_bytes_max ||
		    !has_guard(mappings, mapping))
			continue;
		claim(claims, mapping->start_address, mapping->end_address, HM_OWNER_STACKS);
		wanted--;
	}
}

static void claim_stacks(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	bool *const is_known = calloc(evidence->mappings->count + 1, sizeof(is_known[0]));
	size_t unknown_count = 0;

	if (is_known == NULL)
		abort();
	for (size_t i = 0; i < evidence->stack_count; i++) {
		unknown_count += evidence->stacks[i].stack_pointer == 0;
		claim_stack(evidence->mappings, &evidence->stacks[i], claims, is_known);
	}
	claim_stacks_by_shape(evidence->mappings, unknown_count, claims, is_known);
	free(is_known);
}

/* --- All of it ----------------------------------------------------------------------------------------- */

static int compare_claims(const void *a, const void *b)
{
	const struct hm_memory_claim *const left = a;
	const struct hm_memory_claim *const right = b;

	if (left->start_address != right->start_address)
		return left->start_address < right->start_address ? -1 : 1;
	return left->end_address > right->end_address ? -1 : left->end_address < right->end_address;
}

/* Of two that overlap, the one that begins lower has what both want. */
static void separate(struct hm_memory_claims *claims)
{
	size_t kept = 0;
	uint64_t end = 0;

	if (claims->count != 0)
		qsort(claims->entries, claims->count, sizeof(claims->entries[0]), compare_claims);
	for (size_t i = 0; i < claims->count; i++) {
		struct hm_memory_claim entry = claims->entries[i];

		if (entry.start_address < end)
			entry.start_address = end;
		if (entry.start_address >= entry.end_address)
			continue;
		end = entry.end_address;
		claims->entries[kept++] = entry;
	}
	claims->count = kept;
}

void hm_memory_claims_make(const struct hm_memory_evidence *evidence, struct hm_memory_claims *ret_claims)
{
	const struct hm_mappings *const mappings = evidence->mappings;
	struct hm_memory_claims claims = { .allocator = allocator_of(mappings) };

	claims.rest = calloc(mappings->count + 1, sizeof(claims.rest[0]));
	if (claims.rest == NULL)
		abort();
	for (size_t i = 0; i < mappings->count; i++)
		claims.rest[i] = owner_by_name(&mappings->entries[i]);
	claim_blocks(evidence, &claims);
	if (claims.allocator == NULL)
		claim_arenas_by_shape(mappings, &claims);
	else
		spread_to_neighbours(mappings, &claims);
	claim_own(evidence->snapshot, &claims);
	claim_static_data(evidence, &claims);
	claim_stacks(evidence, &claims);
	separate(&claims);
	if (claims.allocator == NULL)
		claims.allocator = "glibc";
	*ret_claims = claims;
}

void hm_memory_claims_done(struct hm_memory_claims *claims)
{
	free(claims->entries);
	free(claims->rest);
	*claims = (struct hm_memory_claims){ 0 };
}
