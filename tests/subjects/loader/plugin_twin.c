// SPDX-License-Identifier: Apache-2.0
/* A plug-in that is compiled twice, with different names for TWIN: two files, alike in size. */
#include "tests/subjects/truth.h"

void run_twin(void);
void TWIN(size_t size);

static void *volatile last;

SITE void TWIN(size_t size)
{
	last = malloc(size);
}

void run_twin(void)
{
	for (size_t size = 1; size <= 30; size++)
		TWIN(size);
}
