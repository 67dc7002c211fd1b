// SPDX-License-Identifier: Apache-2.0
#include "proto/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENTS_MAX = 1024 };

size_t hm_elf_read_some(const struct hm_elf_file *file, uint64_t offset, void *buffer, size_t size_bytes)
{
	size_t done_bytes = 0;

	if (offset >= file->size_bytes)
		return 0;
	if (size_bytes > file->size_bytes - offset)
		size_bytes = (size_t)(file->size_bytes - offset);
	while (done_bytes < size_bytes) {
		const ssize_t count = pread(file->descriptor, (uint8_t *)buffer + done_bytes,
					    size_bytes - done_bytes, (off_t)(offset + done_bytes));

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		done_bytes += (size_t)count;
	}
	return done_bytes;
}

bool hm_elf_read(const struct hm_elf_file *file, uint64_t offset, void *buffer, size_t size_bytes)
{
	return hm_elf_read_some(file, offset, buffer, size_bytes) == size_bytes;
}

static enum hm_names_outcome open_file(struct hm_elf_file *file, const char *path)
{
	struct stat status;

	if (path[0] != '/')
		return HM_NAMES_NO_FILE;
	/* O_NONBLOCK: what has the name now may be a pipe, and we would wait for its writer. */
	file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->descriptor < 0)
		return HM_NAMES_NO_FILE;
	if (fstat(file->descriptor, &status) != 0 || !S_ISREG(status.st_mode))
		return HM_NAMES_NO_FILE;
	file->size_bytes = (uint64_t)status.st_size;
	return HM_NAMES_FOUND;
}

/* Reads the sections around `index`, whose header lies at `offset`. */
static bool read_sections_at(struct hm_elf_file *file, uint64_t index, uint64_t offset)
{
	file->section_count = hm_elf_read_some(file, offset, file->sections,
					       HM_ELF_SECTIONS_AT_ONCE * sizeof(*file->sections)) /
			      sizeof(*file->sections);
	file->first_section = index;
	return file->section_count != 0;
}

bool hm_elf_read_section(struct hm_elf_file *file, uint64_t index, Elf64_Shdr *ret_section)
{
	uint64_t offset;

	if (file->header.e_shoff == 0 || file->header.e_shentsize != sizeof(*ret_section))
		return false;
	if (__builtin_mul_overflow(index, sizeof(*ret_section), &offset) ||
	    __builtin_add_overflow(offset, file->header.e_shoff, &offset))
		return false;
	if (index - file->first_section >= file->section_count && !read_sections_at(file, index, offset))
		return false;
	*ret_section = file->sections[index - file->first_section];
	return true;
}

uint64_t hm_elf_section_count(struct hm_elf_file *file)
{
	Elf64_Shdr first;

	if (file->header.e_shnum != 0)
		return file->header.e_shnum;
	/* SHN_LORESERVE sections and more: the number is in the first one. */
	return hm_elf_read_section(file, 0, &first) ? first.sh_size : 0;
}

static bool read_segments(struct hm_elf_file *file, struct hm_arena *arena)
{
	Elf64_Shdr first;
	uint32_t count = file->header.e_phnum;

	if (count == PN_XNUM)
		count = hm_elf_read_section(file, 0, &first) ? first.sh_info : 0;
	if (file->header.e_phentsize != sizeof(Elf64_Phdr) || count == 0 || count > SEGMENTS_MAX)
		return false;
	file->segments = hm_arena_allocate_array(arena, count, sizeof(*file->segments));
	if (file->segments == NULL ||
	    !hm_elf_read(file, file->header.e_phoff, file->segments, count * sizeof(*file->segments)))
		return false;
	file->segment_count = count;
	return true;
}

static bool read_headers(struct hm_elf_file *file, struct hm_arena *arena)
{
	const Elf64_Ehdr *const header = &file->header;

	if (!hm_elf_read(file, 0, &file->header, sizeof(file->header)))
		return false;
	return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == ELFCLASS64 &&
	       header->e_ident[EI_DATA] == ELFDATA2LSB && header->e_machine == EM_X86_64 &&
	       read_segments(file, arena);
}

static uint64_t round_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) / alignment * alignment;
}

/* Looks through the notes in `notes` for the GNU build id and compares it. */
static bool find_build_id(const uint8_t *notes, size_t size_bytes, uint64_t alignment,
			  const struct hm_snapshot_module *module, bool *ret_found)
{
	uint64_t at = 0;
	Elf64_Nhdr note;

	while (size_bytes - at >= sizeof(note)) {
		memcpy(&note, notes + at, sizeof(note));
		const uint64_t name = at + sizeof(note);
		const uint64_t description = round_up(name + note.n_namesz, alignment);
		const uint64_t end = description + note.n_descsz;

		if (end > size_bytes)
			break;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(ELF_NOTE_GNU) &&
		    memcmp(notes + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0) {
			const size_t kept = note.n_descsz < HM_BUILD_ID_MAX ? note.n_descsz : HM_BUILD_ID_MAX;

			*ret_found = true;
			return kept == module->build_id_size &&
			       memcmp(notes + description, module->build_id, kept) == 0;
		}
		at = round_up(end, alignment);
		if (at > size_bytes)
			break;
	}
	return false;
}

/* Whether this file is the one that was loaded.  Without a build id on either side there is nothing to
 * compare. */
static bool is_same_file(struct hm_elf_file *file, const struct hm_snapshot_module *module)
{
	bool found = false;

	for (uint32_t i = 0; i < file->segment_count; i++) {
		const Elf64_Phdr *const segment = &file->segments[i];
		const size_t size_bytes = segment->p_filesz < HM_ELF_PIECE_BYTES ? (size_t)segment->p_filesz
										 : HM_ELF_PIECE_BYTES;

		if (segment->p_type != PT_NOTE)
			continue;
		const size_t there = hm_elf_read_some(file, segment->p_offset, file->piece, size_bytes);
		if (find_build_id(file->piece, there, segment->p_align == 8 ? 8 : 4, module, &found))
			return true;
	}
	return !found && module->build_id_size == 0;
}

bool hm_elf_find_offset(const struct hm_elf_file *file, uint64_t address, uint64_t *ret_offset)
{
	for (uint32_t i = 0; i < file->segment_count; i++) {
		const Elf64_Phdr *const segment = &file->segments[i];

		if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
		    address - segment->p_vaddr < segment->p_filesz) {
			*ret_offset = segment->p_offset + (address - segment->p_vaddr);
			return true;
		}
	}
	return false;
}

bool hm_elf_file_init(struct hm_elf_file *file, struct hm_arena *arena)
{
	*file = (struct hm_elf_file){ .descriptor = -1 };
	file->piece = hm_arena_allocate(arena, HM_ELF_PIECE_BYTES);
	file->sections = hm_arena_allocate_array(arena, HM_ELF_SECTIONS_AT_ONCE, sizeof(*file->sections));
	return file->piece != NULL && file->sections != NULL;
}

void hm_elf_file_close(struct hm_elf_file *file)
{
	if (file->descriptor >= 0)
		close(file->descriptor);
	file->descriptor = -1;
}

enum hm_names_outcome hm_elf_file_open(struct hm_elf_file *file, struct hm_arena *arena, const char *path,
				       const struct hm_snapshot_module *module)
{
	const enum hm_names_outcome opened = open_file(file, path);

	if (opened != HM_NAMES_FOUND)
		return opened;
	if (!read_headers(file, arena))
		return HM_NAMES_NOT_ELF;
	return is_same_file(file, module) ? HM_NAMES_FOUND : HM_NAMES_OTHER_FILE;
}
