// SPDX-License-Identifier: Apache-2.0
/* What the verbs that look up names say about it, in the same words. */
#ifndef HM_TOOLS_NAMES_REPORT_H
#define HM_TOOLS_NAMES_REPORT_H

#include "proto/profile_write.h"
#include "tools/symbols.h"

/*
 * For hm_symbols.progress: a line on the terminal that is written over, and gone in the end.  It begins to
 * show when looking up has taken a moment.  Nothing where standard error is no terminal, or with -q.
 */
void hm_names_show_progress(const char *file, enum hm_symbol_stage stage, uint64_t done, uint64_t total);

/* Takes that line away: before anything else is said. */
void hm_names_end_progress(void);

/* Files that could not be named.  Their own text each, where it is known (symbols), and clears the notes. */
void hm_names_warn(const struct hm_profile_written *written, struct hm_symbols *symbols);

#endif
