// SPDX-License-Identifier: Apache-2.0
/*
 * How a library that steps frames is made to say what it would do
 * ---------------------------------------------------------------
 * libunwind is asked to step one frame of a process that does not exist.  Its registers hold tags, and so
 * does its stack: what is read at SP+24 is "the word at SP+24".  After the step the caller's registers are
 * therefore not numbers but sentences, and only a few sentences are understood:
 *
 *	PC = the word at SP+24, SP = SP+32, FP = FP      means  STANDARD, CFA = SP+32, FP as it was
 *
 * A tagged value has its tag in the top byte.  No address looks like that: those of programs end below 2^56.
 *
 *	             63    56 55                                                 0
 *	SP, FP       [ tag  ][ distance from the register's value, plus 2^40      ]
 *
 *	             63    56 55                          24 23                  0
 *	the word at  [ tag  ][ distance it was read at,    ][ added since, plus   ]
 *	SP+, FP+             [ in bytes, plus 2^31         ][ 2^23                ]
 *
 * so that arithmetic on what was read (CFA - 8, where the CFA itself was read from the stack) does not look
 * like reading another place.
 */
#include "preload/unwinder.h"

#include "preload/memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libunwind.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Not in libunwind's headers, but exported; perf and debuggers search tables with it. */
typedef int search_unwind_table_function(unw_addr_space_t space, unw_word_t ip, unw_dyn_info_t *table,
					 unw_proc_info_t *ret_info, int need_unwind_info, void *argument);

/* Found by name: the library is neither linked nor visible to the program. */
static struct {
	__typeof__(unw_create_addr_space) *create_addr_space;
	__typeof__(unw_set_caching_policy) *set_caching_policy;
	__typeof__(unw_init_remote) *init_remote;
	__typeof__(unw_step) *step;
	__typeof__(unw_get_reg) *get_reg;
	search_unwind_table_function *search_unwind_table;
	unw_addr_space_t address_space; /* owned, for the life of the process; NULL: no library */
} library;

enum tag {
	TAG_SP = 0x81,
	TAG_FP,
	TAG_OTHER, /* a register that rules do not follow */
	TAG_WORD_AT_SP,
	TAG_WORD_AT_FP,
	TAG_WORD_AT_WORD, /* read through a word at FP+; its payload is that of the address */
};

enum {
	TAG_SHIFT = 56,
	DISTANCE_SHIFT = 24,
	WORD_BYTES = 8,
	PAGE_SHIFT = 12,
	PROVEN_PAGES_MAX = 256,
};

static const uint64_t payload_mask = (UINT64_C(1) << TAG_SHIFT) - 1;
static const uint64_t register_bias = UINT64_C(1) << 40;
static const uint64_t distance_bias = UINT64_C(1) << 31;
static const uint64_t added_bias = UINT64_C(1) << 23;

/* Numbers of pages that were found readable, each at the place that its low bits say. */
struct proven_pages {
	uintptr_t numbers[PROVEN_PAGES_MAX]; /* page 0 is never there, so 0 is none */
};

/*
 * What a step needs.  Static and not on the stack: a cursor is a kilobyte, and the caller may have sixteen
 * for everything.  One of each is enough, because there is one lock.  Their addresses are the argument by
 * which our accessors know what they are called for.
 */
static struct {
	unw_cursor_t cursor;
	uintptr_t pc;
	bool has_frame_information;
	struct proven_pages proven; /* of objects: until one is unloaded */
} compilation;

static struct {
	unw_cursor_t cursor;
	struct hm_registers registers;
	struct proven_pages proven; /* of stacks, too: for one walk */
} walk;

static enum tag tag_of(uint64_t value)
{
	return (enum tag)(value >> TAG_SHIFT);
}

static uint64_t tagged(enum tag tag, uint64_t payload)
{
	return (uint64_t)tag << TAG_SHIFT | (payload & payload_mask);
}

static int64_t register_distance(uint64_t value)
{
	return (int64_t)((value & payload_mask) - register_bias);
}

/* What is read at `distance` from SP or FP. */
static uint64_t word_at(enum tag tag, int64_t distance)
{
	return tagged(tag, (((uint64_t)distance + distance_bias) << DISTANCE_SHIFT) + added_bias);
}

static int64_t word_distance(uint64_t value)
{
	return (int64_t)(((value & payload_mask) >> DISTANCE_SHIFT) - distance_bias);
}

/* Whether `value` is a word read under this tag and nothing was added to it. */
static bool is_word(uint64_t value, enum tag tag)
{
	return value == word_at(tag, word_distance(value));
}

/*
 * Tables of an object lie in its own memory, but what leads to them is only what the object says about
 * itself; and the stack of a walk may hold anything.
 */
static bool is_readable(struct proven_pages *proven, uintptr_t address)
{
	const uintptr_t page = address >> PAGE_SHIFT;
	uintptr_t *const number = &proven->numbers[page % PROVEN_PAGES_MAX];

	if (address % WORD_BYTES != 0)
		return false; /* could reach into a page that was not proven */
	if (*number == page)
		return true;
	if (!hm_memory_is_readable((const void *)address))
		return false;
	*number = page;
	return true;
}

/* Whatever lies there, between variables too. */
__attribute__((no_sanitize("address", "thread"))) static int
read_word(struct proven_pages *proven, uintptr_t address, unw_word_t *ret_word)
{
	if (!is_readable(proven, address))
		return -UNW_EINVAL;
	*ret_word = *(const unw_word_t *)address;
	return 0;
}

static int read_imaginary_word(uint64_t address, unw_word_t *ret_word)
{
	const enum tag tag = tag_of(address);

	switch (tag) {
	case TAG_SP:
	case TAG_FP: {
		const int64_t distance = register_distance(address);

		if (distance < INT32_MIN || distance > INT32_MAX)
			return -UNW_EINVAL;
		*ret_word = word_at(tag == TAG_SP ? TAG_WORD_AT_SP : TAG_WORD_AT_FP, distance);
		return 0;
	}
	case TAG_WORD_AT_FP:
		*ret_word = tagged(TAG_WORD_AT_WORD, address);
		return 0;
	case TAG_OTHER:
	case TAG_WORD_AT_SP:
	case TAG_WORD_AT_WORD:
		return -UNW_EINVAL;
	}
	return read_word(&compilation.proven, address, ret_word);
}

static int access_memory(unw_addr_space_t space, unw_word_t address, unw_word_t *word, int is_write,
			 void *argument)
{
	(void)space;
	if (is_write)
		return -UNW_EINVAL;
	return argument == &compilation ? read_imaginary_word(address, word)
					: read_word(&walk.proven, address, word);
}

static int read_imaginary_register(unw_regnum_t number, unw_word_t *ret_value)
{
	switch (number) {
	case UNW_X86_64_RIP:
		*ret_value = compilation.pc;
		break;
	case UNW_X86_64_RSP:
		*ret_value = tagged(TAG_SP, register_bias);
		break;
	case UNW_X86_64_RBP:
		*ret_value = tagged(TAG_FP, register_bias);
		break;
	default:
		*ret_value = tagged(TAG_OTHER, register_bias);
		break;
	}
	return 0;
}

/* Only what a function preserves is known; nothing else can be asked for at the place of a call. */
static int read_register(unw_regnum_t number, unw_word_t *ret_value)
{
	switch (number) {
	case UNW_X86_64_RIP:
		*ret_value = walk.registers.rip;
		return 0;
	case UNW_X86_64_RSP:
		*ret_value = walk.registers.rsp;
		return 0;
	case UNW_X86_64_RBP:
		*ret_value = walk.registers.rbp;
		return 0;
	case UNW_X86_64_RBX:
		*ret_value = walk.registers.rbx;
		return 0;
	case UNW_X86_64_R12:
		*ret_value = walk.registers.r12;
		return 0;
	case UNW_X86_64_R13:
		*ret_value = walk.registers.r13;
		return 0;
	case UNW_X86_64_R14:
		*ret_value = walk.registers.r14;
		return 0;
	case UNW_X86_64_R15:
		*ret_value = walk.registers.r15;
		return 0;
	default:
		return -UNW_EBADREG;
	}
}

static int access_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int is_write,
			   void *argument)
{
	(void)space;
	if (is_write)
		return -UNW_EREADONLYREG;
	return argument == &compilation ? read_imaginary_register(number, value)
					: read_register(number, value);
}

/* The head of .eh_frame_hdr in the one encoding that linkers write, which is also the one that can be
 * searched. */
struct eh_frame_header {
	uint8_t version;
	uint8_t eh_frame_pointer_encoding;
	uint8_t count_encoding;
	uint8_t table_encoding;
	int32_t eh_frame_pointer;
	uint32_t count; /* of entries in the sorted table that follows, each of two 32-bit words */
};

static bool is_searchable(struct proven_pages *proven, const struct eh_frame_header *header)
{
	enum { VERSION = 1, PC_RELATIVE_SDATA4 = 0x1b, UDATA4 = 0x03, HEADER_RELATIVE_SDATA4 = 0x3b };
	const uintptr_t first_word = (uintptr_t)header & ~(uintptr_t)(WORD_BYTES - 1);

	return is_readable(proven, first_word) && is_readable(proven, first_word + WORD_BYTES) &&
	       header->version == VERSION && header->eh_frame_pointer_encoding == PC_RELATIVE_SDATA4 &&
	       header->count_encoding == UDATA4 && header->table_encoding == HEADER_RELATIVE_SDATA4;
}

static int find_frame_information(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *ret_info,
				  int need_unwind_info, void *argument)
{
	enum { ENTRY_BYTES = 8 };
	struct dl_find_object object;
	unw_dyn_info_t table = { 0 };

	if (_dl_find_object((void *)ip, &object) != 0 || object.dlfo_eh_frame == NULL)
		return -UNW_ENOINFO;

	const bool is_compiling = argument == &compilation;
	const struct eh_frame_header *const header = object.dlfo_eh_frame;

	if (!is_searchable(is_compiling ? &compilation.proven : &walk.proven, header))
		return -UNW_ENOINFO;
	table.start_ip = (uintptr_t)object.dlfo_map_start;
	table.end_ip = (uintptr_t)object.dlfo_map_end;
	table.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	table.u.rti.segbase = (uintptr_t)header;
	table.u.rti.table_data = (uintptr_t)(header + 1);
	table.u.rti.table_len = (unw_word_t)header->count * ENTRY_BYTES / sizeof(unw_word_t);

	const int error =
		library.search_unwind_table(space, ip, &table, ret_info, need_unwind_info, argument);

	if (is_compiling)
		compilation.has_frame_information = error != -UNW_ENOINFO;
	return error;
}

/* libunwind itself frees what search_unwind_table allocated from its own pool. */
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

/* Newer releases of the library have more functions at the end, all optional, and copy as many as they know.
 */
static union {
	unw_accessors_t functions;
	void *room[32];
} accessors = {
	.functions =
		{
			.find_proc_info = find_frame_information,
			.put_unwind_info = put_frame_information,
			.get_dyn_info_list_addr = find_registered_code,
			.access_mem = access_memory,
			.access_reg = access_register,
		},
};

static bool find_function(void *handle, const char *name, void *ret_function)
{
	void *const function = dlsym(handle, name);

	memcpy(ret_function, &function, sizeof(function));
	return function != NULL;
}

static bool are_ends_of_one_pipe(const int descriptors[2])
{
	struct stat ends[2];

	return fstat(descriptors[0], &ends[0]) == 0 && fstat(descriptors[1], &ends[1]) == 0 &&
	       S_ISFIFO(ends[0].st_mode) && S_ISFIFO(ends[1].st_mode) && ends[0].st_ino == ends[1].st_ino &&
	       ends[0].st_dev == ends[1].st_dev;
}

/*
 * When it prepares itself, libunwind opens a pipe for reading the process without accessors, which we never
 * let it do. The pipe is closed at once: the program must find the descriptors that it counts on to be free.
 * libunwind does not tell their numbers, but they are those that a pipe of ours gets just before.
 */
static unw_addr_space_t create_address_space(void)
{
	int descriptors[2];
	const bool has_descriptors = pipe2(descriptors, O_CLOEXEC) == 0;

	if (has_descriptors) {
		(void)close(descriptors[0]);
		(void)close(descriptors[1]);
	}

	const unw_addr_space_t space = library.create_addr_space(&accessors.functions, 0);

	if (space != NULL)
		(void)library.set_caching_policy(space, UNW_CACHE_NONE); /* a cache would outlive dlclose */
	if (has_descriptors && are_ends_of_one_pipe(descriptors)) {
		(void)close(descriptors[0]);
		(void)close(descriptors[1]);
	}
	return space;
}

bool hm_unwinder_init(const char **ret_reason)
{
	const int saved_errno = errno;
	void *const handle = dlopen("libunwind-x86_64.so.8", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	unw_addr_space_t space = NULL;

	if (handle == NULL)
		*ret_reason = "libunwind-x86_64.so.8 cannot be loaded";
	else if (!find_function(handle, "_Ux86_64_create_addr_space", &library.create_addr_space) ||
		 !find_function(handle, "_Ux86_64_set_caching_policy", &library.set_caching_policy) ||
		 !find_function(handle, "_Ux86_64_init_remote", &library.init_remote) ||
		 !find_function(handle, "_Ux86_64_step", &library.step) ||
		 !find_function(handle, "_Ux86_64_get_reg", &library.get_reg) ||
		 !find_function(handle, "_Ux86_64_dwarf_search_unwind_table", &library.search_unwind_table))
		*ret_reason = "libunwind-x86_64.so.8 lacks a function";
	else if ((space = create_address_space()) == NULL)
		*ret_reason = "libunwind-x86_64.so.8 has no memory";
	(void)dlerror(); /* the program's next dlerror must not tell of ours */
	library.address_space = space;
	errno = saved_errno;
	return space != NULL;
}

static bool fits(int64_t bytes, int64_t words_max)
{
	const int64_t words = bytes / WORD_BYTES;

	return bytes % WORD_BYTES == 0 && words >= -words_max - 1 && words <= words_max;
}

enum { FP_OFFSET_MAX = (1 << 11) - 1 }; /* of 12 bits with a sign; those of cfa_offset are an int32_t's */

static union hm_rule standard_rule(uint64_t pc, uint64_t sp, uint64_t fp)
{
	const union hm_rule complex = { .kind = HM_RULE_COMPLEX };
	const bool is_on_fp = tag_of(sp) == TAG_FP;
	const enum tag word_tag = is_on_fp ? TAG_WORD_AT_FP : TAG_WORD_AT_SP;
	const int64_t cfa = register_distance(sp);
	int64_t fp_offset = 0;

	if (pc != word_at(word_tag, cfa - WORD_BYTES) || !fits(cfa, INT32_MAX))
		return complex;
	if (fp != tagged(TAG_FP, register_bias)) {
		fp_offset = word_distance(fp) - cfa;
		if (!is_word(fp, word_tag) || !fits(fp_offset, FP_OFFSET_MAX) || fp_offset == 0)
			return complex;
	}
	return (union hm_rule){
		.kind = HM_RULE_STANDARD,
		.cfa_is_on_fp = is_on_fp,
		.cfa_offset = cfa / WORD_BYTES,
		.fp_offset = fp_offset / WORD_BYTES,
	};
}

static union hm_rule realigned_rule(uint64_t pc, uint64_t sp, uint64_t fp)
{
	const int64_t cfa_offset = word_distance(sp);
	const int64_t fp_offset = word_distance(fp);

	if (!is_word(sp, TAG_WORD_AT_FP) || pc != tagged(TAG_WORD_AT_WORD, sp - WORD_BYTES) ||
	    !is_word(fp, TAG_WORD_AT_FP) || !fits(cfa_offset, INT32_MAX) || !fits(fp_offset, FP_OFFSET_MAX))
		return (union hm_rule){ .kind = HM_RULE_COMPLEX };
	return (union hm_rule){
		.kind = HM_RULE_REALIGNED,
		.cfa_offset = cfa_offset / WORD_BYTES,
		.fp_offset = fp_offset / WORD_BYTES,
	};
}

/* Reads the sentence. */
static union hm_rule rule_of_caller(uint64_t pc, uint64_t sp, uint64_t fp)
{
	if (tag_of(sp) == TAG_SP || tag_of(sp) == TAG_FP)
		return standard_rule(pc, sp, fp);
	if (pc == word_at(TAG_WORD_AT_SP, HM_SIGNAL_PC_OFFSET) &&
	    sp == word_at(TAG_WORD_AT_SP, HM_SIGNAL_SP_OFFSET) &&
	    fp == word_at(TAG_WORD_AT_SP, HM_SIGNAL_FP_OFFSET))
		return (union hm_rule){ .kind = HM_RULE_SIGNAL };
	return realigned_rule(pc, sp, fp);
}

static union hm_rule step_imaginary_frame(void)
{
	const int stepped = library.step(&compilation.cursor);
	uint64_t pc = 0;
	uint64_t sp = 0;
	uint64_t fp = 0;
	union hm_rule rule = { .kind = HM_RULE_COMPLEX };

	if (stepped == 0 && compilation.has_frame_information)
		return (union hm_rule){ .kind = HM_RULE_OUTERMOST };
	if (stepped > 0 && library.get_reg(&compilation.cursor, UNW_REG_IP, &pc) == 0 &&
	    library.get_reg(&compilation.cursor, UNW_REG_SP, &sp) == 0 &&
	    library.get_reg(&compilation.cursor, UNW_X86_64_RBP, &fp) == 0)
		rule = rule_of_caller(pc, sp, fp);

	/* Without information libunwind guesses: from the instructions of a PLT entry, which does not depend
	 * on what the stack holds; or from the frame pointer, where it does, and the walk must see for
	 * itself. */
	if (!compilation.has_frame_information && !(rule.kind == HM_RULE_STANDARD && !rule.cfa_is_on_fp))
		return (union hm_rule){ .kind = HM_RULE_UNKNOWN };
	return rule;
}

void hm_unwinder_forget(void)
{
	memset(&compilation.proven, 0, sizeof(compilation.proven));
}

union hm_rule hm_unwinder_compile(uintptr_t pc)
{
	const int saved_errno = errno;
	union hm_rule rule = { .kind = HM_RULE_UNKNOWN };

	if (library.address_space == NULL)
		return rule;
	compilation.has_frame_information = false;
	compilation.pc = pc;
	if (library.init_remote(&compilation.cursor, library.address_space, &compilation) == 0)
		rule = step_imaginary_frame();
	errno = saved_errno;
	return rule;
}

bool hm_unwinder_start(const struct hm_registers *registers)
{
	if (library.address_space == NULL)
		return false;
	memset(&walk.proven, 0, sizeof(walk.proven));
	walk.registers = *registers;
	return library.init_remote(&walk.cursor, library.address_space, &walk) == 0;
}

enum hm_unwinder_step hm_unwinder_step(uintptr_t *ret_pc, uintptr_t *ret_sp)
{
	const int saved_errno = errno;
	const int stepped = library.step(&walk.cursor);
	unw_word_t pc = 0;
	unw_word_t sp = 0;
	const bool is_known = library.get_reg(&walk.cursor, UNW_REG_IP, &pc) == 0 &&
			      library.get_reg(&walk.cursor, UNW_REG_SP, &sp) == 0;

	errno = saved_errno;
	if (stepped < 0 || !is_known)
		return HM_UNWINDER_LOST;
	if (stepped == 0 || pc == 0)
		return HM_UNWINDER_OUTERMOST;
	*ret_pc = pc;
	*ret_sp = sp;
	return HM_UNWINDER_STEPPED;
}
