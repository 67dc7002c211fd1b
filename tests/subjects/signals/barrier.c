// SPDX-License-Identifier: Apache-2.0
/*
 * barrier: what collectors of garbage do.  Pages of the heap are made unreadable or read-only; the first
 * access to each is a fault, which a handler counts and mends, allocating on its way.  Nobody but the program
 * touches its blocks, so it sees one fault a page.
 */
#include "tests/subjects/truth.h"

#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096, PAGES = 64, BLOCKS = 8, ROUNDS = 10 };

static volatile sig_atomic_t faults;

TRUTH(behind_barrier)
static SITE struct block behind_barrier(void)
{
	return truth_allocated(&truth_of_behind_barrier, memalign(PAGE_BYTES, PAGES * PAGE_BYTES),
			       PAGES * PAGE_BYTES);
}

TRUTH(by_barrier)
static SITE struct block by_barrier(size_t size)
{
	return truth_allocated(&truth_of_by_barrier, malloc(size), size);
}

TRUTH(meanwhile)
static SITE struct block meanwhile(size_t size)
{
	return truth_allocated(&truth_of_meanwhile, malloc(size), size);
}

static void mend(int number, siginfo_t *info, void *context)
{
	char *const page = (char *)info->si_addr - (uintptr_t)info->si_addr % PAGE_BYTES;
	struct block block = by_barrier(48);

	(void)number;
	(void)context;
	faults++;
	if (mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
		abort();
	if (faults % 2 == 0)
		truth_free(&block);
}

static void touch_pages(volatile char *pages)
{
	for (int page = 0; page < PAGES; page++) {
		struct block block = meanwhile(16);

		pages[page * PAGE_BYTES + page] = (char)page;
		truth_free(&block);
	}
}

int main(void)
{
	const struct sigaction action = { .sa_sigaction = mend, .sa_flags = SA_SIGINFO };
	struct block blocks[BLOCKS];

	if (sigaction(SIGSEGV, &action, NULL) != 0)
		return 2;
	for (int index = 0; index < BLOCKS; index++)
		blocks[index] = behind_barrier();
	for (int round = 0; round < ROUNDS; round++) {
		for (int index = 0; index < BLOCKS; index++) {
			if (mprotect(blocks[index].address, PAGES * PAGE_BYTES,
				     (round + index) % 2 == 0 ? PROT_NONE : PROT_READ) != 0)
				return 2;
		}
		(void)meanwhile(32);
		for (int index = 0; index < BLOCKS; index++)
			touch_pages(blocks[index].address);
		say("round %d: %d faults", round, (int)faults);
	}
	for (int index = 0; index < BLOCKS; index += 2)
		truth_free(&blocks[index]);
	truth_print();
	return 0;
}
