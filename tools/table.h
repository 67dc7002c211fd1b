// SPDX-License-Identifier: Apache-2.0
/* Tables on standard output: columns of figures, and a name at the end. */
#ifndef HM_TOOLS_TABLE_H
#define HM_TOOLS_TABLE_H

#include <stddef.h>

enum { HM_NAME_COLUMNS_MIN = 30 }; /* a name is never cut to less, even if the line is then broken */

/* Prints a column, aligned to the right. */
void hm_print_column(int width, const char *text);

/* Prints two blanks, the name in at most `columns` columns (0: whole), and ends the line. */
void hm_print_name(const char *name, size_t columns);

/* How many columns are left for names behind `taken` ones; 0: any number, where there is no terminal. */
size_t hm_name_columns(size_t taken);

#endif
