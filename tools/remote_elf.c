// SPDX-License-Identifier: Apache-2.0
#include "tools/remote_elf.h"

#include <elf.h>
#include <string.h>

enum { SEGMENTS_MAX = 64, NOTES_BYTES_MAX = 4096 };

struct reading {
	hm_remote_read *read;
	void *context;
};

static size_t align_up(size_t bytes, size_t alignment)
{
	return (bytes + alignment - 1) & ~(alignment - 1);
}

static void find_build_id(const uint8_t *notes, size_t size_bytes, size_t alignment,
			  struct hm_remote_elf *elf)
{
	size_t at = 0;

	while (size_bytes - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr head;

		memcpy(&head, notes + at, sizeof(head));
		at += sizeof(head);
		if (head.n_namesz > size_bytes || head.n_descsz > size_bytes)
			return;

		const size_t description = at + align_up(head.n_namesz, alignment);
		const size_t end = description + align_up(head.n_descsz, alignment);

		if (description + head.n_descsz > size_bytes)
			return;
		if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == sizeof(ELF_NOTE_GNU) &&
		    memcmp(notes + at, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) == 0) {
			elf->build_id_size =
				head.n_descsz < HM_BUILD_ID_MAX ? head.n_descsz : HM_BUILD_ID_MAX;
			memcpy(elf->build_id, notes + description, elf->build_id_size);
			return;
		}
		if (end > size_bytes)
			return;
		at = end;
	}
}

static void read_notes(const struct reading *reading, const Elf64_Phdr *segment, struct hm_remote_elf *elf)
{
	uint8_t notes[NOTES_BYTES_MAX];

	if (elf->build_id_size != 0 || segment->p_filesz > sizeof(notes) ||
	    !reading->read(reading->context, elf->load_bias + segment->p_vaddr, notes, segment->p_filesz))
		return;
	find_build_id(notes, segment->p_filesz, segment->p_align == 8 ? 8 : 4, elf);
}

bool hm_remote_elf_read(hm_remote_read *read, void *context, uint64_t start_address,
			struct hm_remote_elf *ret_elf)
{
	const struct reading reading = { .read = read, .context = context };
	struct hm_remote_elf elf = { .load_bias = start_address };
	Elf64_Ehdr head;
	Elf64_Phdr segments[SEGMENTS_MAX];

	if (!read(context, start_address, &head, sizeof(head)) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phnum > SEGMENTS_MAX || head.e_phentsize != sizeof(segments[0]) ||
	    !read(context, start_address + head.e_phoff, segments, head.e_phnum * sizeof(segments[0])))
		return false;
	for (size_t i = 0; i < head.e_phnum; i++)
		if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0)
			elf.load_bias = start_address - segments[i].p_vaddr;
	for (size_t i = 0; i < head.e_phnum; i++) {
		if (segments[i].p_type == PT_GNU_EH_FRAME)
			elf.eh_frame_header_address = elf.load_bias + segments[i].p_vaddr;
		if (segments[i].p_type == PT_NOTE)
			read_notes(&reading, &segments[i], &elf);
	}
	*ret_elf = elf;
	return true;
}
