// SPDX-License-Identifier: Apache-2.0
/* One of the modules that `curve modules` goes through. */
#include "tests/bench/bench.h"

void module_pair(void);

void module_pair(void)
{
	free(seen(malloc(64)));
}
