// SPDX-License-Identifier: Apache-2.0
/*
 * The stack walk, held against libunwind's own unw_backtrace frame by frame, on frames of every shape that
 * could be thought of; and on broken stacks, where it has to stop and to say so.
 */
#include "preload/frames.h"
#include "preload/trail.h"
#include "preload/unwind_rules.h"
#include "proto/ledger.h"

#include "tests/unit/check.h"
#include "tests/unit/hand_written.h"
#include "tests/unit/plugin.h"
#include "tests/unit/plugins/shapes.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { FRAMES_MAX = 128 };

extern const char _start[]; /* where the process begins */

static int (*libunwind_backtrace)(void **, int);
static _Thread_local struct hm_stack_bounds bounds;

/* What the visits of one test saw, added up. */
struct visits {
	int count;
	int complete;
	int cut;
	int truncated;
	int different;   /* not the stack that libunwind finds, or not the same with a trail */
	int followed;    /* by a trail that had the whole stack or a part of it */
	uint32_t frames; /* of the last */
	uint64_t last[FRAMES_MAX];
};

static void add(struct visits *visits, const struct hm_walk *walk)
{
	visits->count++;
	visits->complete += walk->end == HM_WALK_COMPLETE;
	visits->cut += walk->end == HM_WALK_CUT;
	visits->truncated += walk->end == HM_WALK_TRUNCATED;
	visits->frames = walk->frame_count;
}

static enum hm_rule_kind kind_of(uint64_t frame)
{
	return (enum hm_rule_kind)hm_unwind_rule_find(hm_frame_address(frame)).kind;
}

/* libunwind reports return addresses, we the calls before them; what a signal interrupted is no call. */
static bool is_same_frame(const uint64_t *ours, void *const *theirs, uint32_t index)
{
	const bool is_interrupted = kind_of(ours[index - 1]) == HM_RULE_SIGNAL;

	return hm_frame_address(ours[index]) + !is_interrupted == (uintptr_t)theirs[index];
}

static void show(const uint64_t *ours, uint32_t our_count, void *const *theirs, int their_count)
{
	for (uint32_t i = 0; i < our_count || (int)i < their_count; i++) {
		const uintptr_t our_address = i < our_count ? hm_frame_address(ours[i]) : 0;
		void *const their_address = (int)i < their_count ? theirs[i] : NULL;
		Dl_info info = { 0 };

		(void)dladdr((void *)(our_address != 0 ? our_address : (uintptr_t)their_address), &info);
		fprintf(stderr, "\t%2u  %12lx rule %d  %12p  %s\n", i, our_address,
			our_address != 0 ? (int)kind_of(ours[i]) : -1, their_address,
			info.dli_sname != NULL ? info.dli_sname : "?");
	}
}

/* With a trail the stack has to be the same. */
__attribute__((noinline)) static bool is_same_by_trail(struct visits *visits, const void *own_frame,
						       const struct hm_walk *walk)
{
	struct hm_trail *const trail = hm_trail_claim(bounds.high);
	struct hm_walk helped;
	bool is_same = true;

	CHECK(trail != NULL);
	if (hm_frames_walk_trail(&bounds, own_frame, trail, FRAMES_MAX - 1, &helped)) {
		const uint64_t *const frames = hm_trail_frames_of(trail, &helped);

		/* The other walk has one frame more: the function that is called with own_frame. */
		is_same = helped.end == walk->end && helped.frame_count == walk->frame_count - 1 &&
			  memcmp(frames, visits->last + 1, helped.frame_count * sizeof(*frames)) == 0;
		visits->followed += helped.is_kept && trail->joint < HM_FRAMES_MAX;
	}
	hm_trail_release(trail);
	return is_same;
}

/* Walks and compares.  The first frame is this function's own: called from two places of it, it differs. */
__attribute__((noinline)) static void visit(void *argument)
{
	struct visits *const visits = argument;
	void *theirs[FRAMES_MAX];
	const int their_count = libunwind_backtrace(theirs, FRAMES_MAX);
	const struct hm_walk walk = hm_frames_walk(&bounds, NULL, visits->last, FRAMES_MAX);
	bool is_same = walk.frame_count == (uint32_t)their_count;

	for (uint32_t i = 1; i < walk.frame_count && is_same; i++)
		is_same = is_same_frame(visits->last, theirs, i);
	is_same = is_same && is_same_by_trail(visits, __builtin_frame_address(0), &walk);
	if (!is_same && visits->different++ == 0)
		show(visits->last, walk.frame_count, theirs, their_count);
	add(visits, &walk);
}

__attribute__((noinline)) static void add_alone(struct visits *visits, const void *own_frame,
						struct hm_walk walk)
{
	visits->different += !is_same_by_trail(visits, own_frame, &walk);
	add(visits, &walk);
}

/* Walks where libunwind would fault, or differ. */
__attribute__((noinline)) static void visit_alone(void *argument)
{
	struct visits *const visits = argument;
	const struct hm_walk walk = hm_frames_walk(&bounds, NULL, visits->last, FRAMES_MAX);

	add_alone(visits, __builtin_frame_address(0), walk);
}

static void check_same_and_complete(const struct visits *visits, int count)
{
	CHECK_EQ(visits->count, count);
	CHECK_EQ(visits->different, 0);
	CHECK_EQ(visits->complete, count);
	CHECK(visits->frames > 3);
}

__attribute__((noinline)) static void here(struct visits *visits)
{
	visit(visits);
	__asm__ volatile("");
}

static void test_here(void)
{
	struct visits visits = { 0 };

	here(&visits);
	check_same_and_complete(&visits, 1);

	/* Innermost first, and the address of the call, not of what follows it. */
	CHECK((uintptr_t)visit < hm_frame_address(visits.last[0]));
	CHECK((uintptr_t)here < hm_frame_address(visits.last[1]) &&
	      hm_frame_address(visits.last[1]) < (uintptr_t)here + 100);
	CHECK((uintptr_t)_start < hm_frame_address(visits.last[visits.frames - 1]) &&
	      hm_frame_address(visits.last[visits.frames - 1]) < (uintptr_t)_start + 100);

	for (uint32_t i = 0; i < visits.frames; i++)
		CHECK(hm_frame_module(visits.last[i]) != 0);
}

/* Each of these is the same source, built with other options. */
static void test_shapes(void)
{
	static const char *const plugins[] = {
		"shapes_o0.so", "shapes_o2.so", "shapes_fp.so", "shapes_realign.so", "shapes_stripped.so",
	};

	for (size_t i = 0; i < sizeof(plugins) / sizeof(plugins[0]); i++) {
		void *const plugin = plugin_open(plugins[i]);
		void (*const run)(visit_function *, void *) = plugin_find(plugin, "shapes_run");
		struct visits visits = { 0 };

		run(visit, &visits);
		run(visit, &visits); /* now every rule is known */
		check_same_and_complete(&visits, 2 * SHAPES_COUNT);
		CHECK(hm_frame_module(visits.last[1]) != hm_frame_module(visits.last[0]));
	}
}

static void test_exceptions(void)
{
	int (*const run)(visit_function *, void *) = plugin_find(plugin_open("throws.so"), "throws_run");
	struct visits visits = { 0 };

	CHECK_EQ(run(visit, &visits), 7);
	check_same_and_complete(&visits, 7);
	CHECK_EQ(run(visit, &visits), 7);
	check_same_and_complete(&visits, 14);
}

static struct visits signal_visits; /* by handlers, since a test began */
static volatile sig_atomic_t signals_handled;

static void handle(int number)
{
	const int saved_errno = errno;

	(void)number;
	visit(&signal_visits);
	signals_handled++;
	errno = saved_errno;
}

static void set_handler(int number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	CHECK_EQ(sigaction(number, &action, NULL), 0);
}

static void test_raise(int flags)
{
	signal_visits = (struct visits){ 0 };
	set_handler(SIGUSR1, handle, flags);
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(raise(SIGUSR1), 0);
	check_same_and_complete(&signal_visits, 2);
}

/* Something that passes through many kinds of instruction: string functions, the PLT, prologues. */
static int work(void)
{
	static char text[500];
	static int numbers[50];
	int sum = 0;

	memset(text, 'a', sizeof(text) - 1);
	for (int i = 0; i < 50; i++)
		numbers[i] = (i * 7919) % 101;
	sum += (int)strlen(text) + snprintf(text, sizeof(text), "%d %f", numbers[3], 1.5);
	sum += memchr(text, 'z', sizeof(text)) != NULL;
	free(malloc(100));
	return sum;
}

static void test_interrupted(int flags)
{
	enum { SIGNALS = 300 };
	const struct itimerval often = { { 0, 500 }, { 0, 500 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };

	signal_visits = (struct visits){ 0 };
	signals_handled = 0;
	set_handler(SIGALRM, handle, flags);
	CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (signals_handled < SIGNALS)
		(void)work();
	CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
	check_same_and_complete(&signal_visits, signals_handled);
}

/* Wherever on its page the stack of the interrupted function ends. */
static void test_about_to_return(void)
{
	enum { PAGE_BYTES = 4096, ALIGNMENT = 16, PLACES = PAGE_BYTES / ALIGNMENT };

	signal_visits = (struct visits){ 0 };
	set_handler(SIGTRAP, handle, SA_ONSTACK);
	for (int place = 0; place < PLACES; place++) {
		char *const room = __builtin_alloca(ALIGNMENT);

		__asm__ volatile("" ::"r"(room) : "memory");
		hand_written_trap();
	}
	check_same_and_complete(&signal_visits, PLACES);
}

/* In main. */
static bool is_of_this_stack(const struct hm_stack_bounds *of)
{
	const uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	return of->low < here + 4096 && of->high > here && of->high <= (uintptr_t)environ + 4096;
}

static void test_signals(void)
{
	enum { STACK_BYTES = 256 * 1024 };
	const stack_t alternate = { .ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES };
	const stack_t none = { .ss_flags = SS_DISABLE };

	test_raise(0);
	test_interrupted(0);
	CHECK_EQ(sigaltstack(&alternate, NULL), 0);
	test_raise(SA_ONSTACK);
	test_interrupted(SA_ONSTACK);
	test_about_to_return();

	/* What is kept is of the thread's own stack, which stays. */
	CHECK(is_of_this_stack(&bounds));
	CHECK_EQ(sigaltstack(&none, NULL), 0);
	free(alternate.ss_sp);
}

__attribute__((noinline)) static int recurse(int depth, visit_function *called, struct visits *visits)
{
	int result = 0;

	if (depth == 0)
		called(visits);
	else
		result = recurse(depth - 1, called, visits) + 1;
	__asm__ volatile("");
	return result;
}

static void *recurse_deep(void *argument)
{
	(void)recurse(100000, visit, argument);
	return NULL;
}

static void run_thread(void *(*body)(void *), void *argument, size_t stack_bytes)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	CHECK_EQ(pthread_attr_setstacksize(&attributes, stack_bytes), 0);
	CHECK_EQ(pthread_create(&thread, &attributes, body, argument), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attributes);
}

static void test_deep_recursion(void)
{
	struct visits visits = { 0 };

	run_thread(recurse_deep, &visits, 256 << 20);
	CHECK_EQ(visits.count, 1);
	CHECK_EQ(visits.different, 0);
	CHECK_EQ(visits.cut, 1);
	CHECK_EQ(visits.frames, FRAMES_MAX);
}

/* A recursion that is met at each level.  Returns how often its stack was not known from the walk before. */
__attribute__((noinline)) static int recurse_and_walk(int levels, struct hm_stack_bounds *known)
{
	const uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
	uint64_t frames[8];
	const struct hm_walk walk = hm_frames_walk(known, NULL, frames, sizeof(frames) / sizeof(frames[0]));
	int missed = sp < known->low || sp >= known->high || walk.end == HM_WALK_TRUNCATED;

	if (levels > 0)
		missed += recurse_and_walk(levels - 1, known);
	return missed + (frames[0] == 0); /* no tail call */
}

static void *grow_beyond_known(void *argument)
{
	struct hm_stack_bounds known = { 0 };
	uint64_t frames[FRAMES_MAX];
	int *const missed = argument;

	CHECK_EQ(hm_frames_walk(&known, NULL, frames, FRAMES_MAX).end, HM_WALK_COMPLETE);
	*missed = recurse_and_walk(2000, &known);
	return NULL;
}

/* Walks that are cut make the stack known, too, where they lead onto what is known of it. */
static void test_growing_beyond_known(void)
{
	int missed = -1;

	run_thread(grow_beyond_known, &missed, 4 << 20);
	CHECK_EQ(missed, 0);
}

/* Functions that go on in one another at random, with frames of different shapes and from different places.
 */
struct wandering {
	struct visits visits;
	uint64_t random;
	int steps;
};

static uint64_t next_random(struct wandering *wandering)
{
	wandering->random = wandering->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return wandering->random >> 33;
}

static unsigned wander(struct wandering *wandering, int depth);

/* Keeps a frame pointer, since its frame has a size that is known when it runs. */
__attribute__((noinline)) static unsigned wander_with_room(struct wandering *wandering, int depth)
{
	char *const room = __builtin_alloca(next_random(wandering) % 3 * 48 + 16);

	room[0] = (char)depth;
	return wander(wandering, depth) + (unsigned)room[0];
}

/* Its caller's FP is a variable here, and has another value each time. */
__attribute__((noinline)) static unsigned wander_with_variable(struct wandering *wandering, int depth)
{
	uint64_t variable = next_random(wandering);
	unsigned sum = 0;

	for (int turn = 0; turn < 2; turn++) {
		__asm__ volatile("" : "+b"(variable));
		sum += wander(wandering, depth) + (unsigned)variable;
		variable++;
	}
	return sum;
}

__attribute__((noinline)) static unsigned wander_realigned(struct wandering *wandering, int depth)
{
	_Alignas(64) volatile char aligned[64] = { 0 };

	return wander(wandering, depth) + (unsigned)aligned[depth % 64];
}

__attribute__((noinline)) static unsigned wander(struct wandering *wandering, int depth)
{
	static unsigned (*const ways[3])(struct wandering *, int) = { wander_with_room, wander_with_variable,
								      wander_realigned };
	unsigned sum = 0;

	for (uint64_t turns = next_random(wandering) % 4; turns > 0 && wandering->steps > 0; turns--) {
		wandering->steps--;
		/* One place that calls them all: the return address does not tell them apart. */
		if (depth == 0 || next_random(wandering) % 4 == 0)
			visit(&wandering->visits);
		else
			sum += ways[next_random(wandering) % 3](wandering, depth - 1);
		__asm__ volatile("");
	}
	return sum;
}

/* Walks that have much, little, and nothing in common with the one before. */
static void test_wandering(void)
{
	struct wandering wandering = { .random = 4711, .steps = 200000 };
	unsigned sum = 0;

	while (wandering.steps > 0)
		sum += wander(&wandering, 24);
	__asm__ volatile("" : : "r"(sum));
	CHECK(wandering.visits.count > 20000);
	check_same_and_complete(&wandering.visits, wandering.visits.count);
	/* Realigned frames are met behind the step over them; nearly all walks find the trail somewhere. */
	CHECK(wandering.visits.followed > wandering.visits.count / 10 * 9);
}

/* The same walk again is told from others, and another ledger starts anew. */
static void test_same_again(void)
{
	struct visits visits = { 0 };
	struct hm_trail *trail;

	here(&visits);
	trail = hm_trail_claim(bounds.high);
	trail->stack_unit = 17;
	hm_trail_release(trail);
	for (int turn = 0; turn < 3; turn++) /* from one place, so the second is the same as the first */
		here(&visits);
	trail = hm_trail_claim(bounds.high);
	CHECK_EQ(trail->stack_unit, 0); /* the first was another */
	trail->stack_unit = 18;
	CHECK(hm_trail_claim(bounds.high) == NULL);
	hm_trails_reset();
	trail = hm_trail_claim(bounds.high);
	CHECK(trail != NULL);
	CHECK_EQ(trail->stack_unit, 0);
	CHECK_EQ(trail->kept_count, 0);
	hm_trail_release(trail);
}

/* While an object may be going, nothing is remembered; and what was, is forgotten. */
static void test_unloading(void)
{
	struct visits visits = { 0 };
	struct hm_trail *trail;

	here(&visits);
	hm_unwind_rules_before_unload();
	CHECK(hm_trail_claim(bounds.high) == NULL);
	hm_unwind_rules_after_unload();
	trail = hm_trail_claim(bounds.high);
	CHECK(trail != NULL);
	CHECK_EQ(trail->kept_count, 0);
	hm_trail_release(trail);
}

/* The same with a trail that keeps the whole walk, from the caller of `own_frame`. */
static void check_frames_max(const void *own_frame, const uint64_t *frames, uint32_t count)
{
	for (uint32_t max = count; max > 0; max--) {
		struct hm_trail *const trail = hm_trail_claim(bounds.high);
		struct hm_walk walk = { 0 };

		CHECK(hm_frames_walk_trail(&bounds, own_frame, trail, max, &walk));
		CHECK_EQ(walk.frame_count, max);
		CHECK_EQ(walk.end, max < count ? HM_WALK_CUT : HM_WALK_COMPLETE);
		CHECK_EQ(memcmp(hm_trail_frames_of(trail, &walk), frames, max * sizeof(*frames)), 0);
		CHECK_EQ(trail->kept_count, max);
		hm_trail_release(trail);
	}
}

/* No more frames than asked for, and the end is known from the last of them. */
static void test_frames_max(void)
{
	uint64_t all[FRAMES_MAX];
	uint64_t some[FRAMES_MAX + 1];
	const uint32_t count = hm_frames_walk(&bounds, NULL, all, FRAMES_MAX).frame_count;

	for (uint32_t max = 1; max <= count; max++) {
		memset(some, 0xee, sizeof(some));

		const struct hm_walk walk = hm_frames_walk(&bounds, NULL, some, max);

		CHECK_EQ(walk.frame_count, max);
		CHECK_EQ(walk.end, max < count ? HM_WALK_CUT : HM_WALK_COMPLETE);
		CHECK_EQ(memcmp(all + 1, some + 1, (max - 1) * sizeof(all[0])), 0);
		CHECK_EQ(some[max], UINT64_C(0xeeeeeeeeeeeeeeee));
	}
	check_frames_max(__builtin_frame_address(0), all + 1, count - 1);
}

static bool walk_by_trail(const void *own_frame, uint32_t frames_max, struct hm_walk *ret_walk,
			  struct hm_trail **ret_trail)
{
	struct hm_trail *const trail = hm_trail_claim(bounds.high);
	const bool is_walked = hm_frames_walk_trail(&bounds, own_frame, trail, frames_max, ret_walk);

	hm_trail_release(trail);
	*ret_trail = trail;
	return is_walked;
}

/* A walk that was cut is followed again to where it was, and there is no caller any more. */
static void test_lost_beyond_cut(void)
{
	enum { KEPT = 2 };
	const void *const own_frame = __builtin_frame_address(0);
	struct hm_trail *trail;
	struct hm_walk walk = { 0 };

	CHECK(walk_by_trail(own_frame, FRAMES_MAX, &walk, &trail));
	CHECK_EQ(walk.end, HM_WALK_COMPLETE);
	CHECK(walk.frame_count > KEPT);

	volatile uintptr_t *const return_address =
		(uintptr_t *)trail->kept.sps[hm_trail_start(trail) + KEPT] - 1;
	const uintptr_t saved = *return_address;

	CHECK(walk_by_trail(own_frame, KEPT, &walk, &trail));
	CHECK_EQ(walk.end, HM_WALK_CUT);
	CHECK_EQ(trail->kept_count, KEPT);
	*return_address = 1;

	const bool is_walked = walk_by_trail(own_frame, KEPT, &walk, &trail);

	*return_address = saved;
	CHECK(!is_walked);
	CHECK_EQ(trail->kept_count, 0);
	CHECK(walk_by_trail(own_frame, KEPT, &walk, &trail));
	CHECK_EQ(walk.end, HM_WALK_CUT);
	CHECK(walk_by_trail(own_frame, KEPT, &walk, &trail));
	CHECK_EQ(walk.end, HM_WALK_CUT);
	CHECK(walk.is_kept);
}

static void test_errno(void)
{
	uint64_t frames[FRAMES_MAX];
	struct hm_stack_bounds none = { 0 }; /* so that system calls are made */

	errno = 4711;
	(void)hm_frames_walk(&none, NULL, frames, FRAMES_MAX);
	CHECK_EQ(errno, 4711);
}

/* What RBP holds in a test of a broken stack. */
struct broken {
	struct visits visits;
	uintptr_t frame_pointer;
};

static void lose_frame_pointer(void *argument)
{
	struct broken *const broken = argument;

	hand_written_lost_fp(visit_alone, &broken->visits, broken->frame_pointer);
	__asm__ volatile("");
}

static void check_truncated(const struct visits *visits, uint32_t frames_min)
{
	CHECK_EQ(visits->count, 1);
	CHECK_EQ(visits->truncated, 1);
	CHECK(visits->frames >= frames_min);
	CHECK(visits->frames < 10);
}

/* Frame pointers that lead nowhere, or where they should not. */
static void test_broken_frame_pointers(void)
{
	static uintptr_t not_on_the_stack[4];
	uintptr_t circle_of_rules[4] = { (uintptr_t)circle_of_rules, (uintptr_t)rule_on_fp + 1 };
	uintptr_t circle[4] = { (uintptr_t)circle, (uintptr_t)hand_written_no_cfi + 8 };
	uintptr_t nonsense[4] = { 1, 8 };
	const uintptr_t values[] = {
		1,
		8,
		4096,
		0x123457,
		(uintptr_t)not_on_the_stack,
		(uintptr_t)test_here,
		(uintptr_t)nonsense,
		(uintptr_t)circle,
		(uintptr_t)circle + 1,
		(uintptr_t)circle_of_rules,
		UINT64_C(0x00007ffffffff000), /* the first page that is never there */
		UINT64_C(0x0000800000000000), /* and the first address */
		UINT64_C(0x8000000000000000),
		UINT64_MAX - 15,
		UINT64_MAX - 7,
		UINT64_MAX,
	};
	void (*const call)(visit_function *, void *) =
		plugin_find(plugin_open("shapes_fp.so"), "shapes_call");

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct broken lying = { .frame_pointer = values[i] };
		struct broken lost = { .frame_pointer = values[i] };
		struct broken unknown = { .frame_pointer = values[i] };

		hand_written_lying_fp(visit_alone, &lying.visits, values[i]);
		check_truncated(&lying.visits, 2);

		/* Three frames count from SP; the next is the plug-in's, which counts from FP. */
		call(lose_frame_pointer, &lost);
		check_truncated(&lost.visits, 3);

		hand_written_no_cfi_no_fp(visit_alone, &unknown.visits, values[i]);
		check_truncated(&unknown.visits, 2);
	}
}

/* Frames of code without call-frame information are followed by their frame pointers, in a file or made at
 * run time. */
static void test_no_information(void)
{
	const size_t code_bytes =
		(size_t)(hand_written_no_cfi_end - (const char *)(uintptr_t)hand_written_no_cfi);
	void *const code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*made)(visit_function *, void *);
	struct visits visits = { 0 };

	hand_written_no_cfi(visit, &visits);
	check_same_and_complete(&visits, 1);
	CHECK(hm_frame_module(visits.last[1]) == hm_frame_module(visits.last[0]));

	CHECK(code != MAP_FAILED);
	memcpy(code, (const void *)(uintptr_t)hand_written_no_cfi, code_bytes);
	CHECK_EQ(mprotect(code, 4096, PROT_READ | PROT_EXEC), 0);
	memcpy(&made, &code, sizeof(made));
	made(visit, &visits);
	check_same_and_complete(&visits, 2);
	CHECK(hm_frame_address(visits.last[1]) - (uintptr_t)code < code_bytes);
	CHECK_EQ(hm_frame_module(visits.last[1]), 0);
	munmap(code, 4096);

	/* A frame pointer of 0 is the mark of an outermost frame. */
	visits = (struct visits){ 0 };
	hand_written_no_cfi_no_fp(visit_alone, &visits, 0);
	CHECK_EQ(visits.complete, 1);
	CHECK_EQ(visits.frames, 2);
}

static void visit_in_complex(void *argument)
{
	hand_written_on_rbx(visit, argument);
	__asm__ volatile("");
}

static void visit_in_complex_alone(void *argument)
{
	hand_written_on_rbx(visit_alone, argument);
	__asm__ volatile("");
}

static void raise_signal(void *argument)
{
	(void)argument;
	CHECK_EQ(raise(SIGUSR1), 0);
}

static void handle_in_complex(int number)
{
	(void)number;
	visit_in_complex(&signal_visits);
}

/* Frames that no rule describes: these walks take all registers. */
static void test_complex(void)
{
	void (*const run)(visit_function *, void *) = plugin_find(plugin_open("shapes_o2.so"), "shapes_run");
	struct visits visits = { 0 };

	hand_written_on_rbx(visit, &visits);
	check_same_and_complete(&visits, 1);
	hand_written_on_rbx(visit_in_complex, &visits);
	check_same_and_complete(&visits, 2);
	run(visit_in_complex, &visits);
	check_same_and_complete(&visits, 2 + SHAPES_COUNT);

	signal_visits = (struct visits){ 0 };
	set_handler(SIGUSR1, handle, 0);
	hand_written_on_rbx(raise_signal, NULL);
	check_same_and_complete(&signal_visits, 1);
	set_handler(SIGUSR1, handle_in_complex, 0);
	raise_signal(NULL);
	check_same_and_complete(&signal_visits, 2);
}

static jmp_buf behind_no_return;

static void visit_in_complex_and_leave(void *argument)
{
	visit_in_complex(argument);
	longjmp(behind_no_return, 1);
}

static void visit_alone_in_complex_and_leave(void *argument)
{
	hand_written_on_rbx(visit_alone, argument);
	longjmp(behind_no_return, 1);
}

/* What is behind a complex frame: walks by all registers meet what walks by rules do. */
static void test_beyond_complex(void)
{
	static struct visits visits;
	uintptr_t far[2 * HM_GUESSED_FRAME_MAX / sizeof(uintptr_t)] = { 0 };

	/* The return address belongs to the next function, the call does not. */
	if (setjmp(behind_no_return) == 0)
		hand_written_last_call(visit_in_complex_and_leave, &visits);
	check_same_and_complete(&visits, 1);

	/* What was interrupted is at the next instruction, not in a call. */
	signal_visits = (struct visits){ 0 };
	set_handler(SIGTRAP, handle_in_complex, 0);
	hand_written_trap_before();
	check_same_and_complete(&signal_visits, 1);

	/* Nowhere to return to. */
	visits = (struct visits){ 0 };
	if (setjmp(behind_no_return) == 0)
		hand_written_no_return(visit_alone_in_complex_and_leave, &visits);
	CHECK_EQ(visits.count, 1);
	CHECK_EQ(visits.complete, 1);
	CHECK(visits.frames < 6);

	/* Without information, a frame pointer that leads far away is not believed. */
	far[sizeof(far) / sizeof(far[0]) - 2] = 0;
	far[sizeof(far) / sizeof(far[0]) - 1] = (uintptr_t)hand_written_no_cfi_end;
	visits = (struct visits){ 0 };
	hand_written_no_cfi_no_fp(visit_in_complex_alone, &visits,
				  (uintptr_t)&far[sizeof(far) / sizeof(far[0]) - 2]);
	CHECK_EQ(visits.count, 1);
	CHECK_EQ(visits.truncated, 1);
	CHECK_EQ(visits.frames, 4);
}

static void recurse_in_complex(void *argument)
{
	(void)recurse(FRAMES_MAX, visit, argument);
}

static void test_complex_frames_max(void)
{
	struct visits visits = { 0 };

	hand_written_on_rbx(recurse_in_complex, &visits); /* never gets there */
	CHECK_EQ(visits.cut, 1);
	CHECK_EQ(visits.different, 0);

	visits = (struct visits){ 0 };
	(void)recurse(FRAMES_MAX, visit_in_complex, &visits);
	CHECK_EQ(visits.cut, 1);
	CHECK_EQ(visits.different, 0);
	CHECK_EQ(visits.frames, FRAMES_MAX);
}

/* Compiles rules nobody has asked for before: 50 in each call. */
static void compile_new_rules(void)
{
	enum { CALLS_MAX = 100, RULES = 50 };
	static int calls;
	/* Any address will do for a rule, whether an instruction begins there or not. */
	const uintptr_t start =
		(uintptr_t)plugin_find(RTLD_DEFAULT, "qsort") + (uintptr_t)(calls++ % CALLS_MAX) * RULES;

	for (int i = 0; i < RULES; i++)
		CHECK(hm_unwind_rule_find(start + (uintptr_t)i).kind != HM_RULE_NONE);
}

enum { SMALL_STACK_BYTES = 16 * 1024 };

static void *walk_and_compile(void *argument)
{
	compile_new_rules();
	visit(argument);
	return NULL;
}

static void test_small_thread(void)
{
	struct visits visits = { 0 };

	run_thread(walk_and_compile, &visits, SMALL_STACK_BYTES);
	check_same_and_complete(&visits, 1);
}

static void *walk(void *argument)
{
	visit_alone(argument);
	return NULL;
}

static ucontext_t coroutine_caller;
static void *(*coroutine_body)(void *);
static struct visits coroutine_visits;

static void coroutine(void)
{
	(void)coroutine_body(&coroutine_visits);
}

static char *make_stack(void)
{
	char *const stack =
		mmap(NULL, SMALL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED);
	return stack;
}

static void run_coroutine_on(char *stack, size_t stack_bytes, void *(*body)(void *))
{
	ucontext_t context;

	coroutine_body = body;
	CHECK_EQ(getcontext(&context), 0);
	context.uc_stack.ss_sp = stack;
	context.uc_stack.ss_size = stack_bytes;
	context.uc_link = &coroutine_caller;
	makecontext(&context, coroutine, 0);
	CHECK_EQ(swapcontext(&coroutine_caller, &context), 0);
}

static void run_coroutine(char *stack, void *(*body)(void *))
{
	run_coroutine_on(stack, SMALL_STACK_BYTES, body);
}

/*
 * Coroutines come and go: nothing of their stacks is kept, for the next walk may find something else there,
 * or nothing.  A walk is complete with the address that makecontext has left, in front of which there is no
 * call.
 */
static void test_coroutines(void)
{
	struct visits visits = { 0 };

	visit(&visits);
	for (int i = 1; i <= 3; i++) {
		char *const stack = make_stack();

		run_coroutine(stack, walk_and_compile);
		CHECK(is_of_this_stack(&bounds));
		CHECK_EQ(coroutine_visits.count, i);
		CHECK_EQ(coroutine_visits.complete, i);
		CHECK_EQ(coroutine_visits.different, 0);
		CHECK(coroutine_visits.frames >= 3 && coroutine_visits.frames < 6);
		munmap(stack, SMALL_STACK_BYTES);
		visit(&visits);
		check_same_and_complete(&visits, i + 1);
	}
}

/* The frame pointer of a coroutine that was made nearby is its maker's: not a frame that called it. */
static void test_coroutine_nearby(void)
{
	char room[SMALL_STACK_BYTES];
	char *const on_this_stack = room + (16 - (uintptr_t)room % 16) % 16;

	coroutine_visits = (struct visits){ 0 };
	run_coroutine_on(on_this_stack, SMALL_STACK_BYTES - 16, walk);
	CHECK_EQ(coroutine_visits.complete, 1);
	CHECK(coroutine_visits.frames >= 3 && coroutine_visits.frames < 6);
}

static void *do_nothing(void *argument)
{
	return argument;
}

static void *compile(void *argument)
{
	compile_new_rules();
	return argument;
}

/* How much of a painted stack is written on. */
static long stack_use(char *stack, void *(*body)(void *))
{
	enum { PAINT = 0x5a };
	long unused_bytes = 0;

	memset(stack, PAINT, SMALL_STACK_BYTES);
	run_coroutine(stack, body);
	while (unused_bytes < SMALL_STACK_BYTES && stack[unused_bytes] == PAINT)
		unused_bytes++;
	return SMALL_STACK_BYTES - unused_bytes;
}

/* What preload/frames.h promises; sanitizers put something between all variables. */
static void test_stack_use(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	const long factor = 4;
#else
	const long factor = 1;
#endif
	char *const stack = make_stack();
	const long least = stack_use(stack, do_nothing);

	(void)stack_use(stack, walk);
	CHECK(stack_use(stack, walk) - least < 1024 * factor);
	CHECK(stack_use(stack, compile) - least < 2 * 1024 * factor); /* dlsym takes most of it */
	munmap(stack, SMALL_STACK_BYTES);
}

int main(void)
{
	void *const libunwind = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

	libunwind_backtrace = plugin_find(libunwind, "unw_backtrace");
	hm_unwind_rules_init();

	test_here();
	test_shapes();
	test_exceptions();
	test_signals();
	test_deep_recursion();
	test_growing_beyond_known();
	test_wandering();
	test_same_again();
	test_unloading();
	test_frames_max();
	test_lost_beyond_cut();
	test_errno();
	test_broken_frame_pointers();
	test_no_information();
	test_complex();
	test_complex_frames_max();
	test_beyond_complex();
	test_small_thread();
	test_coroutines();
	test_coroutine_nearby();
	test_stack_use();
	return check_result();
}
