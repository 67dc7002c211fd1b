// SPDX-License-Identifier: Apache-2.0
/* Names for the addresses of a process that runs: its files as it sees them. */
#ifndef HM_TOOLS_PROCESS_NAMES_H
#define HM_TOOLS_PROCESS_NAMES_H

#include "proto/names.h"

#include <sys/types.h>

/*
 * A resolver that reads ELF symbol tables through /proc/PID/root, so that the files of a container are found,
 * and the executable through /proc/PID/exe, so that it is found when it was replaced or deleted on disk.
 * Where /proc does not let us, the paths are tried as they are. `pid` is borrowed and outlives the resolver.
 */
struct hm_resolver hm_process_resolver(pid_t *pid);

#endif
