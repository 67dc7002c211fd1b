// SPDX-License-Identifier: Apache-2.0
#include "tools/summary.h"

#include "tools/cli.h"

#include <inttypes.h>
#include <stdlib.h>

void hm_say_process(const char *comm, uint32_t pid, const struct hm_snapshot_totals *totals, const char *when)
{
	const double alloc_bytes = (double)hm_bytes_round(totals->alloc.bytes_fixed);
	const double inuse_bytes = (double)hm_bytes_round(totals->inuse.bytes_fixed);
	const struct hm_shown interval = hm_show_interval(inuse_bytes, totals->inuse.bytes_variance);

	hm_say("%s[%" PRIu32 "]  %s allocated, %s%s%s in use%s, %" PRIu64 " sample%s", comm, pid,
	       hm_show_bytes(alloc_bytes).text, hm_show_bytes(inuse_bytes).text,
	       interval.text[0] != '\0' ? " " : "", interval.text, when, totals->sample_count,
	       totals->sample_count == 1 ? "" : "s");
}

void hm_warn_losses(const char *whose, const uint64_t losses[HM_LOSS_KINDS])
{
	static const enum hm_loss kinds[] = { HM_LOSS_STACKS, HM_LOSS_LIVE, HM_LOSS_MODULES, HM_LOSS_GROWTH };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (losses[kinds[i]] != 0)
			hm_warn("%s: %" PRIu64 " %s", whose, losses[kinds[i]], hm_loss_text(kinds[i]));
}

void hm_next_pprof(const char *profile_path)
{
	char *const path = hm_shell_quote(profile_path);

	hm_next("go tool pprof -http=: -sample_index=inuse_space %s", path);
	free(path);
}
