// SPDX-License-Identifier: Apache-2.0
/* Names of functions, made to fit a line. */
#ifndef HM_TOOLS_SHORTEN_H
#define HM_TOOLS_SHORTEN_H

#include <stddef.h>

/* How many columns a text takes: one for each character of UTF-8. */
size_t hm_text_columns(const char *text);

/*
 * The name in at most `columns` columns, or as it is where it fits.  What tells least goes first:
 *
 *	std::map<int, std::vector<std::pair<int, long>>>::insert(std::pair<int, long>&&)
 *	std::map<int, std::vector<...>>::insert(std::pair<int, long>&&)       arguments of templates, inner
 *first std::map<...>::insert(std::pair<int, long>&&) std::map<...>::insert(...) arguments of functions
 *	std::ma...ert(...)                                                    the middle
 *
 * The caller frees; never NULL.
 */
char *hm_shorten_name(const char *name, size_t columns);

#endif
