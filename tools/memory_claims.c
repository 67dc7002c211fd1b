// SPDX-License-Identifier: Apache-2.0
#include "tools/memory_claims.h"

#include "tools/glibc_heap.h"
#include "tools/jemalloc_pages.h"
#include "tools/ledger.h"
#include "tools/library.h"
#include "tools/numbers.h"
#include "tools/static_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

/* Of a block from this size on it is looked up which of its pages were ever touched. */
static const uint64_t large_block_bytes = UINT64_C(64) << 10;

/* What jemalloc takes from and gives to the system at a time: 2 MiB, a large page. */
static const uint64_t extent_bytes_max = UINT64_C(2) << 20;

/* Between these mimalloc asks for memory. */
static const uint64_t mimalloc_start = UINT64_C(2) << 40;
static const uint64_t mimalloc_end = UINT64_C(30) << 40;

/* In a larger mapping no program has allocated: it is a reservation, and looking through it would take seconds.
 */
static const uint64_t searched_bytes_max = UINT64_C(1) << 40;

/* The most that a thread's stack takes where neither its end nor a guard is known: what `ulimit -s` says nearly
 * everywhere.
 */
static const uint64_t stack_bytes_max = UINT64_C(8) << 20;
/* Inaccessible memory below a stack: a page unless a program asks for more. */
static const uint64_t guard_bytes_max = UINT64_C(64) << 10;

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

/*
 * Where an allocator maps and others do not; NULL is the C library's own.  What brk gives is that one's and
 * tcmalloc's, which asks it first; jemalloc does where nothing else is left, and mimalloc never.  mimalloc asks
 * for addresses of its own choice (MI_HINT_BASE to MI_HINT_MAX in os.c), far from where the kernel begins.
 */
static bool maps_there(const char *allocator, const struct hm_mapping *mapping)
{
	if (is_heap(mapping))
		return allocator == NULL || strcmp(allocator, "tcmalloc") == 0;
	return allocator != NULL && strcmp(allocator, "mimalloc") == 0 && hm_mapping_is_anonymous(mapping) &&
	       mapping->no_reserve && mapping->start_address >= mimalloc_start &&
	       mapping->end_address <= mimalloc_end;
}

/* As far as its name and its place say. */
static enum hm_memory_owner first_owner_of(const struct hm_mapping *mapping, const char *allocator)
{
	const char *const base = base_name(mapping->name);

	if (maps_there(allocator, mapping))
		return HM_OWNER_ALLOCATOR;
	if (strcmp(mapping->name, "[stack]") == 0)
		return HM_OWNER_STACKS;
	if (strcmp(mapping->name, "[anon:heapmark]") == 0 || begins_with(base, HM_LIBRARY_NAME) ||
	    (begins_with(base, "heapmark.") && strstr(base, HM_LEDGER_SUFFIX) != NULL))
		return HM_OWNER_OWN;
	return hm_mapping_is_anonymous(mapping) || is_heap(mapping) || is_shared_memory(mapping)
		       ? HM_OWNER_ANONYMOUS
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
		      hm_min_u64(behind->end_address,
				 behind->start_address + hm_static_data_bytes(evidence->pid, file->name)),
		      first_owner_of(file, claims->allocator));
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

	const uint64_t end = hm_min_u64(live->address + live->size_bytes, mapping->end_address);

	return (double)hm_min_u64(live->size_bytes, hm_pages_resident(evidence->pages, live->address, end));
}

/* The rules of glibc.  Returns whether the block has a mapping of its own. */
static bool claim_block(const struct hm_memory_evidence *evidence, const struct hm_mapping *mapping,
			const struct hm_snapshot_live *live, struct hm_memory_claims *claims,
			enum hm_memory_owner *rest)
{
	const struct hm_memory_claim *const last =
		claims->count != 0 ? &claims->entries[claims->count - 1] : NULL;

	/* In the heap of an arena that another block has led to. */
	if (last != NULL && last->start_address <= live->address &&
	    live->address + live->size_bytes <= last->end_address)
		return false;

	const struct hm_glibc_place place =
		hm_glibc_place_of(evidence->pid, mapping, live->address, live->size_bytes);

	if (place.kind == HM_GLIBC_OTHER)
		*rest = HM_OWNER_ALLOCATOR;
	else
		claim(claims, place.start_address, place.end_address, HM_OWNER_ALLOCATOR);
	return place.kind == HM_GLIBC_MAPPED;
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
	if (mapping == NULL || (!hm_mapping_is_anonymous(mapping) && !is_heap(mapping)))
		return; /* freed since */

	enum hm_memory_owner *const rest = &claims->rest[index_of(evidence->mappings, mapping)];

	if (claims->allocator != NULL || is_heap(mapping))
		*rest = HM_OWNER_ALLOCATOR;
	else if (claim_block(evidence, mapping, live, claims, rest))
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
 * jemalloc knows which pages are its own, and its memory is nobody else's, wherever the kernel has joined it.
 * Returns whether it could be asked.
 */
static bool claim_pages_of_jemalloc(const struct hm_memory_evidence *evidence,
				    struct hm_memory_claims *claims)
{
	enum { ADDRESSES = 16 };
	const struct hm_mappings *const mappings = evidence->mappings;
	uint64_t addresses[ADDRESSES];
	size_t count = 0;
	uint64_t end = 0;
	struct hm_jemalloc jemalloc;

	for (uint64_t i = 0; i < evidence->snapshot->live_count && count < ADDRESSES / 2; i++)
		if (!evidence->snapshot->live[i].reported && !evidence->snapshot->live[i].mapped)
			addresses[count++] = evidence->snapshot->live[i].address;
	/* Where little is left in use: what is mapped as jemalloc maps is likely to begin with its memory. */
	for (size_t i = 0; i < mappings->count && count < ADDRESSES; i++)
		if (mappings->entries[i].no_reserve && hm_mapping_is_anonymous(&mappings->entries[i]))
			addresses[count++] = mappings->entries[i].start_address;
	if (!hm_jemalloc_find(evidence->pid, evidence->pages, mappings, addresses, count, &jemalloc))
		return false;
	for (size_t i = 0; i < mappings->count; i++) {
		const struct hm_mapping *const mapping = &mappings->entries[i];
		uint64_t start = 0;

		if (!hm_mapping_is_anonymous(mapping) || mapping->resident_bytes == 0 ||
		    mapping->end_address - mapping->start_address > searched_bytes_max)
			continue;
		claims->rest[i] = HM_OWNER_ANONYMOUS;
		/* A block that the program has cut by madvise goes on from the mapping before. */
		for (end = hm_max_u64(end, mapping->start_address);
		     hm_jemalloc_next(&jemalloc, end, mapping->end_address, &start, &end);)
			claim(claims, start, end, HM_OWNER_ALLOCATOR);
	}
	return true;
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

/* From each mapping to its neighbour.  Our own, as the ledger's, may have come between what lies side by side. */
static void spread(const struct hm_mappings *mappings, bool upwards, struct hm_memory_claims *claims)
{
	const struct hm_mapping *last = NULL;
	uint64_t own_bytes = 0;

	for (size_t k = 0; k < mappings->count; k++) {
		const size_t i = upwards ? k : mappings->count - 1 - k;
		const struct hm_mapping *const mapping = &mappings->entries[i];

		if (claims->rest[i] == HM_OWNER_OWN) {
			own_bytes += mapping->end_address - mapping->start_address;
			continue;
		}
		if (last != NULL && claims->rest[index_of(mappings, last)] == HM_OWNER_ALLOCATOR) {
			const uint64_t apart_bytes = upwards ? mapping->start_address - last->end_address
							     : last->start_address - mapping->end_address;

			if (is_like(last, mapping, apart_bytes - own_bytes))
				claims->rest[i] = HM_OWNER_ALLOCATOR;
		}
		last = mapping;
		own_bytes = 0;
	}
}

/* Arenas of glibc in which nothing was sampled; the kernel may have joined them with others. */
static void claim_arenas(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	const struct hm_mappings *const mappings = evidence->mappings;

	for (size_t i = 0; i < mappings->count; i++) {
		const struct hm_mapping *const mapping = &mappings->entries[i];
		const uint64_t mask = HM_GLIBC_HEAP_BYTES - 1;

		if (!hm_mapping_is_anonymous(mapping) || !mapping->writable || mapping->resident_bytes == 0)
			continue;
		for (uint64_t start = (mapping->start_address + mask) & ~mask; start < mapping->end_address;
		     start += HM_GLIBC_HEAP_BYTES)
			if (hm_glibc_is_heap(evidence->pid, evidence->pages, mappings, i, start))
				claim(claims, start,
				      hm_min_u64(start + HM_GLIBC_HEAP_BYTES, mapping->end_address),
				      HM_OWNER_ALLOCATOR);
	}
}

/* What the allocator has mapped without anything in use in it. */
static void claim_what_is_free(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	const char *const allocator = claims->allocator;

	if (allocator == NULL) {
		claim_arenas(evidence, claims);
		claims->knows_free = true;
	} else if (strcmp(allocator, "jemalloc") == 0 && claim_pages_of_jemalloc(evidence, claims)) {
		claims->knows_free = true;
	} else {
		spread(evidence->mappings, true, claims);
		spread(evidence->mappings, false, claims);
		claims->knows_free = strcmp(allocator, "mimalloc") == 0 || strcmp(allocator, "tcmalloc") == 0;
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
	       !hm_mapping_is_accessible(below) &&
	       below->end_address - below->start_address <= guard_bytes_max;
}

/* Where it cannot be told how far a stack reaches down: `below` is the next one there, NULL for none. */
static uint64_t lowest_of(const struct hm_mappings *mappings, const struct hm_mapping *mapping,
			  const struct hm_stack_place *stack, const struct hm_stack_place *below)
{
	const uint64_t below_end = below == NULL ? 0
				   : below->end_address > below->stack_pointer
					   ? page_up(below->end_address)
					   : page_up(below->stack_pointer);
	const uint64_t lowest = below_end > mapping->start_address && below_end <= stack->stack_pointer
					? below_end
					: mapping->start_address;

	/* Without a guard the mapping may be joined with something else there. */
	return has_guard(mappings, mapping) || stack->stack_pointer - lowest <= stack_bytes_max
		       ? lowest
		       : page_down(stack->stack_pointer);
}

/* The main thread's is known by its name; one in malloc'd memory is the allocator's. */
static void claim_stack(const struct hm_mappings *mappings, const struct hm_stack_place *stack,
			const struct hm_stack_place *below, struct hm_memory_claims *claims, bool *is_known)
{
	const bool has_block = stack->block.end_address != 0;
	const struct hm_mapping *const mapping =
		hm_mappings_find(mappings, has_block ? stack->block.end_address - 1 : stack->stack_pointer);

	if (mapping == NULL || !hm_mapping_is_anonymous(mapping))
		return;
	if (!has_guard(mappings, mapping) && claims->rest[index_of(mappings, mapping)] == HM_OWNER_ALLOCATOR)
		return;
	is_known[index_of(mappings, mapping)] = true;
	if (has_block) {
		claim(claims, page_down(stack->block.start_address), page_up(stack->block.end_address),
		      HM_OWNER_STACKS);
		return;
	}

	const uint64_t end = stack->end_address > stack->stack_pointer
				     ? page_up(stack->end_address)
				     : page_up(stack->stack_pointer) + stack_bytes_max;

	claim(claims, lowest_of(mappings, mapping, stack, below), hm_min_u64(end, mapping->end_address),
	      HM_OWNER_STACKS);
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

static int compare_stacks(const void *a, const void *b)
{
	const struct hm_stack_place *const left = a;
	const struct hm_stack_place *const right = b;

	return left->stack_pointer < right->stack_pointer ? -1 : left->stack_pointer > right->stack_pointer;
}

static void claim_stacks(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	bool *const is_known = calloc(evidence->mappings->count + 1, sizeof(is_known[0]));
	struct hm_stack_place *const sorted = calloc(evidence->stack_count + 1, sizeof(sorted[0]));
	size_t unknown_count = 0;

	if (is_known == NULL || sorted == NULL)
		abort();
	if (evidence->stack_count != 0)
		memcpy(sorted, evidence->stacks, evidence->stack_count * sizeof(sorted[0]));
	qsort(sorted, evidence->stack_count, sizeof(sorted[0]), compare_stacks);
	for (size_t i = 0; i < evidence->stack_count; i++) {
		unknown_count += sorted[i].stack_pointer == 0 && sorted[i].block.end_address == 0;
		claim_stack(evidence->mappings, &sorted[i], i > 0 ? &sorted[i - 1] : NULL, claims, is_known);
	}
	claim_stacks_by_shape(evidence->mappings, unknown_count, claims, is_known);
	free(sorted);
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

/* Of these addresses, what none of the first `count` claims has. */
static void claim_between(struct hm_memory_claims *claims, size_t count, uint64_t start_address,
			  uint64_t end_address, enum hm_memory_owner owner)
{
	uint64_t start = start_address;
	size_t next = 0;

	for (size_t high = count; next < high;) {
		const size_t middle = next + (high - next) / 2;

		if (claims->entries[middle].end_address <= start)
			next = middle + 1;
		else
			high = middle;
	}
	for (; next < count && claims->entries[next].start_address < end_address; next++) {
		claim(claims, start, claims->entries[next].start_address, owner);
		start = claims->entries[next].end_address;
	}
	claim(claims, start, end_address, owner);
}

/*
 * Mappings that the program was seen to make, where it was asked to count them: its own, whatever else they
 * look like, but for the stacks that it has placed in them.  Shared ones are told by their names.
 */
static void claim_mapped(const struct hm_memory_evidence *evidence, struct hm_memory_claims *claims)
{
	const struct hm_mappings *const mappings = evidence->mappings;
	const size_t count = claims->count;

	for (uint64_t i = 0; i < evidence->snapshot->live_count; i++) {
		const struct hm_snapshot_live *const live = &evidence->snapshot->live[i];
		const struct hm_mapping *mapping =
			live->mapped ? hm_mappings_find(mappings, live->address) : NULL;

		/* Parts that are protected differently are mappings of their own. */
		for (; mapping != NULL && mapping < mappings->entries + mappings->count &&
		       mapping->start_address < live->address + live->size_bytes;
		     mapping++)
			if (hm_mapping_is_anonymous(mapping))
				claim_between(
					claims, count, hm_max_u64(live->address, mapping->start_address),
					hm_min_u64(live->address + live->size_bytes, mapping->end_address),
					HM_OWNER_ANONYMOUS);
	}
	separate(claims);
}

void hm_memory_claims_make(const struct hm_memory_evidence *evidence, struct hm_memory_claims *ret_claims)
{
	const struct hm_mappings *const mappings = evidence->mappings;
	struct hm_memory_claims claims = { .allocator = allocator_of(mappings) };

	claims.rest = calloc(mappings->count + 1, sizeof(claims.rest[0]));
	if (claims.rest == NULL)
		abort();
	for (size_t i = 0; i < mappings->count; i++)
		claims.rest[i] = first_owner_of(&mappings->entries[i], claims.allocator);
	claim_blocks(evidence, &claims);
	claim_what_is_free(evidence, &claims);
	claim_own(evidence->snapshot, &claims);
	claim_static_data(evidence, &claims);
	claim_stacks(evidence, &claims);
	separate(&claims);
	claim_mapped(evidence, &claims);
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
