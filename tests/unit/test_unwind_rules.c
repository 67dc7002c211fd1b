// SPDX-License-Identifier: Apache-2.0
/*
 * The unwind rules: what call-frame information becomes, the table under growth and forgetting, and the lock:
 * who waits for it, who does not, and that neither a fork nor a signal leaves it behind.
 */
#include "preload/frames.h"
#include "preload/unwind_rules.h"
#include "proto/ledger.h"

#include "tests/unit/check.h"
#include "tests/unit/hand_written.h"
#include "tests/unit/plugin.h"
#include "tests/unit/plugins/twin.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FRAMES_MAX = 128 };

static _Atomic uintptr_t next_pc;

/* An address in a large library that nobody has asked for before; whether an instruction begins there does
 * not matter.
 */
static uintptr_t new_pc(void)
{
	return atomic_fetch_add(&next_pc, 1);
}

static enum hm_rule_kind kind_of(uintptr_t pc)
{
	return (enum hm_rule_kind)hm_unwind_rule_find(pc).kind;
}

static union hm_rule rule_at(const char *pc)
{
	return hm_unwind_rule_find((uintptr_t)pc);
}

static void check_rule(const char *pc, enum hm_rule_kind kind, bool is_on_fp, int64_t cfa, int64_t fp)
{
	const union hm_rule rule = rule_at(pc);

	CHECK_EQ(rule.kind, kind);
	CHECK_EQ(rule.cfa_is_on_fp, is_on_fp);
	CHECK_EQ(rule.cfa_offset, cfa);
	CHECK_EQ(rule.fp_offset, fp);
	CHECK_EQ(rule.module_index, rule_at(rule_entry).module_index);
	CHECK_EQ(rule_at(pc).word, rule.word);
}

static int signal_frames_met;

static void meet_signal_frame(int number)
{
	struct hm_stack_bounds bounds = { 0 };
	uint64_t frames[FRAMES_MAX];
	const uint32_t count = hm_frames_walk(&bounds, NULL, frames, FRAMES_MAX).frame_count;

	(void)number;
	for (uint32_t i = 0; i < count; i++)
		signal_frames_met += kind_of(hm_frame_address(frames[i])) == HM_RULE_SIGNAL;
}

static void test_shapes(void)
{
	const struct sigaction action = { .sa_handler = meet_signal_frame };

	CHECK(rule_at(rule_entry).module_index != 0);
	check_rule(rule_entry, HM_RULE_STANDARD, false, 1, 0);
	check_rule(rule_pushed, HM_RULE_STANDARD, false, 3, -3);
	check_rule(rule_on_fp, HM_RULE_STANDARD, true, 2, -2);
	check_rule(rule_large, HM_RULE_STANDARD, false, 1 << 27, 0);
	check_rule(rule_odd, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_far_fp, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_fp_at_cfa, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_realigned, HM_RULE_REALIGNED, false, -1, 0);
	check_rule(rule_added, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_realigned_odd, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_fp_added, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_damaged, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_on_rbx, HM_RULE_COMPLEX, false, 0, 0);
	check_rule(rule_outermost, HM_RULE_OUTERMOST, false, 0, 0);
	check_rule(rule_no_cfi, HM_RULE_UNKNOWN, false, 0, 0);
	check_rule(rule_linkage, HM_RULE_STANDARD, false, 1, 0);
	for (int i = 0; i < 4; i++)
		check_rule(rule_no_linkage + (size_t)i * RULE_NO_LINKAGE_BYTES, HM_RULE_UNKNOWN, false, 0, 0);

	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(signal_frames_met, 1);

	/* In no object. */
	CHECK_EQ(kind_of(4096), HM_RULE_UNKNOWN);
	CHECK_EQ(rule_at((const char *)4096).module_index, 0);
	/* In one, but in no code of it. */
	CHECK_EQ(kind_of((uintptr_t)&next_pc), HM_RULE_UNKNOWN);
	CHECK_EQ(hm_unwind_rule_find((uintptr_t)&next_pc).module_index, 0);
}

enum { MANY = 20000 }; /* more than four times what the first table holds */

static struct {
	uintptr_t pc;
	_Atomic uint64_t rule; /* 0: not compiled yet */
} many[MANY];

static atomic_bool stop;

/* Rules that are there must be found whatever the writer does. */
static void *read_rules(void *argument)
{
	unsigned long *const wrong_count = argument;
	unsigned int seed = 1;

	while (!atomic_load(&stop)) {
		seed = seed * 1103515245 + 12345;

		const unsigned int i = (seed >> 8) % MANY;
		const uint64_t rule = atomic_load(&many[i].rule);

		if (rule != 0 && hm_unwind_rule_find(many[i].pc).word != rule)
			++*wrong_count;
	}
	return NULL;
}

static void test_growth(void)
{
	unsigned long wrong_count = 0;
	pthread_t reader;

	CHECK_EQ(pthread_create(&reader, NULL, read_rules, &wrong_count), 0);
	for (int i = 0; i < MANY; i++) {
		many[i].pc = new_pc();
		atomic_store(&many[i].rule, hm_unwind_rule_find(many[i].pc).word);
		if (many[i].rule == 0)
			CHECK(many[i].rule != 0);
	}
	atomic_store(&stop, true);
	CHECK_EQ(pthread_join(reader, NULL), 0);
	CHECK_EQ(wrong_count, 0);
	atomic_store(&stop, false);

	int different = 0;

	for (int i = 0; i < MANY; i++)
		different += hm_unwind_rule_find(many[i].pc).word != many[i].rule;
	CHECK_EQ(different, 0);
}

/* Opens a twin where the other was; its function twin_number. */
static uintptr_t open_twin(const char *name, void **ret_plugin, uintptr_t expected)
{
	*ret_plugin = plugin_open(name);

	const uintptr_t pc = (uintptr_t)plugin_find(*ret_plugin, "twin_number");

	if (expected != 0)
		CHECK_EQ(pc, expected);
	return pc;
}

/* Two plug-ins take turns at one address; each has its own number whenever it is there. */
static void test_forgetting(void)
{
	void *plugin;
	const uintptr_t pc = open_twin("twin_1.so", &plugin, 0);
	const union hm_rule first = hm_unwind_rule_find(pc);

	CHECK(first.module_index != 0);
	CHECK_EQ(dlclose(plugin), 0);
	hm_unwind_rules_before_unload();
	hm_unwind_rules_after_unload();
	CHECK_EQ(hm_unwind_rule_find(pc).module_index, 0);

	(void)open_twin("twin_2.so", &plugin, pc);

	const union hm_rule second = hm_unwind_rule_find(pc);

	CHECK(second.module_index != 0);
	CHECK(second.module_index != first.module_index);
	CHECK_EQ(dlclose(plugin), 0);
	hm_unwind_rules_before_unload();
	hm_unwind_rules_after_unload();

	(void)open_twin("twin_1.so", &plugin, pc);
	CHECK_EQ(hm_unwind_rule_find(pc).word, first.word);
	CHECK_EQ(dlclose(plugin), 0);

	/* Unnoticed: until the first rule that is new in the successor. */
	(void)open_twin("twin_2.so", &plugin, pc);
	CHECK_EQ(hm_unwind_rule_find((uintptr_t)plugin_find(plugin, "twin_call")).module_index,
		 second.module_index);
	CHECK_EQ(hm_unwind_rule_find(pc).word, second.word);
	CHECK_EQ(dlclose(plugin), 0);
	hm_unwind_rules_before_unload();
	hm_unwind_rules_after_unload();
}

/* The page of an object that its call-frame information begins in. */
static void *information_of(uintptr_t pc)
{
	struct dl_find_object found;

	CHECK_EQ(_dl_find_object((void *)pc, &found), 0);
	return (void *)((uintptr_t)found.dlfo_eh_frame & ~UINT64_C(0xfff));
}

/*
 * That an object's tables can be read is not remembered beyond a dlclose, nor while one is under way: another
 * object may be at the same place by then.
 */
static void test_forgetting_pages(void)
{
	enum { PAGE_BYTES = 4096 };
	void *plugin;
	const uintptr_t pc = open_twin("twin_1.so", &plugin, 0);
	void *const page = information_of(pc);

	hm_unwind_rules_before_unload();
	CHECK_EQ(kind_of(pc), HM_RULE_STANDARD);
	CHECK_EQ(mprotect(page, PAGE_BYTES, PROT_NONE), 0);
	CHECK(kind_of(pc) != HM_RULE_STANDARD);
	CHECK_EQ(mprotect(page, PAGE_BYTES, PROT_READ), 0);
	CHECK_EQ(kind_of(pc), HM_RULE_STANDARD);
	hm_unwind_rules_after_unload();
	CHECK_EQ(mprotect(page, PAGE_BYTES, PROT_NONE), 0);
	CHECK(kind_of(pc) != HM_RULE_STANDARD);
	CHECK_EQ(mprotect(page, PAGE_BYTES, PROT_READ), 0);
	CHECK_EQ(dlclose(plugin), 0);
	hm_unwind_rules_before_unload();
	hm_unwind_rules_after_unload();
}

/* A thread that does something with the lock when told, and undoes it when told. */
struct holder {
	void (*take)(void);
	void (*give_back)(void);
	sem_t taken;
	sem_t enough;
	pthread_t thread;
};

static struct hm_signals_saved holder_signals;
static bool holder_has_lock;

static void take_lock(void)
{
	holder_has_lock = hm_unwind_rules_lock(&holder_signals);
}

static void give_lock_back(void)
{
	holder_has_lock = false;
	hm_unwind_rules_unlock(&holder_signals);
}

static void *hold(void *argument)
{
	struct holder *const holder = argument;

	holder->take();
	sem_post(&holder->taken);
	while (sem_wait(&holder->enough) != 0)
		continue;
	holder->give_back();
	return NULL;
}

static void start_holder(struct holder *holder, void (*take)(void), void (*give_back)(void))
{
	holder->take = take;
	holder->give_back = give_back;
	sem_init(&holder->taken, 0, 0);
	sem_init(&holder->enough, 0, 0);
	CHECK_EQ(pthread_create(&holder->thread, NULL, hold, holder), 0);
	while (sem_wait(&holder->taken) != 0)
		continue;
}

static void stop_holder(struct holder *holder)
{
	sem_post(&holder->enough);
	CHECK_EQ(pthread_join(holder->thread, NULL), 0);
	CHECK(kind_of(new_pc()) != HM_RULE_NONE);
}

static void *find_new_rule(void *argument)
{
	(void)argument;
	return kind_of(new_pc()) != HM_RULE_NONE ? argument : NULL;
}

/* Whoever meets a thread that compiles waits for it. */
static void test_waiting(void)
{
	enum { WAITERS = 3 };
	struct holder holder;
	pthread_t waiters[WAITERS];
	void *result;

	start_holder(&holder, take_lock, give_lock_back);
	CHECK(holder_has_lock);
	for (int i = 0; i < WAITERS; i++)
		CHECK_EQ(pthread_create(&waiters[i], NULL, find_new_rule, &holder), 0);
	CHECK(kind_of((uintptr_t)rule_entry) == HM_RULE_STANDARD); /* known rules need no lock */
	sem_post(&holder.enough);
	CHECK_EQ(pthread_join(holder.thread, NULL), 0);
	for (int i = 0; i < WAITERS; i++) {
		CHECK_EQ(pthread_join(waiters[i], &result), 0);
		CHECK(result == &holder);
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A thread that never gives the lock back is waited for once. */
static void test_waiting_in_vain(void)
{
	enum { TRIES = 50 };
	struct holder holder;

	start_holder(&holder, take_lock, give_lock_back);
	CHECK(holder_has_lock);

	const double start = seconds();

	for (int i = 0; i < TRIES; i++)
		CHECK_EQ(kind_of(new_pc()), HM_RULE_NONE);
	CHECK(seconds() - start < 0.5 * TRIES);
	CHECK(kind_of((uintptr_t)rule_entry) == HM_RULE_STANDARD);
	stop_holder(&holder);
}

/* Nobody waits for a thread that forks, and such a thread, met by its own handlers, not for itself. */
static void test_not_waiting(void)
{
	struct holder holder;

	start_holder(&holder, hm_unwind_rules_before_fork, hm_unwind_rules_after_fork_parent);
	CHECK_EQ(kind_of(new_pc()), HM_RULE_NONE);
	CHECK(kind_of((uintptr_t)rule_entry) == HM_RULE_STANDARD);
	stop_holder(&holder);

	hm_unwind_rules_before_fork();
	CHECK_EQ(kind_of(new_pc()), HM_RULE_NONE);
	hm_unwind_rules_after_fork_parent();
	CHECK(kind_of(new_pc()) != HM_RULE_NONE);
}

static void *compile_always(void *argument)
{
	while (!atomic_load(&stop))
		(void)hm_unwind_rule_find(new_pc());
	return argument;
}

/* In a fork child: 0 where a walk goes well and new rules can be compiled, else a number to report. */
static int walk_in_child(void)
{
	struct hm_stack_bounds bounds = { 0 };
	uint64_t frames[FRAMES_MAX];
	const struct hm_walk walk = hm_frames_walk(&bounds, NULL, frames, FRAMES_MAX);

	if (walk.end != HM_WALK_COMPLETE || walk.frame_count < 3)
		return 1;
	return kind_of(new_pc()) != HM_RULE_NONE ? 0 : 2;
}

static int wait_for(pid_t pid)
{
	int status;

	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

enum { CHILD_SECONDS_MAX = 30 }; /* a child that hangs is killed, and counted */

/* fork() while another thread is inside libunwind nearly always: the child has all it needs. */
static void test_fork(void)
{
	enum { FORKS = 50 };
	pthread_t compiler;
	int went_well = 0;

	CHECK_EQ(pthread_atfork(hm_unwind_rules_before_fork, hm_unwind_rules_after_fork_parent,
				hm_unwind_rules_after_fork_child),
		 0);
	CHECK_EQ(pthread_create(&compiler, NULL, compile_always, NULL), 0);
	for (int i = 0; i < FORKS; i++) {
		const pid_t pid = fork();

		if (pid == 0) {
			alarm(CHILD_SECONDS_MAX);
			_exit(walk_in_child());
		}
		went_well += wait_for(pid) == 0;
	}
	CHECK_EQ(went_well, FORKS);
	atomic_store(&stop, true);
	CHECK_EQ(pthread_join(compiler, NULL), 0);
	atomic_store(&stop, false);
}

/* A child made behind the C library's back while another thread holds the lock: it has no new rules, and
 * never waits. */
static void test_raw_fork(void)
{
	struct holder holder;

	start_holder(&holder, take_lock, give_lock_back);
	CHECK(holder_has_lock);
	for (int i = 0; i < 3; i++) {
		const pid_t pid = (pid_t)syscall(SYS_fork);

		if (pid == 0) {
			alarm(CHILD_SECONDS_MAX);
			hm_unwind_rules_attach(NULL);
			hm_unwind_rules_before_unload();
			hm_unwind_rules_after_unload();
			for (int j = 0; j < 10000; j++)
				if (kind_of(new_pc()) != HM_RULE_NONE)
					_exit(1);
			_exit(kind_of((uintptr_t)rule_entry) == HM_RULE_STANDARD ? 0 : 2);
		}
		CHECK_EQ(wait_for(pid), 0);
	}
	stop_holder(&holder);
}

static sigjmp_buf jump;

static void leave(int number)
{
	(void)number;
	siglongjmp(jump, 1);
}

/* Handlers that leave by longjmp, at any moment of compiling. */
static void test_longjmp(void)
{
	enum { JUMPS = 100 };
	const struct itimerval once = { { 0, 0 }, { 0, 300 } };
	static volatile int jumps;
	const struct sigaction action = { .sa_handler = leave };

	CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
	for (jumps = 0; jumps < JUMPS; jumps++) {
		if (sigsetjmp(jump, 1) != 0)
			continue;
		CHECK_EQ(setitimer(ITIMER_REAL, &once, NULL), 0);
		for (;;)
			if (kind_of(new_pc()) == HM_RULE_NONE)
				_exit(1);
	}
	CHECK(kind_of(new_pc()) != HM_RULE_NONE);
}

static int walk_and_check(void *argument)
{
	struct hm_stack_bounds bounds = { 0 };
	uint64_t frames[FRAMES_MAX];
	const struct hm_walk walk = hm_frames_walk(&bounds, NULL, frames, FRAMES_MAX);
	atomic_int *const wrong_count = argument;

	if (walk.end != HM_WALK_COMPLETE || walk.frame_count < 3 || hm_frame_module(frames[0]) == 0)
		atomic_fetch_add(wrong_count, 1);
	return (int)hm_frame_module(frames[1]);
}

static void *walk_always(void *argument)
{
	while (!atomic_load(&stop)) {
		(void)walk_and_check(argument);
		(void)hm_unwind_rule_find(new_pc());
	}
	return NULL;
}

/* Eight threads walk and compile while plug-ins come and go. */
static void test_threads(void)
{
	enum { THREADS = 8, ROUNDS = 100 };
	pthread_t threads[THREADS];
	atomic_int wrong_count = 0;
	int modules[2] = { 0 };

	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, walk_always, &wrong_count), 0);
	for (int round = 0; round < ROUNDS; round++) {
		const int twin = round % 2;
		void *const plugin = plugin_open(twin == 0 ? "twin_1.so" : "twin_2.so");
		int (*const call)(int (*)(void *), void *) = plugin_find(plugin, "twin_call");
		const int module = call(walk_and_check, &wrong_count) - twin - 1;

		if (round < 2)
			modules[twin] = module;
		CHECK_EQ(module, modules[twin]);
		CHECK_EQ(dlclose(plugin), 0);
		hm_unwind_rules_before_unload();
		hm_unwind_rules_after_unload();
	}
	CHECK(modules[0] != modules[1]);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	atomic_store(&stop, false);
	CHECK_EQ(wrong_count, 0);
}

static int lowest_free_descriptor(void)
{
	const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(descriptor);
	return descriptor;
}

static int descriptor_count(void)
{
	int count = 0;

	for (int descriptor = 0; descriptor < 1024; descriptor++)
		count += fcntl(descriptor, F_GETFD) != -1;
	return count;
}

/* The program finds its descriptors and its signal mask as they were. */
static void test_init(void)
{
	const int lowest = lowest_free_descriptor();
	const int count = descriptor_count();
	sigset_t before = { 0 };
	sigset_t after = { 0 };

	CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &before), 0);
	errno = 4711;
	hm_unwind_rules_init();
	(void)hm_unwind_rule_find(new_pc());
	CHECK_EQ(errno, 4711);
	CHECK(dlerror() == NULL);
	CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &after), 0);
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
	CHECK_EQ(lowest_free_descriptor(), lowest);
	CHECK_EQ(descriptor_count(), count);

	/* Nothing of libunwind is visible to the program. */
	CHECK(dlsym(RTLD_DEFAULT, "_Ux86_64_step") == NULL);
	CHECK(dlsym(RTLD_DEFAULT, "unw_backtrace") == NULL);
}

int main(void)
{
	atomic_store(&next_pc, (uintptr_t)plugin_find(RTLD_DEFAULT, "qsort"));
	test_init();
	test_shapes();
	test_growth();
	test_forgetting();
	test_forgetting_pages();
	test_waiting();
	test_not_waiting();
	test_fork();
	test_raw_fork();
	test_longjmp();
	test_threads();
	test_waiting_in_vain();
	return check_result();
}
