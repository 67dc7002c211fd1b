// SPDX-License-Identifier: Apache-2.0
/* Where the program files of a process are to be had, and the names in their symbol tables. */
#ifndef HM_TOOLS_PROCESS_NAMES_H
#define HM_TOOLS_PROCESS_NAMES_H

#include "proto/names.h"

#include <limits.h>
#include <sys/types.h>

enum { HM_PROCESS_PATH_BYTES = PATH_MAX + 64 };

/*
 * Names addresses of a module as hm_resolver does, from ELF symbol tables.  `pid` is the process where it
 * still runs, else 0.  Then its files are read through /proc/PID/root, so that those of a container are
 * found; the executable also through /proc/PID/exe, and any file through /proc/PID/map_files where we may, so
 * that it is found when it was replaced or deleted on disk.  Else, and where /proc does not let us, the path
 * is tried as it is.  ret_path receives the one that was the module's file, or "" where none was.
 */
int hm_process_names(pid_t pid, struct hm_arena *arena, const struct hm_snapshot_module *module,
		     const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		     enum hm_names_outcome *ret_outcome, char ret_path[HM_PROCESS_PATH_BYTES]);

#endif
