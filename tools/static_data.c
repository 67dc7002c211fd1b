// SPDX-License-Identifier: Apache-2.0
#include "tools/static_data.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, SEGMENTS_MAX = 256 };

static uint64_t page_up(uint64_t address)
{
	return (address + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static bool read_segments(int descriptor, Elf64_Phdr segments[SEGMENTS_MAX], size_t *ret_count)
{
	Elf64_Ehdr head;

	if (pread(descriptor, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum > SEGMENTS_MAX || head.e_phoff > INT64_MAX)
		return false;

	const size_t bytes = head.e_phnum * sizeof(segments[0]);

	*ret_count = head.e_phnum;
	return pread(descriptor, segments, bytes, (off_t)head.e_phoff) == (ssize_t)bytes;
}

/* By the segment that lies highest: the loader maps its bytes from the file and what is missing from nothing.
 */
static uint64_t bytes_behind(const Elf64_Phdr *segments, size_t count)
{
	const Elf64_Phdr *last = NULL;

	for (size_t i = 0; i < count; i++)
		if (segments[i].p_type == PT_LOAD && (last == NULL || segments[i].p_vaddr > last->p_vaddr))
			last = &segments[i];
	if (last == NULL || last->p_memsz < last->p_filesz ||
	    last->p_memsz > INT64_MAX - last->p_vaddr % PAGE_BYTES)
		return 0;

	const uint64_t offset = last->p_vaddr % PAGE_BYTES;

	return page_up(offset + last->p_memsz) - page_up(offset + last->p_filesz);
}

uint64_t hm_static_data_bytes(pid_t pid, const char *path)
{
	char place[PATH_MAX + 64];
	Elf64_Phdr segments[SEGMENTS_MAX];
	size_t count = 0;
	bool has_segments = false;

	(void)snprintf(place, sizeof(place), "/proc/%d/root%s", (int)pid, path);

	const int descriptor = open(place, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (descriptor < 0)
		return 0;
	has_segments = read_segments(descriptor, segments, &count);
	(void)close(descriptor);
	return has_segments ? bytes_behind(segments, count) : 0;
}
