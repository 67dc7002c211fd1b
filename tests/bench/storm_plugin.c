// SPDX-License-Identifier: Apache-2.0
/* A plug-in of storm, compiled twice: two files alike, whose functions have different names. */
#include "tests/subjects/truth.h"

void *PLUGIN_FUNCTION(size_t size);

SITE void *PLUGIN_FUNCTION(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : : "memory"); /* not a jump: it stands in the stack */
	return block;
}
