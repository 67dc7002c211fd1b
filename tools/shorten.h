// SPDX-License-Identifier: Apache-2.0
/* Names of functions, made to fit a line. */
#ifndef HM_TOOLS_SHORTEN_H
#define HM_TOOLS_SHORTEN_H

#include <stddef.h>

/* How many columns a text takes: one for each character of UTF-8. */
size_t hm_text_columns(const char *text);

/*
 * The name in at most `columns` columns, or as it is where it fits.  What tells least goes first: arguments
 * of templates, inner ones first; arguments of functions; the middle.
 *
 *	std::map<int, std::vector<std::pair<int, long>>>::insert(std::pair<int, long>&&)
 *	std::map<int, std::vector<...>>::insert(std::pair<int, long>&&)
 *	std::map<...>::insert(std::pair<...>&&)
 *	std::map<...>::insert(...)
 *	std::...:insert(...)
 *
 * The caller frees; never NULL.
 */
char *hm_shorten_name(const char *name, size_t columns);

#endif
