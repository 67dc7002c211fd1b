// SPDX-License-Identifier: Apache-2.0
/*
 * An ELF object as it lies in the memory of another process: what a file by its name may not say any more.
 */
#ifndef HM_TOOLS_REMOTE_ELF_H
#define HM_TOOLS_REMOTE_ELF_H

#include "proto/ledger.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hm_remote_elf {
	uint64_t load_bias;               /* run-time address minus the address in the file */
	uint64_t eh_frame_header_address; /* run-time; 0: it has none */
	uint32_t build_id_size;           /* 0: it has none */
	uint8_t build_id[HM_BUILD_ID_MAX];
};

/* Reads memory of the process, all of it or nothing. */
typedef bool hm_remote_read(void *context, uint64_t address, void *ret_bytes, size_t size_bytes);

/* The object whose first bytes are mapped at start_address.  False where there is none of this machine. */
bool hm_remote_elf_read(hm_remote_read *read, void *context, uint64_t start_address,
			struct hm_remote_elf *ret_elf);

#endif
