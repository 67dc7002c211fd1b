// SPDX-License-Identifier: Apache-2.0
/*
 * Reaches the malloc family by every road that a linker knows: calls, addresses in the code, tables in the
 * data, callbacks, and what dlsym and a library take for the same function.  Built once for each way of
 * linking.
 *	linked             does it all and tells the truth
 *	linked wait FILE   waits until FILE is there, while somebody changes the program
 */
#include "tests/subjects/link/linked.h"

#include <dlfcn.h>

enum { ROUNDS = 100, BLOCK_BYTES = 100 };

/* Of a table that the compiler can see through nothing would be left but calls. */
static const struct allocator *volatile program_table;
static const struct allocator table = { malloc, free, calloc, realloc };

TRUTH(by_call)
static SITE struct block by_call(size_t size)
{
	return truth_allocated(&truth_of_by_call, malloc(size), size);
}

TRUTH(by_address)
static SITE struct block by_address(size_t size)
{
	void *(*volatile allocate)(size_t) = malloc;

	return truth_allocated(&truth_of_by_address, allocate(size), size);
}

TRUTH(by_program_table)
static SITE struct block by_program_table(size_t size)
{
	return truth_allocated(&truth_of_by_program_table, program_table->allocate(size), size);
}

TRUTH(zeroed_by_program_table)
static SITE struct block zeroed_by_program_table(size_t size)
{
	return truth_allocated(&truth_of_zeroed_by_program_table, program_table->allocate_zeroed(1, size),
			       size);
}

TRUTH(by_library_table)
static SITE struct block by_library_table(size_t size)
{
	return truth_allocated(&truth_of_by_library_table, library_table()->allocate(size), size);
}

TRUTH(by_dlsym)
static SITE struct block by_dlsym(size_t size)
{
	void *const function = dlsym(RTLD_DEFAULT, "malloc");
	void *(*allocate)(size_t);

	memcpy(&allocate, &function, sizeof(allocate));
	return truth_allocated(&truth_of_by_dlsym, allocate(size), size);
}

TRUTH(library_site)
static struct block in_library(size_t size)
{
	return truth_allocated(&truth_of_library_site, library_site(size), size);
}

TRUTH(resized)
static SITE struct block resized(struct block block, size_t size)
{
	truth_freed(&block);
	return truth_allocated(&truth_of_resized, program_table->resize(block.address, size), size);
}

/* Whether the address that the program has for a function is the one that the library and dlsym have. */
static void compare(const char *name, void (*ours)(void), void (*of_library)(void))
{
	void *address;

	memcpy(&address, &ours, sizeof(address));
	say("%s: in the library %s, for dlsym %s", name, ours == of_library ? "the same" : "another",
	    address == dlsym(RTLD_DEFAULT, name) ? "the same" : "another");
}

static void compare_addresses(void)
{
	const struct allocator *const theirs = library_table();

	compare("malloc", (void (*)(void))program_table->allocate, (void (*)(void))theirs->allocate);
	compare("free", (void (*)(void))program_table->release, (void (*)(void))theirs->release);
	compare("calloc", (void (*)(void))program_table->allocate_zeroed,
		(void (*)(void))theirs->allocate_zeroed);
	compare("realloc", (void (*)(void))program_table->resize, (void (*)(void))theirs->resize);
}

/* Every road out for what came in by every road. */
static void release(struct block *block, int round)
{
	void (*volatile by_own_address)(void *) = free;

	truth_freed(block);
	switch (round % 5) {
	case 0:
		free(block->address);
		break;
	case 1:
		by_own_address(block->address);
		break;
	case 2:
		program_table->release(block->address);
		break;
	case 3:
		library_release(free, block->address);
		break;
	default:
		library_table()->release(block->address);
	}
}

static void wait_for(const char *path)
{
	enum { INTERVAL_MICROSECONDS = 1000 };

	say("ready");
	while (access(path, F_OK) != 0)
		(void)usleep(INTERVAL_MICROSECONDS);
}

int main(int argc, char **argv)
{
	static struct block (*const roads[])(size_t) = {
		by_call,          by_address, by_program_table, zeroed_by_program_table,
		by_library_table, by_dlsym,   in_library,
	};
	enum { ROADS = sizeof(roads) / sizeof(roads[0]) };

	if (argc == 3)
		wait_for(argv[2]);
	program_table = &table;
	compare_addresses();
	for (int round = 0; round < ROUNDS; round++) {
		for (int road = 0; road < ROADS; road++) {
			struct block block = roads[road](BLOCK_BYTES + (size_t)round);

			if (round % 3 == 0)
				block = resized(block, 2 * BLOCK_BYTES);
			if (round % 2 == 0)
				release(&block, round / 2 + road);
		}
	}
	truth_print();
	return 0;
}
