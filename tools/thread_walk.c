// SPDX-License-Identifier: Apache-2.0
#include "tools/thread_walk.h"

#include "tools/remote_elf.h"

#include <libunwind.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Exported for those who bring their own accessors, and in none of the headers. */
extern int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t space, unw_word_t ip, unw_dyn_info_t *table,
					      unw_proc_info_t *info, int need_unwind_info, void *argument);

enum { PAGE_BYTES = 4096, CACHED_PAGES = 1024 };

/* Where the table of call-frame information of one object lies in the process. */
struct table {
	uint64_t start_address;  /* of the mapping that holds the object's head; 0: none yet */
	uint64_t header_address; /* .eh_frame_hdr; 0: it has none that can be searched */
	uint64_t entry_count;
};

/* Memory that nobody writes to: read once. */
struct page {
	uint64_t address; /* 0: none */
	uint8_t bytes[PAGE_BYTES];
};

struct hm_thread_walker {
	pid_t pid;
	const struct hm_mappings *mappings;
	unw_addr_space_t space; /* owned */
	struct table *tables;   /* owned */
	size_t table_count;
	struct page *pages; /* owned; CACHED_PAGES of them, by address */

	const struct hm_thread_copy *copy; /* of the thread that is being walked */
};

/* --- Memory -------------------------------------------------------------------------------------------- */

static const uint8_t *cached_page(struct hm_thread_walker *walker, uint64_t address)
{
	const uint64_t start = address & ~(uint64_t)(PAGE_BYTES - 1);
	struct page *const page = &walker->pages[start / PAGE_BYTES % CACHED_PAGES];

	if (page->address == start)
		return page->bytes;

	const struct hm_mapping *const mapping = hm_mappings_find(walker->mappings, address);

	page->address = 0;
	if (start == 0 || mapping == NULL || mapping->writable ||
	    hm_thread_read_memory(walker->pid, start, page->bytes, PAGE_BYTES) != PAGE_BYTES)
		return NULL;
	page->address = start;
	return page->bytes;
}

static bool read_bytes(void *context, uint64_t address, void *ret_bytes, size_t size_bytes)
{
	struct hm_thread_walker *const walker = context;
	const struct hm_thread_copy *const copy = walker->copy;
	const uint64_t into_stack = copy != NULL ? address - copy->registers.rsp : UINT64_MAX;

	if (copy != NULL && into_stack < copy->stack_bytes && size_bytes <= copy->stack_bytes - into_stack) {
		memcpy(ret_bytes, copy->stack + into_stack, size_bytes);
		return true;
	}

	const uint64_t in_page = address % PAGE_BYTES;
	const uint8_t *const page = size_bytes <= PAGE_BYTES - in_page ? cached_page(walker, address) : NULL;

	if (page != NULL) {
		memcpy(ret_bytes, page + in_page, size_bytes);
		return true;
	}
	return hm_thread_read_memory(walker->pid, address, ret_bytes, size_bytes) == size_bytes;
}

/* --- Tables -------------------------------------------------------------------------------------------- */

/* The head of .eh_frame_hdr in the one encoding that linkers write, which is also the one that can be
 * searched. */
struct eh_frame_header {
	uint8_t version;
	uint8_t eh_frame_pointer_encoding;
	uint8_t count_encoding;
	uint8_t table_encoding;
	int32_t eh_frame_pointer;
	uint32_t count;
};

static bool is_searchable(const struct eh_frame_header *header)
{
	enum { VERSION = 1, PC_RELATIVE_SDATA4 = 0x1b, UDATA4 = 0x03, HEADER_RELATIVE_SDATA4 = 0x3b };

	return header->version == VERSION && header->eh_frame_pointer_encoding == PC_RELATIVE_SDATA4 &&
	       header->count_encoding == UDATA4 && header->table_encoding == HEADER_RELATIVE_SDATA4;
}

static void find_header(struct hm_thread_walker *walker, struct table *table)
{
	struct hm_remote_elf elf;
	struct eh_frame_header header;

	if (!hm_remote_elf_read(read_bytes, walker, table->start_address, &elf) ||
	    elf.eh_frame_header_address == 0 ||
	    !read_bytes(walker, elf.eh_frame_header_address, &header, sizeof(header)) ||
	    !is_searchable(&header))
		return;
	table->header_address = elf.eh_frame_header_address;
	table->entry_count = header.count;
}

static const struct table *table_of(struct hm_thread_walker *walker, const struct hm_mapping *mapping)
{
	const struct hm_mapping *const head = hm_mappings_head_of(walker->mappings, mapping);

	if (head == NULL)
		return NULL;
	for (size_t i = 0; i < walker->table_count; i++)
		if (walker->tables[i].start_address == head->start_address)
			return &walker->tables[i];

	struct table *const table = &walker->tables[walker->table_count++];

	table->start_address = head->start_address;
	find_header(walker, table);
	return table;
}

/* --- What libunwind asks ------------------------------------------------------------------------------- */

static int find_frame_information(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *ret_info,
				  int need_unwind_info, void *argument)
{
	enum { ENTRY_BYTES = 8 };
	struct hm_thread_walker *const walker = argument;
	const struct hm_mapping *const mapping = hm_mappings_find(walker->mappings, ip);
	const struct table *const found =
		mapping != NULL && mapping->executable ? table_of(walker, mapping) : NULL;
	unw_dyn_info_t table = { 0 };

	if (found == NULL || found->header_address == 0)
		return -UNW_ENOINFO;
	table.start_ip = mapping->start_address;
	table.end_ip = mapping->end_address;
	table.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	table.u.rti.segbase = found->header_address;
	table.u.rti.table_data = found->header_address + sizeof(struct eh_frame_header);
	table.u.rti.table_len = found->entry_count * ENTRY_BYTES / sizeof(unw_word_t);
	return UNW_OBJ(dwarf_search_unwind_table)(space, ip, &table, ret_info, need_unwind_info, argument);
}

/* libunwind itself frees what the search allocated from its own pool. */
static void put_frame_information(unw_addr_space_t space, unw_proc_info_t *info, void *argument)
{
	(void)space;
	(void)info;
	(void)argument;
}

static int find_registered_code(unw_addr_space_t space, unw_word_t *ret_list, void *argument)
{
	(void)space;
	(void)ret_list;
	(void)argument;
	return -UNW_ENOINFO;
}

static int access_memory(unw_addr_space_t space, unw_word_t address, unw_word_t *word, int is_write,
			 void *argument)
{
	(void)space;
	if (is_write)
		return -UNW_EINVAL;
	return read_bytes(argument, address, word, sizeof(*word)) ? 0 : -UNW_EINVAL;
}

static int access_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int is_write,
			   void *argument)
{
	const struct hm_thread_walker *const walker = argument;
	const struct hm_thread_registers *const registers = &walker->copy->registers;
	static const struct {
		unw_regnum_t number;
		size_t offset;
	} known[] = {
		/* These two also of a thread that was not stopped. */
		{ UNW_X86_64_RIP, offsetof(struct hm_thread_registers, rip) },
		{ UNW_X86_64_RSP, offsetof(struct hm_thread_registers, rsp) },
		{ UNW_X86_64_RBP, offsetof(struct hm_thread_registers, rbp) },
		{ UNW_X86_64_RBX, offsetof(struct hm_thread_registers, rbx) },
		{ UNW_X86_64_R12, offsetof(struct hm_thread_registers, r12) },
		{ UNW_X86_64_R13, offsetof(struct hm_thread_registers, r13) },
		{ UNW_X86_64_R14, offsetof(struct hm_thread_registers, r14) },
		{ UNW_X86_64_R15, offsetof(struct hm_thread_registers, r15) },
	};
	enum { KNOWN_OF_SLEEPER = 2 };
	const size_t count = walker->copy->is_whole ? sizeof(known) / sizeof(known[0]) : KNOWN_OF_SLEEPER;

	(void)space;
	if (is_write)
		return -UNW_EREADONLYREG;
	for (size_t i = 0; i < count; i++) {
		if (known[i].number != number)
			continue;
		memcpy(value, (const uint8_t *)registers + known[i].offset, sizeof(*value));
		return 0;
	}
	return -UNW_EBADREG;
}

/* --- The walk ------------------------------------------------------------------------------------------ */

struct hm_thread_walker *hm_thread_walker_create(pid_t pid, const struct hm_mappings *mappings)
{
	static unw_accessors_t accessors = {
		.find_proc_info = find_frame_information,
		.put_unwind_info = put_frame_information,
		.get_dyn_info_list_addr = find_registered_code,
		.access_mem = access_memory,
		.access_reg = access_register,
	};
	struct hm_thread_walker *const walker = calloc(1, sizeof(*walker));

	if (walker == NULL)
		return NULL;
	walker->pid = pid;
	walker->mappings = mappings;
	walker->tables = calloc(mappings->count + 1, sizeof(walker->tables[0]));
	walker->pages = calloc(CACHED_PAGES, sizeof(walker->pages[0]));
	walker->space = unw_create_addr_space(&accessors, 0);
	if (walker->tables == NULL || walker->pages == NULL || walker->space == NULL) {
		hm_thread_walker_free(walker);
		return NULL;
	}
	(void)unw_set_caching_policy(walker->space, UNW_CACHE_GLOBAL);
	return walker;
}

void hm_thread_walker_free(struct hm_thread_walker *walker)
{
	if (walker->space != NULL)
		unw_destroy_addr_space(walker->space);
	free(walker->pages);
	free(walker->tables);
	free(walker);
}

static bool is_code(const struct hm_thread_walker *walker, uint64_t address)
{
	const struct hm_mapping *const mapping = hm_mappings_find(walker->mappings, address);

	return mapping != NULL && mapping->executable;
}

uint32_t hm_thread_walk(struct hm_thread_walker *walker, const struct hm_thread_copy *copy,
			uint64_t *ret_frames, uint32_t frames_max, bool *ret_is_complete)
{
	unw_cursor_t cursor;
	uint32_t count = 0;
	bool after_signal = true; /* the innermost frame has not called anybody either */
	int step = 1;

	*ret_is_complete = false;
	walker->copy = copy;
	if (unw_init_remote(&cursor, walker->space, walker) != 0)
		step = -1;
	while (step > 0 && count < frames_max) {
		unw_word_t address = 0;
		/* Nobody has called where a handler returns to, nor has whoever was interrupted. */
		const bool is_signal = unw_is_signal_frame(&cursor) > 0;
		const bool is_call = !is_signal && !after_signal;

		if (unw_get_reg(&cursor, UNW_REG_IP, &address) != 0)
			break;
		if (address == 0) {
			step = 0; /* the outermost frame has nowhere to return to */
			break;
		}
		if (count > 0 && !is_code(walker, address - 1))
			break;
		ret_frames[count++] = address - is_call;
		after_signal = is_signal;
		step = unw_step(&cursor);
	}
	*ret_is_complete = step == 0;
	walker->copy = NULL;
	return count;
}
