// SPDX-License-Identifier: Apache-2.0
#include "proto/profile_check.h"

#include "proto/check_rules.h"

uint64_t hm_profile_check(const struct hm_profile *profile, hm_profile_report *report, void *context)
{
	struct hm_check check = { .profile = profile, .report = report, .context = context };

	hm_arena_init(&check.scratch, HM_PROFILE_MEMORY_BYTES_MAX);
	hm_check_header(&check);
	hm_check_samples(&check);
	hm_check_tables(&check);
	hm_arena_done(&check.scratch);
	return hm_check_conclude(&check);
}
