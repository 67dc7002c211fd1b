// SPDX-License-Identifier: Apache-2.0
/* The stack of our own: who runs there, what is held off meanwhile, and that one can walk out of it. */
#include "preload/own_stack.h"

#include "preload/frames.h"
#include "preload/unwind_rules.h"
#include "proto/ledger.h"

#include "tests/unit/check.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

enum { STACK_BYTES = 16 * 1024, FRAMES_MAX = 64 };

static _Alignas(16) uint8_t stack[STACK_BYTES];

/* What a function saw that was called. */
struct visit {
	const uint8_t *place; /* where it ran */
	int cancel_state;
	bool holds_off_alarm;
	bool holds_off_faults;
	uint32_t frame_count;
	uint64_t frames[FRAMES_MAX];
	int theirs_count;
	void *theirs[FRAMES_MAX];
};

static bool is_held_off(int signal_number)
{
	sigset_t set;

	(void)pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, signal_number) == 1;
}

__attribute__((noinline)) static void look_around(void *argument)
{
	struct visit *const visit = argument;
	struct hm_stack_bounds bounds = { 0 };

	visit->place = __builtin_frame_address(0);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &visit->cancel_state);
	(void)pthread_setcancelstate(visit->cancel_state, NULL);
	visit->holds_off_alarm = is_held_off(SIGALRM) && is_held_off(SIGTERM) && is_held_off(SIGRTMAX);
	visit->holds_off_faults = is_held_off(SIGSEGV) || is_held_off(SIGTRAP) || is_held_off(SIGSYS);
	visit->frame_count = hm_frames_walk(&bounds, NULL, visit->frames, FRAMES_MAX).frame_count;
	visit->theirs_count = backtrace(visit->theirs, FRAMES_MAX);
	errno = EDOM;
}

static bool is_on(const void *base, size_t bytes, const uint8_t *place)
{
	return place >= (const uint8_t *)base && place < (const uint8_t *)base + bytes;
}

static void test_runs_there(void)
{
	struct visit visit = { 0 };

	hm_own_stack_call_on(stack, sizeof(stack), look_around, &visit);
	CHECK(is_on(stack, sizeof(stack), visit.place));
}

/* Frames of the caller's stack lie behind those of ours; libgcc, by the call-frame information, finds the
 * same. */
static void test_walks_lead_out(void)
{
	struct visit visit = { 0 };

	hm_own_stack_call_on(stack, sizeof(stack), look_around, &visit);
	CHECK(visit.frame_count > 4);
	CHECK(visit.theirs_count >= (int)visit.frame_count);
	/* From the outer end: the innermost of each is its own call, and a sanitizer has another in between.
	 */
	for (uint32_t index = 1; index < visit.frame_count && (int)index < visit.theirs_count; index++)
		CHECK_EQ(hm_frame_address(visit.frames[visit.frame_count - index]),
			 (uintptr_t)visit.theirs[visit.theirs_count - (int)index] - 1);
}

static void test_mapped(void)
{
	struct visit visit = { 0 };
	const uint8_t *const here = __builtin_frame_address(0);
	int state;

	errno = EILSEQ;
	hm_own_stack_call(look_around, &visit);
	CHECK_EQ(errno, EILSEQ);
	CHECK(!is_on(here - STACK_BYTES, STACK_BYTES, visit.place));
	CHECK_EQ(visit.cancel_state, PTHREAD_CANCEL_DISABLE);
	CHECK(visit.holds_off_alarm);
	CHECK(!visit.holds_off_faults);
	CHECK(!is_held_off(SIGALRM));
	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	CHECK_EQ(state, PTHREAD_CANCEL_ENABLE);
}

/* The function is called all the same, on the caller's stack. */
static void test_without_memory(void)
{
	const uint8_t *const here = __builtin_frame_address(0);
	struct visit visit = { 0 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) != 0)
		abort();

	const struct rlimit nothing = { .rlim_cur = 0, .rlim_max = limit.rlim_max };

	(void)backtrace(visit.theirs, 1); /* loads libgcc */
	CHECK_EQ(setrlimit(RLIMIT_AS, &nothing), 0);
	hm_own_stack_call(look_around, &visit);
	CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	CHECK(is_on(here - STACK_BYTES, STACK_BYTES, visit.place));
	CHECK_EQ(visit.cancel_state, PTHREAD_CANCEL_DISABLE);
	CHECK(visit.holds_off_alarm);
	CHECK(!is_held_off(SIGALRM));
}

/* A thread that is to be cancelled opens a file, and is not. */
static void open_and_close(void *argument)
{
	(void)close(dup(STDIN_FILENO));
	*(bool *)argument = true;
}

static void *be_cancelled(void *survived)
{
	(void)pthread_cancel(pthread_self());
	hm_own_stack_call(open_and_close, survived);
	pthread_testcancel();
	return NULL;
}

static void test_cancellation(void)
{
	bool survived = false;
	pthread_t thread;
	void *result;

	CHECK_EQ(pthread_create(&thread, NULL, be_cancelled, &survived), 0);
	CHECK_EQ(pthread_join(thread, &result), 0);
	CHECK(survived);
	CHECK(result == PTHREAD_CANCELED);
}

int main(void)
{
	hm_unwind_rules_init();
	test_runs_there();
	test_walks_lead_out();
	test_mapped();
	test_without_memory();
	test_cancellation();
	return check_result();
}
