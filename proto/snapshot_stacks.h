// SPDX-License-Identifier: Apache-2.0
/*
 * The part of taking a snapshot that finds the stacks: steps 3 and 4 of proto/snapshot.h.
 */
#ifndef HM_PROTO_SNAPSHOT_STACKS_H
#define HM_PROTO_SNAPSHOT_STACKS_H

#include "proto/snapshot.h"
#include "proto/source.h"

/*
 * Fills stacks, stack_count and what was skipped of them, from a header that was copied before.
 * Returns 0, -ENOMEM or the window's error.
 */
int hm_snapshot_read_stacks(struct hm_snapshot *snapshot, struct hm_window *window,
			    const struct hm_ledger_header *header);

#endif
