// SPDX-License-Identifier: Apache-2.0
#include "tools/view_argument.h"

#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/summary.h"

int hm_view_argument(const char *verb, const char *argument, struct hm_view *ret_view, bool *ret_loaded)
{
	struct hm_input input;
	const int error = hm_input_open(argument, &input);

	*ret_loaded = false;
	if (error != 0) {
		hm_input_explain(verb, argument, error);
		return HM_EXIT_USAGE;
	}

	const int status = hm_view_input(argument, &input, ret_view, ret_loaded);

	hm_input_close(&input);
	return status;
}

int hm_view_input(const char *argument, const struct hm_input *input, struct hm_view *ret_view,
		  bool *ret_loaded)
{
	const char *reason = NULL;

	*ret_loaded = hm_view_load(input, ret_view, &reason) == 0;
	if (*ret_loaded)
		return hm_view_report(argument, ret_view);
	hm_fail("%s: %s", argument, reason);
	hm_advise("heapmark check %s", argument);
	return HM_EXIT_USAGE;
}

int hm_view_report(const char *argument, const struct hm_view *view)
{
	uint64_t losses[HM_LOSS_KINDS];

	hm_profile_comment_losses(&view->profile, losses);
	hm_warn_losses(argument, losses);
	if (!view->is_damaged)
		return HM_EXIT_DONE;
	hm_fail("%s: the ledger is damaged; what could be read of it is shown", argument);
	hm_advise("heapmark check %s", argument);
	return HM_EXIT_USAGE;
}

void hm_warn_not_hidden(const char *argument)
{
	hm_warn("%s: its drop_frames cannot be understood, so allocation functions are shown", argument);
}
