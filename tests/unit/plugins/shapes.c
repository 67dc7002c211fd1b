// SPDX-License-Identifier: Apache-2.0
/*
 * Frames of many shapes, each with a call of `visit` in it.  Built several times, with different options of
 * the compiler and stripped; see meson.build.
 */
#include "tests/unit/plugins/shapes.h"

#include <stdlib.h>
#include <string.h>

static visit_function *current_visit;
static void *current_argument;

/* Keeps a call from being the last thing that its function does, which would be a jump. */
static inline void not_a_tail(void)
{
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void visit_now(void)
{
	current_visit(current_argument);
	not_a_tail();
}

__attribute__((noinline)) static int in_recursion(int depth)
{
	int result = 0;

	if (depth == 0)
		visit_now();
	else
		result = in_recursion(depth - 1) + 1;
	not_a_tail();
	return result;
}

__attribute__((noinline)) static void in_alloca(size_t size)
{
	char *const room = __builtin_alloca(size);

	memset(room, 1, size);
	visit_now();
	__asm__ volatile("" ::"r"(room) : "memory");
}

__attribute__((noinline)) static void in_aligned(size_t size)
{
	_Alignas(64) char aligned[64];
	char *const room = __builtin_alloca(size);

	memset(aligned, 1, sizeof(aligned));
	memset(room, 1, size);
	visit_now();
	__asm__ volatile("" ::"r"(room), "r"(aligned) : "memory");
}

/* Larger than what a walk crosses page by page. */
__attribute__((noinline)) static void in_large_frame(void)
{
	char large[300 * 1024];

	memset(large, 1, sizeof(large));
	visit_now();
	__asm__ volatile("" ::"r"(large) : "memory");
}

static int compare_count;

/* Visits once, however often it is called (sanitizers check the order that qsort leaves). */
static int visiting_compare(const void *a, const void *b)
{
	if (compare_count++ == 0)
		visit_now();
	return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static void in_qsort(void)
{
	int numbers[2] = { 2, 1 };

	compare_count = 0;
	qsort(numbers, 2, sizeof(numbers[0]), visiting_compare);
	not_a_tail();
}

/* Exported, and called through the procedure linkage table therefore. */
void shapes_through_plt(void)
{
	visit_now();
	not_a_tail();
}

void shapes_call(visit_function *visit, void *argument)
{
	visit(argument);
	not_a_tail();
}

void shapes_run(visit_function *visit, void *argument)
{
	current_visit = visit;
	current_argument = argument;
	in_recursion(20);
	in_alloca(1000);
	in_aligned(500);
	in_large_frame();
	in_qsort();
	shapes_through_plt();
	not_a_tail();
}
