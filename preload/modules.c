// SPDX-License-Identifier: Apache-2.0
#include "preload/modules.h"

#include "preload/ledger_file.h"
#include "preload/memory.h"
#include "preload/sandbox.h"
#include "proto/ledger.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	PAGE_BYTES = 4096,
	SEGMENTS_MAX = 12, /* of the table: the last brings it to HM_MODULES_MAX */
	PROGRAM_HEADERS_MAX = 512,
};

/* A range of memory that was found readable. */
struct range {
	uintptr_t start;
	uintptr_t end;
};

/* One executable segment. */
struct module {
	uintptr_t start; /* page-aligned, like the next two */
	uintptr_t end;
	uint64_t file_offset;
	uint64_t load_bias;
	uint8_t build_id[HM_BUILD_ID_MAX];
	uint32_t build_id_size;
	uint32_t flags;   /* HM_MODULE_* */
	const char *name; /* as the loader has it; owned */
	const char *path; /* absolute where that can be known; owned; NULL: not known */

	struct dl_find_object seen; /* what the loader said when it was seen last; only ever compared */
	bool is_loaded;

	bool is_in_ledger;
	bool is_missed; /* in this ledger there was no room for it, which is counted once */
};

static struct module *segments[SEGMENTS_MAX]; /* owned; sizes as in the ledger: hm_module_segment_count */
static uint32_t module_count;
static struct hm_ledger_file *ledger; /* borrowed */

/* Room for making a path.  Static: the caller's stack may be small, and there is one lock. */
static char path_room[2 * PATH_MAX];

/* Module 1 is the first entry of the first segment. */
static uint32_t segment_of(uint32_t module_index, uint32_t *ret_position)
{
	uint32_t position = module_index - 1;
	uint32_t segment_index = 0;

	while (position >= hm_module_segment_count(segment_index)) {
		position -= (uint32_t)hm_module_segment_count(segment_index);
		segment_index++;
	}
	*ret_position = position;
	return segment_index;
}

static struct module *module_at(uint32_t module_index)
{
	uint32_t position;
	const uint32_t segment_index = segment_of(module_index, &position);

	return &segments[segment_index][position];
}

static uintptr_t page_start(uintptr_t address)
{
	return address & ~(uintptr_t)(PAGE_BYTES - 1);
}

static uintptr_t page_end(uintptr_t address)
{
	return page_start(address + PAGE_BYTES - 1);
}

/* Objects say about themselves where things are; the pages are asked before that is believed. */
static bool is_readable(struct range object, uintptr_t start, uint64_t size_bytes)
{
	if (start < object.start || start > object.end || size_bytes > object.end - start)
		return false;
	for (uintptr_t page = page_start(start); page < start + size_bytes; page += PAGE_BYTES)
		if (!hm_memory_is_readable((const void *)page))
			return false;
	return true;
}

/* Returns the object's program headers, or NULL where it does not begin with headers that can be believed. */
static const Elf64_Phdr *program_headers(struct range object, uint32_t *ret_count)
{
	const Elf64_Ehdr *const header = (const Elf64_Ehdr *)object.start;

	if (!is_readable(object, object.start, sizeof(*header)) ||
	    memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
	    header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > PROGRAM_HEADERS_MAX ||
	    header->e_phoff % _Alignof(Elf64_Phdr) != 0 || header->e_phoff > object.end - object.start ||
	    !is_readable(object, object.start + header->e_phoff, header->e_phnum * sizeof(Elf64_Phdr)))
		return NULL;
	*ret_count = header->e_phnum;
	return (const Elf64_Phdr *)(object.start + header->e_phoff);
}

/*
 * Notes: (name size, description size, type), name, description, each of the last two padded to the alignment
 * of their segment.  The first build id wins.
 */
static void read_build_id(const uint8_t *notes, uint64_t size_bytes, uint64_t alignment,
			  struct module *ret_module)
{
	static const char gnu[] = "GNU";
	uint64_t offset = 0;

	while (size_bytes - offset >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;

		memcpy(&note, notes + offset, sizeof(note));

		const uint64_t name = offset + sizeof(note);
		const uint64_t description = (name + note.n_namesz + alignment - 1) & ~(alignment - 1);
		const uint64_t next = (description + note.n_descsz + alignment - 1) & ~(alignment - 1);

		if (description + note.n_descsz > size_bytes)
			return; /* a broken note is no note, and tells nothing about where the next begins */
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(gnu) &&
		    memcmp(notes + name, gnu, sizeof(gnu)) == 0 && note.n_descsz <= HM_BUILD_ID_MAX) {
			memcpy(ret_module->build_id, notes + description, note.n_descsz);
			ret_module->build_id_size = note.n_descsz;
			return;
		}
		if (next > size_bytes)
			return;
		offset = next;
	}
}

static void find_build_id(struct range object, const Elf64_Phdr *headers, uint32_t count,
			  struct module *ret_module)
{
	for (uint32_t i = 0; i < count && ret_module->build_id_size == 0; i++) {
		const Elf64_Phdr *const header = &headers[i];
		const uint64_t alignment = header->p_align == 8 ? 8 : 4;
		const uintptr_t start = ret_module->load_bias + header->p_vaddr;

		if (header->p_type == PT_NOTE && header->p_filesz <= header->p_memsz &&
		    is_readable(object, start, header->p_filesz))
			read_build_id((const uint8_t *)start, header->p_filesz, alignment, ret_module);
	}
}

/*
 * A program at fixed addresses may have holes between its segments, and for the loader each piece is then a
 * range of its own, of which only one begins with the headers.  The kernel has told where they are; from them
 * `object` becomes the whole.
 */
static const Elf64_Phdr *headers_of_main(struct range *object, uintptr_t load_bias, uint32_t *ret_count)
{
	const Elf64_Phdr *const headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
	const uint32_t count = (uint32_t)getauxval(AT_PHNUM);

	if (headers == NULL || getauxval(AT_BASE) == 0) /* no interpreter: these are the loader's own */
		return program_headers(*object, ret_count);
	for (uint32_t i = 0; i < count; i++) {
		const uintptr_t start = load_bias + headers[i].p_vaddr;

		if (headers[i].p_type != PT_LOAD)
			continue;
		if (start < object->start)
			object->start = page_start(start);
		if (start + headers[i].p_memsz > object->end)
			object->end = start + headers[i].p_memsz;
	}
	*ret_count = count;
	return headers;
}

/* Fills in what the object's headers say about the executable segment around pc.  Returns false without one.
 */
static bool describe_segment(struct range object, uintptr_t pc, struct module *ret_module)
{
	uint32_t count;
	const Elf64_Phdr *const headers = (ret_module->flags & HM_MODULE_MAIN) != 0
						  ? headers_of_main(&object, ret_module->load_bias, &count)
						  : program_headers(object, &count);

	if (headers == NULL) { /* better the whole object than nothing */
		ret_module->start = object.start;
		ret_module->end = page_end(object.end);
		return true;
	}
	for (uint32_t i = 0; i < count; i++) {
		const Elf64_Phdr *const header = &headers[i];
		const uintptr_t start = ret_module->load_bias + header->p_vaddr;

		if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0 && pc >= start &&
		    pc - start < header->p_memsz) {
			ret_module->start = page_start(start);
			ret_module->end = page_end(start + header->p_memsz);
			ret_module->file_offset = page_start(header->p_offset);
			find_build_id(object, headers, count, ret_module);
			return true;
		}
	}
	return false;
}

static bool is_own_object(uintptr_t map_start)
{
	struct dl_find_object own;

	return _dl_find_object((void *)(uintptr_t)is_own_object, &own) == 0 &&
	       (uintptr_t)own.dlfo_map_start == map_start;
}

/* Fills in all but the path. */
static bool describe(const struct dl_find_object *seen, uintptr_t pc, struct module *ret_module)
{
	const struct range object = { (uintptr_t)seen->dlfo_map_start, (uintptr_t)seen->dlfo_map_end };

	*ret_module = (struct module){
		.seen = *seen,
		.load_bias = seen->dlfo_link_map->l_addr,
		.name = seen->dlfo_link_map->l_name,
		.is_loaded = true,
	};
	if (object.start == getauxval(AT_SYSINFO_EHDR))
		ret_module->flags |= HM_MODULE_VDSO;
	else if (ret_module->name[0] == '\0')
		ret_module->flags |= HM_MODULE_MAIN;
	if (is_own_object(object.start))
		ret_module->flags |= HM_MODULE_SELF;
	return describe_segment(object, pc, ret_module);
}

static bool is_same_segment(const struct module *a, const struct module *b)
{
	return a->start == b->start && a->end == b->end && a->file_offset == b->file_offset &&
	       a->load_bias == b->load_bias && a->build_id_size == b->build_id_size &&
	       memcmp(a->build_id, b->build_id, a->build_id_size) == 0 && strcmp(a->name, b->name) == 0;
}

/* Returns a copy that is never given back, or NULL where there is no memory for it. */
static const char *keep_text(const char *text)
{
	const size_t size_bytes = strlen(text) + 1;
	char *const kept = hm_memory_keep(size_bytes);

	return kept == NULL ? NULL : memcpy(kept, text, size_bytes);
}

/* A relative name, "./plugin.so", counts from where the process was when it loaded the object; most never
 * move. */
static const char *absolute_path(const char *name)
{
	/* The raw call, for the C library's may allocate.  It returns the length with the terminating NUL. */
	const long size_bytes = hm_may(HM_MAY_NAME_MODULES) ? syscall(SYS_getcwd, path_room, PATH_MAX) : 0;
	const size_t name_length = strlen(name);

	if (size_bytes <= 0 || path_room[0] != '/' || name_length >= PATH_MAX)
		return name; /* a directory that was deleted or lies outside of a chroot */
	path_room[size_bytes - 1] = '/';
	memcpy(path_room + size_bytes, name, name_length + 1);
	return path_room;
}

/* The file of the running program. */
static const char *executable_path(void)
{
	/* No interpreter: the loader itself was started, with the program as its argument (ld.so ./program),
	 * and has put the program's name in the place of its own. */
	const bool is_link_readable = getauxval(AT_BASE) != 0 && hm_may(HM_MAY_NAME_MODULES);
	const char *const started_as = (const char *)getauxval(AT_EXECFN);
	const ssize_t length =
		is_link_readable ? readlink("/proc/self/exe", path_room, sizeof(path_room) - 1) : 0;

	if (length > 0) {
		path_room[length] = '\0';
		return path_room;
	}
	if (started_as == NULL || started_as[0] == '/')
		return started_as;
	return absolute_path(started_as);
}

/* Returns what is kept as long as the module, or NULL where there is no memory, or no path is known. */
static const char *path_of(const struct module *module)
{
	if ((module->flags & HM_MODULE_VDSO) != 0)
		return "[vdso]";
	if (module->name[0] == '/')
		return module->name;

	const char *const path =
		(module->flags & HM_MODULE_MAIN) != 0 ? executable_path() : absolute_path(module->name);

	return path == NULL ? NULL : keep_text(path);
}

/* May fail for want of space in the file: the module is then unknown to readers, and tried again when met
 * again.
 */
static void write_to_ledger(uint32_t module_index, struct module *module)
{
	struct hm_ledger_header *const header = hm_ledger_header(ledger);
	uint32_t position;
	const uint32_t segment_index = segment_of(module_index, &position);
	struct hm_ledger_module *const written =
		hm_ledger_segment(ledger, &header->module_segments[segment_index],
				  hm_module_segment_count(segment_index) * sizeof(struct hm_ledger_module));

	if (written == NULL) {
		if (!module->is_missed)
			hm_ledger_lose(ledger, HM_LOSS_MODULES);
		module->is_missed = true;
		return;
	}

	struct hm_ledger_module *const entry = &written[position];

	entry->flags = module->flags;
	entry->start_address = module->start;
	entry->end_address = module->end;
	entry->file_offset = module->file_offset;
	entry->load_bias = module->load_bias;
	if (module->path != NULL)
		entry->path_unit = hm_ledger_store_string(ledger, module->path, strlen(module->path));
	entry->build_id_size = module->build_id_size;
	memcpy(entry->build_id, module->build_id, module->build_id_size);
	/* release [module.publish] */
	atomic_store_explicit(&entry->state, 2, memory_order_release);
	/* relaxed: a bound for readers, who look at each state */
	if (atomic_load_explicit(&header->module_count, memory_order_relaxed) < module_index)
		atomic_store_explicit(&header->module_count, module_index, memory_order_relaxed);
	module->is_in_ledger = true;
}

/* Returns its number, or 0 where there is no room. */
static uint32_t add(const struct module *fresh)
{
	if (module_count == HM_MODULES_MAX)
		return 0;

	uint32_t position;
	const uint32_t segment_index = segment_of(module_count + 1, &position);

	if (segments[segment_index] == NULL)
		segments[segment_index] =
			hm_memory_keep(hm_module_segment_count(segment_index) * sizeof(struct module));
	if (segments[segment_index] == NULL)
		return 0;

	struct module module = *fresh;

	if ((module.name = keep_text(fresh->name)) == NULL)
		return 0;
	module.path = path_of(&module);
	segments[segment_index][position] = module;
	return ++module_count;
}

/* The loaded module `fresh` is another sight of, or a module that was there before; its number or 0. */
static uint32_t find_same(const struct module *fresh)
{
	for (uint32_t index = 1; index <= module_count; index++)
		if (is_same_segment(module_at(index), fresh))
			return index;
	return 0;
}

/* What is loaded now shows that what overlaps it is not. */
static void find_stale(uint32_t current_index, const struct module *current, struct hm_module_found *found)
{
	for (uint32_t index = 1; index <= module_count; index++) {
		struct module *const module = module_at(index);

		if (index == current_index || !module->is_loaded || module->start >= current->end ||
		    current->start >= module->end)
			continue;
		module->is_loaded = false;
		if (found->stale_start == found->stale_end) {
			found->stale_start = module->start;
			found->stale_end = module->end;
		}
		if (module->start < found->stale_start)
			found->stale_start = module->start;
		if (module->end > found->stale_end)
			found->stale_end = module->end;
	}
}

/* The loader knows an object by the same handle, at the same place, as when the module was seen last. */
static bool is_seen_again(const struct module *module, const struct dl_find_object *seen)
{
	return module->seen.dlfo_link_map == seen->dlfo_link_map &&
	       module->seen.dlfo_map_start == seen->dlfo_map_start &&
	       module->seen.dlfo_map_end == seen->dlfo_map_end &&
	       module->seen.dlfo_eh_frame == seen->dlfo_eh_frame;
}

/* The module around pc if it is in the table and nothing speaks against it being what is loaded there; or 0.
 */
static uint32_t find_known(const struct dl_find_object *seen, uintptr_t pc)
{
	for (uint32_t index = 1; index <= module_count; index++) {
		const struct module *const module = module_at(index);

		if (module->is_loaded && pc >= module->start && pc < module->end)
			return is_seen_again(module, seen) &&
					       strcmp(module->name, seen->dlfo_link_map->l_name) == 0
				       ? index
				       : 0;
	}
	return 0;
}

/* Takes a close look at what is loaded around pc. */
static struct hm_module_found enter(const struct dl_find_object *seen, uintptr_t pc)
{
	struct hm_module_found found = { 0 };
	struct module fresh;

	if (!describe(seen, pc, &fresh))
		return found;
	found.module_index = find_same(&fresh);
	if (found.module_index == 0)
		found.module_index = add(&fresh);
	find_stale(found.module_index, &fresh, &found);
	if (found.module_index != 0) {
		struct module *const module = module_at(found.module_index);

		module->seen = *seen;
		module->is_loaded = true;
	} else if (ledger != NULL) {
		hm_ledger_lose(ledger, HM_LOSS_MODULES);
	}
	return found;
}

struct hm_module_found hm_module_find(uintptr_t pc)
{
	const int saved_errno = errno;
	struct hm_module_found found = { 0 };
	struct dl_find_object seen;

	if (_dl_find_object((void *)pc, &seen) != 0)
		return found;
	found.module_index = find_known(&seen, pc);
	if (found.module_index == 0)
		found = enter(&seen, pc);
	if (found.module_index != 0 && ledger != NULL) {
		struct module *const module = module_at(found.module_index);

		if (!module->is_in_ledger)
			write_to_ledger(found.module_index, module);
	}
	errno = saved_errno;
	return found;
}

uint32_t hm_module_find_known(uintptr_t pc)
{
	struct dl_find_object seen;

	return _dl_find_object((void *)pc, &seen) == 0 ? find_known(&seen, pc) : 0;
}

void hm_modules_attach(struct hm_ledger_file *new_ledger)
{
	const int saved_errno = errno;

	ledger = new_ledger;
	for (uint32_t index = 1; index <= module_count; index++) {
		struct module *const module = module_at(index);

		module->is_in_ledger = false;
		module->is_missed = false;
		if (ledger != NULL)
			write_to_ledger(index, module);
	}
	errno = saved_errno;
}

static bool is_of_libc(const struct module *module)
{
	const uintptr_t function = (uintptr_t)gnu_get_libc_version;

	return function >= module->start && function < module->end;
}

bool hm_module_is_permanent(uint32_t module_index)
{
	if (module_index == 0)
		return false;

	const struct module *const module = module_at(module_index);

	return (module->flags & (HM_MODULE_MAIN | HM_MODULE_VDSO | HM_MODULE_SELF)) != 0 ||
	       (uintptr_t)module->seen.dlfo_map_start == getauxval(AT_BASE) || is_of_libc(module);
}

void hm_modules_doubt(void)
{
	for (uint32_t index = 1; index <= module_count; index++)
		if (!hm_module_is_permanent(index))
			module_at(index)->is_loaded = false;
}
