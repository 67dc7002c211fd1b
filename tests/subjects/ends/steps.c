// SPDX-License-Identifier: Apache-2.0
/*
 * steps FILE: makes calls of the malloc family one after the other, says in the page what kind of call comes
 * (counts.h), and stops before each by a breakpoint instruction; stepper.c looks on.  The same calls with the
 * same addresses in every run, where the addresses are not randomised.
 */
#include "tests/subjects/ends/counts.h"

#include <errno.h>
#include <malloc.h>

enum {
	CALLS = 2600, /* until the live table has its second segment, the file its second grant */
	KINDS = 6,
	SAME_STACK = 4, /* of so many blocks one comes from a stack that is new */
	PATH_DIGITS = 6,
	PATH_BASE = 4,
};

static struct counts *counts;
static void *blocks[CALLS];
static size_t sizes[CALLS];

static void stop_before(struct counts_page *page, size_t kind)
{
	page->step = kind;
	__asm__ volatile("int3" : : : "memory");
}

SECTION_OF_SITE static SITE void *allocate(size_t kind, size_t size_bytes)
{
	void *block = NULL;

	count(&counts->alloc_begun, size_bytes);
	if (kind == 1)
		block = calloc(1, size_bytes);
	else if (kind == 2)
		(void)posix_memalign(&block, 64, size_bytes);
	else
		block = malloc(size_bytes);
	count(&counts->alloc_done, size_bytes);
	return block;
}

/* A stack of its own for each number: at each level one of four calls, by a digit of it. */
static SITE void *by_path(size_t path, int level, size_t kind, size_t size_bytes)
{
	void *block = NULL;

	if (level == 0)
		return allocate(kind, size_bytes);
	switch (path % PATH_BASE) {
	case 0:
		block = by_path(path / PATH_BASE, level - 1, kind, size_bytes);
		__asm__ volatile("nop" : : : "memory");
		break;
	case 1:
		block = by_path(path / PATH_BASE, level - 1, kind, size_bytes);
		__asm__ volatile("nop; nop" : : : "memory");
		break;
	case 2:
		block = by_path(path / PATH_BASE, level - 1, kind, size_bytes);
		__asm__ volatile("nop; nop; nop" : : : "memory");
		break;
	default:
		block = by_path(path / PATH_BASE, level - 1, kind, size_bytes);
		__asm__ volatile("nop; nop; nop; nop" : : : "memory");
	}
	return block;
}

static void release(size_t index)
{
	count(&counts->free_begun, sizes[index]);
	free(blocks[index]);
	count(&counts->free_done, sizes[index]);
	blocks[index] = NULL;
}

/* One block goes, another comes. */
SECTION_OF_SITE static SITE void reallocate(size_t index, size_t size_bytes)
{
	count(&counts->alloc_begun, size_bytes);
	count(&counts->free_begun, sizes[index]);
	blocks[index] = realloc(blocks[index], size_bytes);
	count(&counts->alloc_done, size_bytes);
	count(&counts->free_done, sizes[index]);
	sizes[index] = size_bytes;
}

/* Fails, and nothing changes. */
SECTION_OF_SITE static SITE void reallocate_in_vain(size_t index)
{
	const volatile size_t too_large = SIZE_MAX / 4;

	if (realloc(blocks[index], too_large) != NULL || errno != ENOMEM)
		abort();
}

/* Most calls allocate and keep; of each sixteen, one frees and two reallocate. */
static void call(struct counts_page *page, size_t number)
{
	const size_t kind = number % 16;

	sizes[number] = number % 97 * 3;
	stop_before(page, kind < KINDS ? kind : 0);
	if (kind == 3 && number > 16) {
		release(number - 2);
	} else if (kind == 4 && number > 16) {
		reallocate(number - 1 - KINDS, 500 + number);
	} else if (kind == 5 && number > 16) {
		reallocate_in_vain(number - 2 - KINDS);
	} else {
		blocks[number] = by_path(number / SAME_STACK, PATH_DIGITS, kind, sizes[number]);
	}
}

int main(int argc, char **argv)
{
	struct counts_page *const page = argc == 2 ? counts_map(argv[1], 0) : NULL;

	if (page == NULL)
		return 2;
	counts = &page->threads[0];
	counts_begin(page);
	for (size_t number = 0; number < CALLS; number++)
		call(page, number);
	stop_before(page, KINDS); /* the end */
	return 0;
}
