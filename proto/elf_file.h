// SPDX-License-Identifier: Apache-2.0
/*
 * An ELF file on disk, read in pieces and never mapped: whoever shortens it meanwhile makes us read less, not
 * fault.  Everything in it may be damaged; what lies beyond its end is not there.
 *
 * No malloc, stdio or locale; does not keep errno.  One thread at a time.
 */
#ifndef HM_PROTO_ELF_FILE_H
#define HM_PROTO_ELF_FILE_H

#include "proto/arena.h"
#include "proto/names.h"

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* Read at once; a multiple of the size of a symbol, 24, and of an entry of .eh_frame_hdr, 8. */
	HM_ELF_PIECE_BYTES = 12 << 10,
	HM_ELF_SECTIONS_AT_ONCE = 64,
};

/* The file, and the room to work in, which is the arena's.  Zeroed: none. */
struct hm_elf_file {
	int descriptor; /* owned; -1: none */
	uint64_t size_bytes;
	Elf64_Ehdr header;
	Elf64_Phdr *segments;
	uint32_t segment_count;
	Elf64_Shdr *sections; /* HM_ELF_SECTIONS_AT_ONCE of them: those that were read last, */
	uint64_t first_section;
	size_t section_count; /* and how many */
	uint8_t *piece;       /* HM_ELF_PIECE_BYTES, for whoever reads in pieces */
};

/* Opens nothing yet.  Returns false where there is no memory. */
bool hm_elf_file_init(struct hm_elf_file *file, struct hm_arena *arena);
void hm_elf_file_close(struct hm_elf_file *file);

/*
 * Opens the file at an absolute path and reads its headers.  HM_NAMES_FOUND: it is an ELF file for this
 * machine, and the one that the module was loaded from, as far as build ids tell.
 */
enum hm_names_outcome hm_elf_file_open(struct hm_elf_file *file, struct hm_arena *arena, const char *path,
				       const struct hm_snapshot_module *module);

/* Reads up to size_bytes; what cannot be read is not there. */
size_t hm_elf_read_some(const struct hm_elf_file *file, uint64_t offset, void *buffer, size_t size_bytes);
bool hm_elf_read(const struct hm_elf_file *file, uint64_t offset, void *buffer, size_t size_bytes);

/* Section `index`; false where there is none. */
bool hm_elf_read_section(struct hm_elf_file *file, uint64_t index, Elf64_Shdr *ret_section);

/* How many sections the file claims to have. */
uint64_t hm_elf_section_count(struct hm_elf_file *file);

/* Where `address` lies in the file; false where no segment has it there. */
bool hm_elf_find_offset(const struct hm_elf_file *file, uint64_t address, uint64_t *ret_offset);

#endif
