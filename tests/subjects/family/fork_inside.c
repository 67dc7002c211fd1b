// SPDX-License-Identifier: Apache-2.0
/*
 * fork_inside MODE, over an allocator that may be interrupted anywhere (reentrant.c): a signal handler forks
 * in the middle of an allocation and its free, after its first instruction, in the next round after the
 * second, and so on; further in, where it is tables and no flags, after every 13th.  Both processes then go
 * on with what was interrupted.
 *	fork, _Fork   by these
 *	clone         the bare system call, after which nobody calls us in the child
 *
 * What was interrupted is the parent's, once.  The child has its own allocations in a ledger of its own.
 */
#include "tests/subjects/reading.h"
#include "tests/subjects/stepping.h"
#include "tests/subjects/truth.h"

#include <sys/syscall.h>
#include <sys/wait.h>

enum {
	STRIDE = 13,
	CHILD_BLOCKS = 3,
	HANG_SECONDS = 60,
};

static volatile sig_atomic_t instruction; /* of this round */
static volatile sig_atomic_t interrupted; /* the one at which the handler runs */
static pid_t (*make_child)(void);
static volatile pid_t child; /* 0 in the child */
static long rounds;
static long failed;

TRUTH(in_loop)
static SITE struct block in_loop(size_t size)
{
	return truth_allocated(&truth_of_in_loop, malloc(size), size);
}

/* The name says whose it is; the parent's profile must have none of it. */
TRUTH(in_child)
SECTION_OF_SITE static SITE struct block in_child(size_t size)
{
	return truth_allocated(&truth_of_in_child, malloc(size), size);
}

/* Not by the C library's function, which the library has its own of. */
static pid_t clone_bare(void)
{
	long result = SYS_clone;
	register long child_number __asm__("r10") = 0;
	register long tls __asm__("r8") = 0;

	__asm__ volatile("syscall"
			 : "+a"(result)
			 : "D"((long)SIGCHLD), "S"(0L), "d"(0L), "r"(child_number), "r"(tls)
			 : "rcx", "r11", "memory");
	return (pid_t)result;
}

static void trap(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *const interrupted_context = context;

	(void)signal;
	(void)info;
	/* Where signals are blocked, no handler would run. */
	if (instruction++ < interrupted || sigismember(&interrupted_context->uc_sigmask, SIGALRM) != 0)
		return;
	stop_stepping(context);
	child = make_child();
	if (child == 0)
		(void)alarm(HANG_SECONDS);
}

/* What it finished for its parent may be in its own ledger, too, but not more. */
static void look_at_child(void)
{
	char path[4096];
	struct reading reading;
	int status;

	if (waitpid(child, &status, 0) != child || status != 0) {
		say("instruction %d: a child ended with %x", (int)interrupted, (unsigned int)status);
		failed++;
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/heapmark.fork_inside.%d.ledger", getenv("HEAPMARK_DIR"),
		       (int)child);
	reading = reading_of_file(path, (uint64_t)(uintptr_t)__start_counted_site,
				  (uint64_t)(uintptr_t)__stop_counted_site);
	(void)unlink(path);
	if (reading.error == 0 && !reading.is_damaged && reading.lost == 0 &&
	    reading.alloc_objects == CHILD_BLOCKS && reading.inuse_objects == CHILD_BLOCKS)
		return;
	say("instruction %d: error %d, damaged %d, lost %" PRIu64 ", %" PRIu64 " allocations of the child",
	    (int)interrupted, reading.error, reading.is_damaged, reading.lost, reading.alloc_objects);
	failed++;
}

/* Allocates and frees; true when the handler ran on the way. */
static bool run_round(void)
{
	struct block block;

	rounds++;
	instruction = 0;
	child = -1;
	begin_stepping();
	block = in_loop(20);
	truth_free(&block);
	end_stepping();
	if (child == 0) {
		for (size_t size = 0; size < CHILD_BLOCKS; size++)
			(void)in_child(size);
		_exit(0);
	}
	if (child > 0)
		look_at_child();
	return instruction > interrupted;
}

/*
 * What happens once is not stepped, for signals are blocked meanwhile: here the live table grows; and the
 * first round compiles its rules after its handler, with which the steps end.
 */
static void warm_up(void)
{
	static struct block blocks[WARM_BLOCKS];

	for (int index = 0; index < WARM_BLOCKS; index++)
		blocks[index] = in_loop(1);
	for (int index = 0; index < WARM_BLOCKS; index++)
		truth_free(&blocks[index]);
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };

	if (argc != 2 || sigaction(SIGTRAP, &action, NULL) != 0)
		return 2;
	make_child = strcmp(argv[1], "clone") == 0   ? clone_bare
		     : strcmp(argv[1], "_Fork") == 0 ? _Fork
						     : fork;
	warm_up();
	while (run_round() && interrupted < INSTRUCTIONS_MAX && failed < 10)
		interrupted = next_interrupted(interrupted, STRIDE);
	say("%s", stepping_outcome(interrupted));
	say("%ld children failed", failed);
	say("rounds %ld", rounds);
	truth_print();
	return failed == 0 ? 0 : 1;
}
