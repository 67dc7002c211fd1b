// SPDX-License-Identifier: Apache-2.0
/*
 * probed: allocates, reallocates and frees a few blocks, and prints what probes must tell of it at rate 1:
 *
 *	alloc ADDRESS SIZE      free ADDRESS
 *
 * in the order in which it comes.  Nothing else in the process allocates after main has begun.
 */
#include "tests/subjects/truth.h"

static void *allocated(void *block, size_t size_bytes)
{
	say("alloc %#" PRIxPTR " %zu", (uintptr_t)block, size_bytes);
	return block;
}

static void freed(void *block)
{
	say("free %#" PRIxPTR, (uintptr_t)block);
	free(block);
}

/* Where tracing begins. */
SITE void begin_probed(void);

SITE void begin_probed(void)
{
	__asm__ volatile("" : : : "memory");
}

int main(void)
{
	begin_probed();

	void *const small = allocated(malloc(100), 100);
	void *const zeroed = allocated(calloc(10, 77), 770);
	void *const large = allocated(aligned_alloc(64, 1 << 20), 1 << 20);
	const uintptr_t old = (uintptr_t)small;
	void *const grown = realloc(small, 300000);

	say("free %#" PRIxPTR, old);
	(void)allocated(grown, 300000);
	freed(zeroed);
	freed(grown);
	freed(large);

	/* It fails, and the block is as it was: it goes and comes again. */
	void *const kept = allocated(malloc(40), 40);
	volatile size_t impossible = (size_t)1 << 62;

	if (realloc(kept, impossible) != NULL)
		return 1;
	say("free %#" PRIxPTR, (uintptr_t)kept);
	(void)allocated(kept, 40);
	freed(kept);
	return 0;
}
