// SPDX-License-Identifier: Apache-2.0
/*
 * Call-frame information made up in memory: an .eh_frame_hdr and an .eh_frame of one CIE and a few FDEs, by a
 * description that can say anything that is wrong too.
 *
 *	page 0           page 1 and 2                page 3
 *	.eh_frame_hdr ...       ... CIE, FDE, FDE |  not readable
 *
 * The last byte of the entries is the last that can be read, so that whoever reads on is killed.  All lies
 * below 2 GiB, where 32 bits without a sign say everything.
 */
#ifndef HM_TESTS_CFI_BUILD_H
#define HM_TESTS_CFI_BUILD_H

#include "preload/cfi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CFI_PAGE_BYTES = 4096,
	CFI_MADE_PAGES = 3,
	CFI_MADE_BYTES = CFI_MADE_PAGES * CFI_PAGE_BYTES,
	CFI_FUNCTIONS_MAX = 4,
	CFI_FUNCTION_BYTES = 0x100, /* unless told otherwise */

	CFI_POINTER_ADDRESS = 0x00,
	CFI_POINTER_USUAL = 0x1b, /* four bytes, signed, from where they are */
};

/* Borrowed. */
struct cfi_bytes {
	const uint8_t *bytes;
	size_t size_bytes;
};

/* clang-format off */
#define CFI_BYTES(...) \
	((struct cfi_bytes){ (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) })
/* clang-format on */

/* Zero means what is usual, but for pointer_encoding. */
struct cfi_shape {
	uint8_t version;
	const char *augmentation;           /* "zR" */
	struct cfi_bytes augmentation_data; /* of one byte, the pointer encoding */
	bool has_no_augmentation_data;      /* not even its length */
	uint64_t code_alignment;            /* 1 */
	int64_t data_alignment;             /* -8 */
	struct cfi_bytes return_register;   /* 16 */
	struct cfi_bytes cie_program;       /* CFA = SP + 8, the return address at CFA - 8 */
	uint8_t pointer_encoding;           /* how the FDE is written, whatever the CIE says */
	struct cfi_bytes program;           /* of the first function; the others have none */

	uintptr_t function_offset; /* from the start of the object; CFI_PAGE_BYTES */
	uint32_t function_bytes;
	uint32_t function_count; /* 1; they begin 2 * CFI_FUNCTION_BYTES apart */
};

/* What was built, and where. */
struct cfi_made {
	struct hm_cfi_object object;
	uint8_t *start;     /* of everything; owned by cfi_build.c, and reused by the next */
	uint8_t *end;       /* of everything */
	uintptr_t function; /* where the first begins */
	uint8_t *entries;   /* the CIE */
	uint8_t *fde;       /* the first */
	uint8_t *fde_end;   /* and what follows it */
	uint8_t *pointers;  /* of the first FDE */
	uint8_t *table;     /* of .eh_frame_hdr */
};

/* The usual one: GCC's for C. */
struct cfi_shape cfi_usual(struct cfi_bytes program);

struct cfi_made cfi_make(const struct cfi_shape *shape);

/* Has the entries end after `size_bytes`, at the end of what is readable. */
void cfi_cut(struct cfi_made *made, size_t size_bytes);

/* From now on, .eh_frame_hdr says that the first function has its FDE there. */
void cfi_point_at(struct cfi_made *made, const uint8_t *fde);

/* The same object with a copy of its .eh_frame_hdr, of one function, that many bytes further on. */
struct cfi_made cfi_move_header(const struct cfi_made *made, size_t distance_bytes);

/* Finds a row, with nothing known of what is readable; errno must be kept. */
int cfi_find(struct hm_cfi_reader *reader, const struct cfi_made *made, uintptr_t pc);

/* A number of four bytes, written anywhere. */
void cfi_write_u32(uint8_t *at, uint32_t number);
uint32_t cfi_read_u32(const uint8_t *at);

#endif
