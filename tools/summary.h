// SPDX-License-Identifier: Apache-2.0
/* What several verbs say about a process and its profile, in the same words. */
#ifndef HM_TOOLS_SUMMARY_H
#define HM_TOOLS_SUMMARY_H

#include "proto/profile_write.h"
#include "proto/snapshot.h"

#include <stdint.h>

/* "redis-server[4242]  1.9 GiB allocated, 212 MiB ±2% in use at exit, 3871 samples"; `when` is " at exit". */
void hm_say_process(const char *comm, uint32_t pid, const struct hm_snapshot_totals *totals,
		    const char *when);

/*
 * Warns of the losses that make the figures themselves worse; `heapmark check` tells of all.  `whose`: a
 * process or a file, as the user knows it.
 */
void hm_warn_losses(const char *whose, const uint64_t losses[HM_LOSS_KINDS]);

/* "next  go tool pprof ..." */
void hm_next_pprof(const char *profile_path);

#endif
