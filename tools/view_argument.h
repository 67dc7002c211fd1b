// SPDX-License-Identifier: Apache-2.0
/* Loading the view of an argument, with what there is to say to the user about it. */
#ifndef HM_TOOLS_VIEW_ARGUMENT_H
#define HM_TOOLS_VIEW_ARGUMENT_H

#include "tools/input.h"
#include "tools/view.h"

#include <stdbool.h>

/*
 * Loads PID|LEDGER|PROFILE.  Says why it cannot be read, what was lost in it, and whether it is damaged.
 * Returns an exit status; *ret_loaded tells whether *ret_view is to be shown, and then to be given back with
 * hm_view_done.  `verb` is the one that is running.
 */
int hm_view_argument(const char *verb, const char *argument, struct hm_view *ret_view, bool *ret_loaded);

/* The same of an input that is open, and stays so. */
int hm_view_input(const char *argument, const struct hm_input *input, struct hm_view *ret_view,
		  bool *ret_loaded);

/* Says what was lost in a view that is loaded, and whether it is damaged.  Returns an exit status. */
int hm_view_report(const char *argument, const struct hm_view *view);

/* Says that hm_functions_add could not hide frames. */
void hm_warn_not_hidden(const char *argument);

#endif
