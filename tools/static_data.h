// SPDX-License-Identifier: Apache-2.0
/* The static data of a program or library that has no bytes in its file (.bss), as it lies in a process. */
#ifndef HM_TOOLS_STATIC_DATA_H
#define HM_TOOLS_STATIC_DATA_H

#include <stdint.h>
#include <sys/types.h>

/*
 * How many bytes of anonymous memory follow the last mapping of the file at `path`, as the process sees it.
 * Returns 0 where there are none, or where the file cannot be read or is no ELF file of this machine.
 */
uint64_t hm_static_data_bytes(pid_t pid, const char *path);

#endif
