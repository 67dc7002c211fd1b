// SPDX-License-Identifier: Apache-2.0
/*
 * Whose the anonymous memory of a process is: ranges of addresses that are known to belong to somebody, and
 * mappings that are all the allocator's.  memory_split.h says by which rules.
 */
#ifndef HM_TOOLS_MEMORY_CLAIMS_H
#define HM_TOOLS_MEMORY_CLAIMS_H

#include "tools/memory_split.h"

/* To whom a range, or what is left of a mapping, belongs. */
enum hm_memory_owner {
	HM_OWNER_ALLOCATOR,
	HM_OWNER_ANONYMOUS,
	HM_OWNER_STACKS,
	HM_OWNER_FILES,
	HM_OWNER_OWN,
	HM_OWNERS,
};

struct hm_memory_claim {
	uint64_t start_address;
	uint64_t end_address;
	enum hm_memory_owner owner;
};

struct hm_memory_claims {
	struct hm_memory_claim *entries; /* owned; ascending, none overlaps another */
	size_t count;
	size_t room;
	enum hm_memory_owner *rest; /* owned; of each mapping, whose it is where no claim says otherwise */
	const char *allocator;      /* static text */
	bool knows_free;            /* as in struct hm_memory_split, and so are the next */

	double live_bytes;
	double live_variance;
	double live_touched_bytes;
	double inferred_bytes;
};

/* What is borrowed while claims are made. */
struct hm_memory_evidence {
	pid_t pid;
	const struct hm_mappings *mappings;
	const struct hm_pages *pages;
	const struct hm_snapshot *snapshot;
	const struct hm_stack_place *stacks;
	size_t stack_count;
};

void hm_memory_claims_make(const struct hm_memory_evidence *evidence, struct hm_memory_claims *ret_claims);
void hm_memory_claims_done(struct hm_memory_claims *claims);

#endif
