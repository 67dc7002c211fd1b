// SPDX-License-Identifier: Apache-2.0
/*
 * Private memory of the library: anonymous mappings, never the program's heap.
 *
 * Any thread, any signal handler; keeps errno.  A fork child inherits a copy of everything here.
 */
#ifndef HM_PRELOAD_MEMORY_H
#define HM_PRELOAD_MEMORY_H

#include "proto/ledger.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Returns zeroed, page-aligned memory of at least `size_bytes`, or NULL where the system gives none, or a
 * seccomp filter forbids it (sandbox.h).  The caller owns it; hm_memory_unmap gives it back.
 */
void *hm_memory_map(size_t size_bytes);
void hm_memory_unmap(void *memory, size_t size_bytes);

/*
 * From now on the header tells where all this memory lies (own_ranges); what is mapped already is told at
 * once. The header is that of the process's ledger, which stays mapped.  A fork child tells nobody until it
 * has its own.
 */
void hm_memory_tell(struct hm_ledger_header *header);

/*
 * Names a mapping "heapmark" for readers of /proc/PID/smaps.  Only while the library starts: later a seccomp
 * filter may be in place that does not know prctl.
 */
void hm_memory_name(void *memory, size_t size_bytes);

/*
 * Returns zeroed memory, aligned to 16, that is never given back: for tables that only grow.
 * NULL where the system gives none.  Small requests share pages.
 */
void *hm_memory_keep(size_t size_bytes);

/*
 * Whether the 8 bytes at `address` can be read.  One system call (rt_sigprocmask with an impossible `how`,
 * which reads its argument before it refuses): needs no descriptor and no privilege, and every seccomp
 * filter that lets a program handle signals lets it pass.  Where one does not, the answer is "no".
 */
enum { HM_MEMORY_IMPOSSIBLE_HOW = 0x7fff };
bool hm_memory_is_readable(const void *address);

#endif
