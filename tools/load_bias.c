// SPDX-License-Identifier: Apache-2.0
#include "tools/load_bias.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENTS_MAX = 1024, PAGE_BYTES = 4096 };

static bool read_all(int descriptor, void *buffer, size_t size_bytes, uint64_t offset)
{
	return offset <= INT64_MAX &&
	       pread(descriptor, buffer, size_bytes, (off_t)offset) == (ssize_t)size_bytes;
}

/*
 * Whether the segment has the byte; it is mapped from the beginning of its page on.  A separate debug file
 * has no bytes of its program, and its offsets are its own.
 */
static bool has_byte(const Elf64_Phdr *segment, uint64_t file_offset)
{
	const uint64_t before = segment->p_offset % PAGE_BYTES;
	const uint64_t start = segment->p_offset - before;

	return segment->p_type == PT_LOAD && segment->p_filesz > 0 && file_offset >= start &&
	       file_offset - start < segment->p_filesz + before;
}

bool hm_load_address(int descriptor, uint64_t file_offset, uint64_t *ret_address)
{
	Elf64_Ehdr header;
	bool found = false;
	uint64_t empty_code_address = 0;
	uint32_t empty_code_count = 0;

	if (!read_all(descriptor, &header, sizeof(header), 0) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	for (uint32_t i = 0; i < header.e_phnum && i < SEGMENTS_MAX; i++) {
		Elf64_Phdr segment;

		if (!read_all(descriptor, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)))
			break;
		const bool is_code = segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0;
		if (is_code && segment.p_filesz == 0) {
			empty_code_address = segment.p_vaddr - segment.p_vaddr % PAGE_BYTES;
			empty_code_count++;
		}
		/* of two that share a page, the one with the code */
		if (has_byte(&segment, file_offset) && (!found || is_code)) {
			*ret_address = segment.p_vaddr - segment.p_offset + file_offset;
			found = true;
		}
	}
	if (found || empty_code_count != 1 || file_offset == 0)
		return found;
	/* A separate debug file: what was mapped with code in it was its only piece of code. */
	*ret_address = empty_code_address;
	return true;
}

bool hm_load_bias(const char *path, uint64_t start_address, uint64_t file_offset, uint64_t *ret_bias)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	uint64_t address = 0;
	const bool found = descriptor >= 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) &&
			   hm_load_address(descriptor, file_offset, &address) && address <= start_address;

	if (found)
		*ret_bias = start_address - address;
	if (descriptor >= 0)
		(void)close(descriptor);
	return found;
}
