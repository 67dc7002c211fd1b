// SPDX-License-Identifier: Apache-2.0
/*
 * cloned MODE BLOCKS: allocations on a stack of 8 KiB, with a guard page, that clone(2) was given.
 *	vfork    by a process that shares the memory of its parent, who waits for its end
 *	thread   by a bare thread; the first one waits for its end as well, for it has no storage of its own
 */
#include "tests/subjects/truth.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { STACK_BYTES = 8 * 1024, GUARD_BYTES = 4096, BLOCK_BYTES = 10000 };

static long blocks;

TRUTH(in_cloned)
static SITE struct block in_cloned(size_t size)
{
	return truth_allocated(&truth_of_in_cloned, malloc(size), size);
}

static SITE int cloned_start(void *unused)
{
	(void)unused;
	for (long number = 0; number < blocks; number++) {
		struct block block = in_cloned(BLOCK_BYTES);

		if (number % 4 != 0)
			truth_free(&block);
	}
	return 0;
}

/* The kernel writes 0 there when the thread ends. */
static void wait_for_end(int *tid)
{
	int now;

	while ((now = __atomic_load_n(tid, __ATOMIC_ACQUIRE)) != 0)
		(void)syscall(SYS_futex, tid, FUTEX_WAIT, now, NULL, NULL, 0);
}

int main(int argc, char **argv)
{
	const bool is_thread = argc == 3 && strcmp(argv[1], "thread") == 0;
	const int flags = is_thread ? CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
					      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID
				    : CLONE_VM | CLONE_VFORK | SIGCHLD;
	char *const memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int tid = -1;
	int status = 0;

	if (argc != 3 || memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE) != 0)
		return 2;
	blocks = strtol(argv[2], NULL, 10);

	const int child =
		clone(cloned_start, memory + GUARD_BYTES + STACK_BYTES, flags, NULL, NULL, NULL, &tid);

	if (child < 0)
		return 2;
	if (is_thread)
		wait_for_end(&tid);
	else if (waitpid(child, &status, 0) != child || status != 0)
		return 2;
	truth_print();
	return 0;
}
