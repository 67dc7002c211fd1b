// SPDX-License-Identifier: Apache-2.0
/* What the user may have meant. */
#ifndef HM_TOOLS_NEAREST_H
#define HM_TOOLS_NEAREST_H

#include <stddef.h>

/*
 * Returns the one of `candidates` that `word` is a misspelling of, or NULL where none is near: at most one
 * edit (a character more, less, other, or two exchanged) for every three characters, or `word` is its
 * beginning.
 */
const char *hm_nearest(const char *word, const char *const *candidates, size_t candidate_count);

#endif
