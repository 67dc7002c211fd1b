// SPDX-License-Identifier: Apache-2.0
/*
 * Allocations from the earliest places: an IFUNC resolver, which runs while the program is being relocated,
 * and .preinit_array, which runs before the constructor of any library.  There the C library has not seen the
 * environment yet, so nothing is recorded; blocks and program must be none the worse.  And from the last
 * places: on_exit, a destructor.
 */
#include "tests/subjects/truth.h"

static void *volatile in_resolver_block;

SITE void *in_resolver(size_t size);
SITE void *in_preinit(size_t size);
SITE void *in_on_exit(size_t size);
SITE void *in_last_destructor(size_t size);
int chosen(void);

SITE void *in_resolver(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

SITE void *in_preinit(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

SITE void *in_on_exit(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

SITE void *in_last_destructor(size_t size)
{
	void *const block = malloc(size);

	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

static int choice(void)
{
	return 42;
}

__attribute__((used)) static int (*resolve_chosen(void))(void)
{
	in_resolver_block = in_resolver(61);
	return choice;
}

int chosen(void) __attribute__((ifunc("resolve_chosen")));

static void before_everything(void)
{
	free(in_preinit(71));
	(void)in_preinit(72);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = before_everything;

static void on_the_way_out(int status, void *argument)
{
	(void)status;
	free(argument);
	(void)in_on_exit(82);
}

__attribute__((destructor(101))) static void destroy_last(void)
{
	(void)in_last_destructor(91);
}

int main(void)
{
	say("chosen: %d, %s", chosen(), in_resolver_block != NULL ? "a block" : "none");
	if (on_exit(on_the_way_out, in_on_exit(81)) != 0)
		return 2;
	say("truth %d in_on_exit 2 163 1 82", (int)getpid());
	say("truth %d in_last_destructor 1 91 1 91", (int)getpid());
	return 0;
}
