// SPDX-License-Identifier: Apache-2.0
/* Where a program file was loaded, from what a profile says of it: one of its pieces is at this address. */
#ifndef HM_TOOLS_LOAD_BIAS_H
#define HM_TOOLS_LOAD_BIAS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Finds in the program headers of an ELF file the address of the byte at `file_offset`, as the file counts
 * addresses.  Believes nothing that the file says.  False where it cannot be read, or has no such byte.
 */
bool hm_load_address(int descriptor, uint64_t file_offset, uint64_t *ret_address);

/* What is added to the addresses of the file at `path` when it is mapped from `file_offset` on at
 * `start_address`.  Returns false as above. */
bool hm_load_bias(const char *path, uint64_t start_address, uint64_t file_offset, uint64_t *ret_bias);

#endif
