// SPDX-License-Identifier: Apache-2.0
/*
 * Names of code that a program makes while it runs (node --perf-basic-prof, Java agents, .NET, LuaJIT), out
 * of the file in which it lists that code for perf: /tmp/perf-PID.map, lines of "START SIZE NAME",
 * hexadecimal.
 */
#ifndef HM_TOOLS_PERF_MAP_H
#define HM_TOOLS_PERF_MAP_H

#include "proto/arena.h"
#include "proto/names.h"

#include <stdint.h>
#include <sys/types.h>

struct hm_perf_map_process {
	pid_t pid;         /* here, where it still runs; else 0 */
	pid_t inner_pid;   /* in its own pid namespace: the file is named by it */
	uid_t owner;       /* whose process it is */
	uint64_t start_ns; /* when it began, CLOCK_REALTIME */
};

/*
 * Names those of the addresses (ascending, each once) that the file lists; the others in ret_names stay as
 * they are.  Of several lines for an address the last one holds: code moves and is thrown away.  A file that
 * belongs to neither the owner nor root, or is older than the process, is not the process's and is passed
 * over.  Past 256 MiB it is not read on.  Text is in memory of `arena`.
 * Returns 0, with or without a file, or -ENOMEM.
 */
int hm_perf_map_name(const struct hm_perf_map_process *process, struct hm_arena *arena,
		     const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names);

#endif
