// SPDX-License-Identifier: Apache-2.0
/* A plug-in that allocates under a name of its own. */
#include <stdlib.h>

void *small_plugin_allocate(size_t size);
void *small_plugin_allocate(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : "r"(block)); /* no tail call */
	return block;
}
