// SPDX-License-Identifier: Apache-2.0
/*
 * seccomp FILTER WAY END [BLOCKS]: a program that puts a filter on itself and goes on allocating.
 *
 * FILTER  narrow: what malloc needs, read, write and an end; anything else kills
 *         no_memory: the same without mmap and its kind: blocks come from the heap as it is
 *         errno, trap: the same, but anything else fails, or sends SIGSYS, which is counted
 *         broad: everything but what is for administrators
 *         strict: SECCOMP_MODE_STRICT
 *         failing: one that the kernel refuses
 *         arguments: write to standard output alone
 *         twice: broad, then narrow
 *         threads: narrow, and what threads take: signals may be held off, no file may be touched
 *         a number: everything but that system call
 * WAY     prctl, seccomp, syscall_prctl: how it is installed
 * END     return, _exit, exit_thread (the system call), child (fork first; the child is the program),
 * late_child (that allocates nothing before the filter), threads
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

TRUTH(allocate_before)
static SITE struct block allocate_before(size_t size)
{
	return truth_allocated(&truth_of_allocate_before, malloc(size), size);
}

TRUTH(allocate_after)
static SITE struct block allocate_after(size_t size)
{
	return truth_allocated(&truth_of_allocate_after, malloc(size), size);
}

/* At every depth the same instructions. */
TRUTH(allocate_deep)
static SITE void allocate_deep(unsigned int depth)
{
	enum { FRAME_BYTES = 1024 };
	volatile char frame[FRAME_BYTES];

	frame[0] = 1;
	(void)truth_allocated(&truth_of_allocate_deep, malloc(depth), depth);
	if (depth > 0)
		allocate_deep(depth - 1);
	frame[FRAME_BYTES - 1] = frame[0];
}

enum { BEFORE = 50, LARGE_BYTES = 256 * 1024, INSTRUCTIONS_MAX = 64 };

static const char *filter_name;
static const char *way;
static volatile sig_atomic_t trap_count;

static void count_trap(int number)
{
	(void)number;
	trap_count++;
}

/* One that is being written. */
struct filter {
	struct sock_filter instructions[INSTRUCTIONS_MAX];
	unsigned short count;
};

static void add(struct filter *filter, struct sock_filter instruction)
{
	filter->instructions[filter->count++] = instruction;
}

static void add_answer(struct filter *filter, uint32_t answer)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer));
}

/* If the accumulator is `number`: `answer`. */
static void add_call(struct filter *filter, uint32_t number, uint32_t answer)
{
	add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
	add_answer(filter, answer);
}

static void begin(struct filter *filter)
{
	filter->count = 0;
	add(filter,
	    (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	add_answer(filter, SECCOMP_RET_KILL_PROCESS);
	add(filter,
	    (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
}

static void add_narrow(struct filter *filter, bool has_memory)
{
	static const uint32_t always[] = { SYS_read, SYS_write, SYS_exit, SYS_exit_group };
	static const uint32_t threads[] = { SYS_clone,     SYS_clone3,           SYS_set_robust_list,
					    SYS_rseq,      SYS_mprotect,         SYS_madvise,
					    SYS_futex,     SYS_rt_sigaction,     SYS_rt_sigprocmask,
					    SYS_prlimit64, SYS_sched_getaffinity };
	static const uint32_t memory[] = { SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap };

	for (size_t index = 0; index < sizeof(always) / sizeof(always[0]); index++)
		add_call(filter, always[index], SECCOMP_RET_ALLOW);
	for (size_t index = 0; has_memory && index < sizeof(memory) / sizeof(memory[0]); index++)
		add_call(filter, memory[index], SECCOMP_RET_ALLOW);
	for (size_t index = 0;
	     strcmp(filter_name, "threads") == 0 && index < sizeof(threads) / sizeof(threads[0]); index++)
		add_call(filter, threads[index], SECCOMP_RET_ALLOW);
	if (strcmp(filter_name, "trap") == 0)
		add_call(filter, SYS_rt_sigreturn, SECCOMP_RET_ALLOW);
	if (strcmp(filter_name, "twice") == 0)
		add_call(filter, SYS_prctl, SECCOMP_RET_ALLOW);
}

static void add_broad(struct filter *filter)
{
	static const uint32_t forbidden[] = { SYS_mount, SYS_reboot, SYS_init_module, SYS_ptrace };

	for (size_t index = 0; index < sizeof(forbidden) / sizeof(forbidden[0]); index++)
		add_call(filter, forbidden[index], SECCOMP_RET_KILL_PROCESS);
	add_answer(filter, SECCOMP_RET_ALLOW);
}

/* write to a descriptor that is not 1 kills; so does all that is not narrow. */
static void add_arguments(struct filter *filter)
{
	add_call(filter, SYS_exit_group, SECCOMP_RET_ALLOW);
	add_call(filter, SYS_brk, SECCOMP_RET_ALLOW);
	add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0));
	add_answer(filter, SECCOMP_RET_KILL_PROCESS);
	add(filter,
	    (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
	add_call(filter, STDOUT_FILENO, SECCOMP_RET_ALLOW);
	add_answer(filter, SECCOMP_RET_KILL_PROCESS);
}

static void write_filter(struct filter *filter)
{
	begin(filter);
	if (filter_name[0] >= '0' && filter_name[0] <= '9') {
		add_call(filter, (uint32_t)strtoul(filter_name, NULL, 10), SECCOMP_RET_KILL_PROCESS);
		add_answer(filter, SECCOMP_RET_ALLOW);
		return;
	}
	if (strcmp(filter_name, "broad") == 0) {
		add_broad(filter);
	} else if (strcmp(filter_name, "arguments") == 0) {
		add_arguments(filter);
	} else {
		add_narrow(filter, strcmp(filter_name, "no_memory") != 0);
		add_answer(filter, strcmp(filter_name, "errno") == 0  ? SECCOMP_RET_ERRNO | EPERM
				   : strcmp(filter_name, "trap") == 0 ? SECCOMP_RET_TRAP
								      : SECCOMP_RET_KILL_PROCESS);
	}
}

static long install_mode(unsigned long mode, const struct sock_fprog *program)
{
	if (strcmp(way, "prctl") == 0)
		return prctl(PR_SET_SECCOMP, mode, program, 0, 0);
	if (strcmp(way, "syscall_prctl") == 0)
		return syscall(SYS_prctl, PR_SET_SECCOMP, mode, program, 0, 0);
	return syscall(SYS_seccomp,
		       mode == SECCOMP_MODE_STRICT ? SECCOMP_SET_MODE_STRICT : SECCOMP_SET_MODE_FILTER, 0,
		       program);
}

static long install_filter(void)
{
	struct filter filter;

	write_filter(&filter);

	const struct sock_fprog program = { .len = filter.count, .filter = filter.instructions };

	return install_mode(SECCOMP_MODE_FILTER, &program);
}

static void say_result(const char *what, long result)
{
	say("%s: %ld, error %d", what, result, result == -1 ? errno : 0);
}

/* What is no filter: the kernel's answers are the program's to see. */
static void install_wrongly(void)
{
	const uint32_t action = SECCOMP_RET_TRAP;
	struct sock_filter endless[] = { BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0) };
	struct sock_filter good[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS) };
	const struct {
		const char *name;
		struct sock_fprog program;
	} programs[] = {
		{ "empty", { .len = 0, .filter = good } },
		{ "without instructions", { .len = 1, .filter = NULL } },
		{ "nowhere", { .len = 2, .filter = (struct sock_filter *)(uintptr_t)16 } },
		{ "without an end", { .len = 1, .filter = endless } },
		{ "too long", { .len = BPF_MAXINSNS + 1, .filter = good } },
	};

	for (size_t index = 0; index < sizeof(programs) / sizeof(programs[0]); index++)
		say_result(programs[index].name, install_mode(SECCOMP_MODE_FILTER, &programs[index].program));
	say_result("no program", install_mode(SECCOMP_MODE_FILTER, NULL));
	say_result("a program nowhere",
		   install_mode(SECCOMP_MODE_FILTER, (const struct sock_fprog *)(uintptr_t)8));
	say_result("mode 7", prctl(PR_SET_SECCOMP, 7, 0, 0, 0));
	say_result("operation 9", syscall(SYS_seccomp, 9, 0, NULL));
	say_result("is there TRAP", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));

	const struct sock_fprog program = { .len = 1, .filter = good };

	say_result("unknown flags", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1L << 30, &program));
	say_result("SECCOMP_MODE_STRICT with flags", syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1L, NULL));
}

static void install(void)
{
	if (strcmp(filter_name, "failing") == 0) {
		install_wrongly();
		return;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		abort();
	say("before the filter");
	if (strcmp(filter_name, "strict") == 0) {
		if (install_mode(SECCOMP_MODE_STRICT, NULL) != 0)
			abort();
		return;
	}
	if (strcmp(filter_name, "trap") == 0 && signal(SIGSYS, count_trap) == SIG_ERR)
		abort();
	if (strcmp(filter_name, "twice") == 0) {
		filter_name = "broad";
		if (install_filter() != 0)
			abort();
		filter_name = "narrow";
	}
	if (install_filter() != 0)
		abort();
}

/* As truth_print, which asks for the process id; that may be forbidden here. */
static void print_truth(pid_t pid)
{
	for (const struct truth *truth = truth_first; truth != NULL; truth = truth->next)
		say("truth %d %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, (int)pid, truth->name,
		    truth->alloc_objects, truth->alloc_bytes, truth->alloc_objects - truth->freed_objects,
		    truth->alloc_bytes - truth->freed_bytes);
}

static SITE void allocate_many(size_t count)
{
	for (size_t index = 0; index < count; index++) {
		struct block block = allocate_after(index % 100);

		if (index % 4 == 0)
			truth_free(&block);
	}
}

static void *allocate_in_thread(void *unused)
{
	(void)unused;
	allocate_many(1000);
	return NULL;
}

static void be_program(size_t before, size_t blocks)
{
	const unsigned int depths[] = { 2, 100 };
	struct block kept[BEFORE];
	const bool has_large = strcmp(filter_name, "strict") != 0 && strcmp(filter_name, "no_memory") != 0 &&
			       strcmp(filter_name, "arguments") != 0;

	for (size_t index = 0; index < before; index++)
		kept[index] = allocate_before(index * 10);
	for (volatile unsigned int times = 0; times < 2; times++) { /* volatile: one call, not two */
		if (times == 1)
			install();
		if (times == 1 || before > 0)
			allocate_deep(depths[times]);
	}
	for (size_t index = 0; index < before; index += 2)
		truth_free(&kept[index]);
	allocate_many(blocks);
	if (has_large)
		(void)allocate_after(LARGE_BYTES);
	if (strcmp(filter_name, "trap") == 0)
		(void)getppid();
	say("traps: %d", (int)trap_count);
}

static void be_child(size_t before, size_t blocks)
{
	int status;

	free(malloc(1)); /* so that the C library's allocator is ready */

	const pid_t pid = fork();

	if (pid == 0) {
		const pid_t own_pid = getpid();

		truth_begin_anew();
		be_program(before, blocks);
		print_truth(own_pid);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	say("the child ended with %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	truth_begin_anew();
	(void)allocate_before(77);
	truth_print();
}

static void be_threads(size_t blocks)
{
	enum { THREADS = 4 };
	pthread_t threads[THREADS];

	be_program(BEFORE, blocks);
	for (size_t index = 0; index < THREADS; index++)
		if (pthread_create(&threads[index], NULL, allocate_in_thread, NULL) != 0)
			abort();
	for (size_t index = 0; index < THREADS; index++)
		(void)pthread_join(threads[index], NULL);
}

/* So that it needs not grow any more. */
static void grow_heap(void)
{
	enum { HEAP_BYTES = 8 << 20 };

	(void)mallopt(M_MMAP_THRESHOLD, 2 * HEAP_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, 2 * HEAP_BYTES);
	free(malloc(HEAP_BYTES));
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	const pid_t pid = getpid();

	filter_name = argv[1];
	way = argv[2];

	const size_t blocks = argc > 4 ? strtoul(argv[4], NULL, 10) : 100;

	if (strcmp(filter_name, "strict") == 0 || strcmp(filter_name, "no_memory") == 0) {
		grow_heap();
	}
	if (strcmp(argv[3], "child") == 0)
		be_child(BEFORE, blocks);
	else if (strcmp(argv[3], "late_child") == 0)
		be_child(0, blocks);
	else if (strcmp(argv[3], "threads") == 0)
		be_threads(blocks);
	else
		be_program(BEFORE, blocks);
	if (strstr(argv[3], "child") == NULL)
		print_truth(pid);
	if (strcmp(argv[3], "_exit") == 0)
		_exit(3);
	if (strcmp(argv[3], "exit_thread") == 0)
		(void)syscall(SYS_exit, 3);
	return 3;
}
