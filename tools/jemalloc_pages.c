// SPDX-License-Identifier: Apache-2.0
#include "tools/jemalloc_pages.h"

#include "tools/thread_stop.h"

#include <string.h>

enum {
	PAGE_LOG2 = 12,
	PAGE_BYTES = 1 << PAGE_LOG2,
	LEVEL_LOG2 = 18,
	LEVEL_MASK = (1 << LEVEL_LOG2) - 1,
	LEAF_PAGES_LOG2 = PAGE_LOG2 + LEVEL_LOG2,
	WORD_BYTES = 8,
	ROOT_BYTES = WORD_BYTES << LEVEL_LOG2,
	BASE_BYTES = 2 << 20,
	EXTENT_BITS = 7, /* below its address in a leaf: it is aligned to 128 bytes */
	CLASS_BITS = 16, /* above it */
	ADDRESS_BITS = 48,
};

struct extent {
	uint64_t bits;
	uint64_t address; /* not of its page: large blocks begin anywhere in their first one */
	uint64_t size_and_number;
};

struct base {
	uint64_t size_bytes;
	uint64_t previous;
	struct extent left;
};

static uint64_t page_down(uint64_t address)
{
	return address & ~(uint64_t)(PAGE_BYTES - 1);
}

/* Pages that are not there are zeros; to read one would make it. */
static bool read_memory(const struct hm_jemalloc *jemalloc, uint64_t address, void *ret_bytes,
			size_t size_bytes)
{
	uint8_t *bytes = ret_bytes;

	for (uint64_t next = address, end = 0; next < address + size_bytes; next = end) {
		end = page_down(next) + PAGE_BYTES;
		if (end > address + size_bytes)
			end = address + size_bytes;
		if (jemalloc->pages != NULL && hm_pages_resident(jemalloc->pages, next, end) == 0)
			memset(bytes, 0, end - next);
		else if (hm_thread_read_memory(jemalloc->pid, next, bytes, end - next) != end - next)
			return false;
		bytes += end - next;
	}
	return true;
}

/* Where the extent ends that a word of a leaf names; 0: it makes no sense, or has not this page. */
static uint64_t end_of_extent(const struct hm_jemalloc *jemalloc, uint64_t word, uint64_t page)
{
	const uint64_t address = word << CLASS_BITS >> CLASS_BITS >> EXTENT_BITS << EXTENT_BITS;
	struct extent extent = { 0 };

	if (address == 0 || !read_memory(jemalloc, address, &extent, sizeof(extent)))
		return 0;

	const uint64_t start = page_down(extent.address);
	const uint64_t size_bytes = page_down(extent.size_and_number);

	return start >> ADDRESS_BITS == 0 && size_bytes >> ADDRESS_BITS == 0 && start <= page &&
			       page - start < size_bytes
		       ? start + size_bytes
		       : 0;
}

/* How large the base block is that begins at this page; 0: none does. */
static uint64_t base_bytes(const struct hm_jemalloc *jemalloc, uint64_t page)
{
	struct base base = { 0 };

	return page % BASE_BYTES == 0 && read_memory(jemalloc, page, &base, sizeof(base)) &&
			       base.size_bytes != 0 && base.size_bytes % BASE_BYTES == 0 &&
			       base.size_bytes >> ADDRESS_BITS == 0 && base.previous % BASE_BYTES == 0 &&
			       base.left.address - page >= sizeof(base) &&
			       base.left.address - page <= base.size_bytes
		       ? base.size_bytes
		       : 0;
}

/* --- The root ------------------------------------------------------------------------------------------ */

static bool leads_to_extent(const struct hm_jemalloc *jemalloc, uint64_t leaf, uint64_t address)
{
	uint64_t word = 0;

	return leaf != 0 && leaf % WORD_BYTES == 0 && leaf >> ADDRESS_BITS == 0 &&
	       read_memory(jemalloc, leaf + (address >> PAGE_LOG2 & LEVEL_MASK) * WORD_BYTES, &word,
			   sizeof(word)) &&
	       end_of_extent(jemalloc, word, page_down(address)) != 0;
}

/* Every word in the static data could be this address's in a root that begins as much before it. */
static bool find_root(struct hm_jemalloc *jemalloc, uint64_t start_address, uint64_t end_address,
		      uint64_t address)
{
	const uint64_t offset = (address >> LEAF_PAGES_LOG2 & LEVEL_MASK) * WORD_BYTES;
	const uint64_t last = end_address - ROOT_BYTES + offset;
	uint64_t words[PAGE_BYTES / WORD_BYTES];

	for (uint64_t page = page_down(start_address + offset); page <= last; page += PAGE_BYTES) {
		if (!read_memory(jemalloc, page, words, sizeof(words)))
			continue;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			const uint64_t at = page + i * WORD_BYTES;

			if (at < start_address + offset || at > last ||
			    !leads_to_extent(jemalloc, words[i], address))
				continue;
			jemalloc->root_address = at - offset;
			return true;
		}
	}
	return false;
}

static bool is_of_jemalloc(const struct hm_mapping *mapping)
{
	static const char library[] = "libjemalloc";
	const char *const slash = strrchr(mapping->name, '/');

	return mapping->inode != 0 && mapping->writable && slash != NULL &&
	       strncmp(slash + 1, library, strlen(library)) == 0;
}

bool hm_jemalloc_find(pid_t pid, const struct hm_pages *pages, const struct hm_mappings *mappings,
		      const uint64_t *addresses, size_t address_count, struct hm_jemalloc *ret_jemalloc)
{
	struct hm_jemalloc *const jemalloc = ret_jemalloc;

	jemalloc->pid = pid;
	jemalloc->pages = pages;
	jemalloc->has_window = false;
	for (size_t i = 0; i + 1 < mappings->count; i++) {
		const struct hm_mapping *const data = &mappings->entries[i];
		const struct hm_mapping *const zeroed = data + 1;

		if (!is_of_jemalloc(data) || !hm_mapping_is_anonymous(zeroed) ||
		    zeroed->start_address != data->end_address ||
		    zeroed->end_address - data->start_address < ROOT_BYTES)
			continue;
		for (size_t k = 0; k < address_count; k++)
			if (find_root(jemalloc, data->start_address, zeroed->end_address, addresses[k]))
				return true;
	}
	return false;
}

/* --- Pages --------------------------------------------------------------------------------------------- */

/* Copies what the leaf says of the pages around this one; zeros where it says nothing. */
static void move_window(struct hm_jemalloc *jemalloc, uint64_t page)
{
	const uint64_t first = page & ~((uint64_t)HM_JEMALLOC_WINDOW_WORDS * PAGE_BYTES - 1);
	const uint64_t in_root = (first >> LEAF_PAGES_LOG2 & LEVEL_MASK) * WORD_BYTES;
	const uint64_t in_leaf = (first >> PAGE_LOG2 & LEVEL_MASK) * WORD_BYTES;
	uint64_t leaf = 0;

	jemalloc->has_window = true;
	jemalloc->window_address = first;
	jemalloc->window_is_empty = true;
	if (!read_memory(jemalloc, jemalloc->root_address + in_root, &leaf, sizeof(leaf)) || leaf == 0 ||
	    !read_memory(jemalloc, leaf + in_leaf, jemalloc->window, sizeof(jemalloc->window)))
		memset(jemalloc->window, 0, sizeof(jemalloc->window));
	for (size_t i = 0; i < HM_JEMALLOC_WINDOW_WORDS; i++)
		jemalloc->window_is_empty &= jemalloc->window[i] == 0;
}

static uint64_t word_of(struct hm_jemalloc *jemalloc, uint64_t page)
{
	if (!jemalloc->has_window || page < jemalloc->window_address ||
	    (page - jemalloc->window_address) / PAGE_BYTES >= HM_JEMALLOC_WINDOW_WORDS)
		move_window(jemalloc, page);
	return jemalloc->window[(page - jemalloc->window_address) / PAGE_BYTES];
}

/*
 * From a page on that is jemalloc's, or where something of it may begin: the first page that is not.  Of an
 * extent whose inner pages have no words it is the first one's that says where it ends.
 */
static uint64_t end_of_pages(struct hm_jemalloc *jemalloc, uint64_t start, uint64_t end_address)
{
	uint64_t page = start;
	uint64_t before = 0;

	while (page < end_address) {
		const uint64_t word = word_of(jemalloc, page);
		uint64_t end = page + PAGE_BYTES;

		if (word == 0 && before != 0)
			end = end_of_extent(jemalloc, before, page);
		if (word == 0 && (before == 0 || end == 0))
			end = page + base_bytes(jemalloc, page);
		if (end == page)
			break;
		before = word;
		page = end;
	}
	return page;
}

bool hm_jemalloc_next(struct hm_jemalloc *jemalloc, uint64_t start_address, uint64_t end_address,
		      uint64_t *ret_start_address, uint64_t *ret_end_address)
{
	uint64_t page = start_address;

	while (page < end_address) {
		const uint64_t end = end_of_pages(jemalloc, page, end_address);

		if (end != page) {
			*ret_start_address = page;
			*ret_end_address = end;
			return true;
		}
		/* Only a base block can begin where the leaf has no words. */
		page += jemalloc->window_is_empty ? BASE_BYTES - page % BASE_BYTES : PAGE_BYTES;
	}
	return false;
}
