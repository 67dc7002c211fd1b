// SPDX-License-Identifier: Apache-2.0
/* A library that allocates when it is loaded and when it is unloaded. */
#include "tests/subjects/truth.h"

void early_constructor(void);
void early_destructor(void);
void *early_block;

static SITE void *early_allocate(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

__attribute__((constructor)) SITE void early_constructor(void)
{
	early_block = early_allocate(1001);
}

__attribute__((destructor)) SITE void early_destructor(void)
{
	free(early_block);
	early_block = early_allocate(1002);
}
