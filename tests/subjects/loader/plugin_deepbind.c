// SPDX-License-Identifier: Apache-2.0
/* A plug-in for RTLD_DEEPBIND: its malloc and free are those of its own dependencies. */
#include <stdlib.h>

void *deep_allocate(size_t size);
void deep_free(void *block);

void *deep_allocate(size_t size)
{
	return malloc(size);
}

void deep_free(void *block)
{
	free(block);
}
