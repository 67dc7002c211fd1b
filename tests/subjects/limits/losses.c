// SPDX-License-Identifier: Apache-2.0
/*
 * losses KIND: what makes one counter of losses move, so many times as it says:
 *	gauges     values whose name is too long, empty, or the 65th
 *	missed     blocks freed by the C library's inner entry point, whose addresses come again
 *	truncated  allocations below a function without call-frame information that lost its frame pointer
 */
#include "preload/heapmark.h"
#include "tests/subjects/truth.h"

#include <signal.h>

enum { GAUGES_MAX = 64, TIMES = 100 };

/* Of glibc, behind everybody's back. */
extern void __libc_free(void *block); // NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

TRUTH(any_block)
static SITE struct block any_block(size_t size)
{
	return truth_allocated(&truth_of_any_block, malloc(size), size);
}

static unsigned int lose_gauges(void)
{
	static const char too_long[] = "a name of more than forty-seven bytes, which is more than fits";
	char name[32];

	if (heapmark_gauge == NULL)
		return 0;
	heapmark_gauge(too_long, 1.0);
	heapmark_gauge("", 1.0);
	for (int index = 0; index < GAUGES_MAX + 3; index++) {
		(void)snprintf(name, sizeof(name), "gauge/%d", index);
		heapmark_gauge(name, index);
	}
	return 2 + 3;
}

/* The thread's cache gives the last block first; the last one of all is never seen to go. */
static unsigned int miss_frees(void)
{
	const void *first = NULL;

	for (int count = 0; count <= TIMES; count++) {
		struct block block = any_block(40);

		if (first == NULL)
			first = block.address;
		if (block.address != first)
			abort();
		if (count == TIMES)
			break;
		truth_freed(&block);
		__libc_free(block.address);
	}
	return TIMES;
}

/* Calls function(size) with a frame pointer that leads nowhere, and no word of it for unwinders. */
void call_without_traces(void (*function)(size_t size), size_t size);
__asm__(".pushsection .text\n"
	"call_without_traces:\n"
	"	pushq %rbp\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movl $1, %ebp\n"
	"	callq *%rax\n"
	"	popq %rbp\n"
	"	ret\n"
	".popsection\n");

static SITE void allocate_and_free(size_t size)
{
	struct block block = any_block(size);

	truth_free(&block);
}

static unsigned int truncate_stacks(void)
{
	for (size_t count = 0; count < TIMES; count++)
		call_without_traces(allocate_and_free, count);
	return TIMES;
}

int main(int argc, char **argv)
{
	const char *const kind = argc == 2 ? argv[1] : "";
	const struct block kept = any_block(1000);
	unsigned int expected = 0;

	if (strcmp(kind, "gauges") == 0)
		expected = lose_gauges();
	else if (strcmp(kind, "missed") == 0)
		expected = miss_frees();
	else if (strcmp(kind, "truncated") == 0)
		expected = truncate_stacks();
	truth_print();
	(void)dprintf(STDERR_FILENO, "lost %u\n", expected);
	return kept.address == NULL;
}
