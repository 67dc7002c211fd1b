// SPDX-License-Identifier: Apache-2.0
#include "tools/table.h"

#include "tools/cli.h"
#include "tools/shorten.h"

#include <stdio.h>
#include <stdlib.h>

void hm_print_column(int width, const char *text)
{
	/* printf would count the two bytes of "±" as two columns. */
	const int columns = (int)hm_text_columns(text);

	(void)printf("%*s%s", width > columns ? width - columns : 0, "", text);
}

void hm_print_name(const char *name, size_t columns)
{
	char *const shown = hm_shorten_name(name, columns > 0 ? columns : SIZE_MAX);

	hm_make_printable(shown);
	(void)printf("  %s\n", shown);
	free(shown);
}

size_t hm_name_columns(size_t taken)
{
	const size_t columns = hm_terminal_columns(stdout);

	if (columns == 0)
		return 0;
	return columns > taken + HM_NAME_COLUMNS_MIN ? columns - taken : HM_NAME_COLUMNS_MIN;
}
