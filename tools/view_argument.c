// SPDX-License-Identifier: Apache-2.0
#include "tools/view_argument.h"

#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/input.h"
#include "tools/summary.h"

int hm_view_argument(const char *verb, const char *argument, struct hm_view *ret_view, bool *ret_loaded)
{
	struct hm_input input;
	const char *reason = NULL;
	uint64_t losses[HM_LOSS_KINDS];
	int error = hm_input_open(argument, &input);

	*ret_loaded = false;
	if (error != 0) {
		hm_input_explain(verb, argument, error);
		return HM_EXIT_USAGE;
	}
	error = hm_view_load(&input, ret_view, &reason);
	hm_input_close(&input);
	if (error != 0) {
		hm_fail("%s: %s", argument, reason);
		hm_advise("heapmark check %s", argument);
		return HM_EXIT_USAGE;
	}
	*ret_loaded = true;
	hm_profile_comment_losses(&ret_view->profile, losses);
	hm_warn_losses(argument, losses);
	if (!ret_view->is_damaged)
		return HM_EXIT_DONE;
	hm_fail("%s: the ledger is damaged; what could be read of it is shown", argument);
	hm_advise("heapmark check %s", argument);
	return HM_EXIT_USAGE;
}

void hm_warn_not_hidden(const char *argument)
{
	hm_warn("%s: its drop_frames cannot be understood, so allocation functions are shown", argument);
}
