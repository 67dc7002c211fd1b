// SPDX-License-Identifier: Apache-2.0
#include "preload/lifecycle.h"

#include "preload/exit_writer.h"
#include "preload/filter.h"
#include "preload/frames.h"
#include "preload/image.h"
#include "preload/map_recorder.h"
#include "preload/memory.h"
#include "preload/own_stack.h"
#include "preload/peak.h"
#include "preload/process.h"
#include "preload/sandbox.h"
#include "preload/say.h"
#include "preload/stacks.h"
#include "preload/thread.h"
#include "preload/trail.h"
#include "preload/unwind_rules.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Before the first start, and for good where even that fails. */
static struct hm_process no_process;
struct hm_process *hm_process = &no_process;

static struct hm_image image; /* written once, before the first process records */

struct hm_ledger_file hm_ledger = { .descriptor = -1 };

/* Not wiped either: of a family of processes that cannot write, one says so. */
static bool has_complained;

uint64_t hm_process_ticks(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * HM_TICKS_PER_SECOND +
	       (uint64_t)now.tv_nsec / (1000000000 / HM_TICKS_PER_SECOND);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void set_state(enum hm_process_state state)
{
	/* release: pairs with is_recording in the recorder; all of *hm_process is written */
	atomic_store_explicit(&hm_process->state, state, memory_order_release);
}

static uint64_t within_share_of(__rlimit_resource_t resource, uint64_t wanted_bytes)
{
	enum { SHARE = 16 };
	struct rlimit limit;

	if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	    limit.rlim_cur / SHARE > wanted_bytes)
		return wanted_bytes;
	return limit.rlim_cur / SHARE;
}

/*
 * Tight limits are the program's: the mapping of the ledger, which is mostly never touched, takes at most a
 * sixteenth.  RLIMIT_DATA counts it where it is anonymous memory, for want of a file.
 */
static uint64_t affordable_limit(uint64_t wanted_bytes)
{
	return within_share_of(RLIMIT_DATA, within_share_of(RLIMIT_AS, wanted_bytes));
}

/* What a fork child has of its parent, as that knew at the fork: our copy of its sums is of then. */
static uint64_t inherited_bytes(void)
{
	if (hm_ledger.base == NULL)
		return UINT64_MAX;

	const struct hm_ledger_header *const parent = hm_ledger_header(&hm_ledger);
	const uint64_t inuse_bytes = hm_peak_inuse_bytes();

	/* relaxed: statistics; what became of the parent since only makes us more careful */
	if (atomic_load_explicit(&parent->intervals.slept, memory_order_relaxed) != 0 ||
	    atomic_load_explicit(&parent->losses[HM_LOSS_LIVE], memory_order_relaxed) != 0 ||
	    parent->inherited_bytes > UINT64_MAX - inuse_bytes)
		return UINT64_MAX;
	return parent->inherited_bytes + inuse_bytes;
}

/* The settings are those of the parent, where there is one, as they are now: a tool may have changed them. */
static void fill_header(struct hm_ledger_file *ledger, uint64_t interval_bytes, bool supervised,
			bool is_fork_child)
{
	struct hm_ledger_header *const header = hm_ledger_header(ledger);

	header->pid = hm_process->pid;
	header->process_start_ticks = hm_image_process_start_ticks();
	header->start_realtime_ns = now_ns(CLOCK_REALTIME);
	header->start_boottime_ns = now_ns(CLOCK_BOOTTIME);
	header->start_ticks = hm_process->start_ticks;
	header->run_id = image.config.run_id;
	header->frames_kept_max = image.config.frames_max;
	header->inherited_bytes = is_fork_child ? inherited_bytes() : 0;
	memcpy(header->comm, image.comm, sizeof(header->comm));
	header->executable_unit = hm_ledger_store_string(ledger, image.executable, strlen(image.executable));
	header->command_unit = hm_ledger_store_string(ledger, image.command, image.command_length);
	header->dropped_unit = hm_stack_create_special(ledger, HM_STACK_DROPPED);
	header->overflow_unit = hm_stack_create_special(ledger, HM_STACK_OVERFLOW);
	atomic_init(&header->control_interval_bytes, interval_bytes);
	atomic_init(&header->control_supervised, supervised);
	hm_memory_tell(header);
	/* relaxed: what another thread notes at this very moment, it notes again at its next look */
	atomic_init(&header->intervals.longest_bytes,
		    atomic_load_explicit(&hm_process->intervals.longest_bytes, memory_order_relaxed));
	atomic_init(&header->intervals.slept,
		    atomic_load_explicit(&hm_process->intervals.slept, memory_order_relaxed));
	/* release [header.ready] */
	atomic_store_explicit(&header->state, HM_LEDGER_RECORDING, memory_order_release);
}

static bool parent_is_supervised(void)
{
	return hm_ledger.base == NULL
		       ? image.config.run_id != 0
		       : atomic_load_explicit(&hm_ledger_header(&hm_ledger)->control_supervised,
					      memory_order_relaxed) != 0;
}

static const char *what_to_do(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
		return "raise the limit of open files (ulimit -n)";
	case EFBIG:
		return "raise the limit of file sizes (ulimit -f)";
	case ENOSPC:
	case EDQUOT:
		return "make room there, or set HEAPMARK_DIR to another directory";
	default:
		return "set HEAPMARK_DIR to a directory that can be written to";
	}
}

static void complain(const char *what_follows, int error)
{
	if (!has_complained)
		hm_say("cannot write to %s (%s): %s[%u] %s; %s", image.config.directory,
		       hm_error_text(-error), image.comm, hm_process->pid, what_follows, what_to_do(-error));
	has_complained = true;
}

/* The mapping of a parent's ledger stays: other threads may be reading its settings. */
static bool create_ledger(bool is_fork_child)
{
	static struct hm_ledger_file fresh; /* of whoever is STARTING; too large for a small thread's stack */
	const uint64_t interval_bytes = hm_lifecycle_interval_bytes();
	const bool supervised = parent_is_supervised();

	/* The parent's descriptor came along with the fork and is of no use here. */
	hm_ledger_close_descriptor(&hm_ledger);

	const int error = hm_ledger_create(image.config.directory, image.comm, hm_process->pid,
					   affordable_limit(image.config.limit_bytes), &fresh);

	if (error != 0)
		complain(fresh.base == NULL ? "runs without a profile, for lack of memory"
					    : "runs without a profile",
			 error);
	if (fresh.base == NULL)
		return false;
	fill_header(&fresh, interval_bytes, supervised, is_fork_child);
	hm_ledger = fresh;
	return true;
}

/* Odd, so never 0.  A child's differs by its pid, and by the time unless the seed was set for a test. */
static uint64_t make_token(void)
{
	const uint64_t chance = image.config.seed != 0 ? 0 : now_ns(CLOCK_MONOTONIC);
	const uint64_t generation = hm_ledger.base != NULL ? (uint64_t)getpid() << 32 : 0;

	return (image.seed ^ chance ^ generation) << 1 | 1;
}

/* relaxed: of threads that come here at once, one decides for all */
static void set_token(void)
{
	uint64_t none = 0;

	(void)atomic_compare_exchange_strong_explicit(&hm_process->token, &none, make_token(),
						      memory_order_relaxed, memory_order_relaxed);
}

/*
 * With signals held off, the change of state too: a handler that waits comes as soon as they are let through,
 * and may call exit, or leave by longjmp; the process would be STARTING for good.
 */
static void start_ledger(void *is_fork_child)
{
	hm_process->pid = (uint32_t)getpid();
	hm_process->start_ticks = hm_process_ticks();
	if (!create_ledger(*(const bool *)is_fork_child)) {
		set_state(HM_PROCESS_OFF);
		return;
	}
	hm_filter_reset();
	hm_trails_reset();
	hm_peak_reset();
	hm_unwind_rules_attach(&hm_ledger);
	/* So that the executable is among the modules, whatever stacks there will be. */
	(void)hm_unwind_rule_find(getauxval(AT_ENTRY));
	set_state(HM_PROCESS_RECORDING);
}

/* In every process: the first image, and each fork child of it.  From STARTING to RECORDING or OFF. */
static void start_process(bool is_fork_child)
{
	hm_own_stack_call(start_ledger, &is_fork_child);
}

static void before_fork(void)
{
	hm_thread.busy_frame |= HM_BUSY_FORKING; /* other handlers may allocate: the rules are locked */
	hm_unwind_rules_before_fork();
}

static void after_fork_parent(void)
{
	hm_unwind_rules_after_fork_parent();
	hm_thread.busy_frame &= ~HM_BUSY_FORKING;
}

bool hm_lifecycle_cut(void)
{
	return hm_ledger.base != NULL && hm_ledger_cut(&hm_ledger);
}

void hm_lifecycle_in_fork_child(void)
{
	if (hm_may(HM_MAY_START))
		hm_ledger_detach(&hm_ledger);
	/* Siblings must not share the distance that is left here. */
	hm_sampler_force(&hm_thread.sampler);
}

static void after_fork_child(void)
{
	hm_unwind_rules_after_fork_child();
	hm_thread.busy_frame &= ~HM_BUSY_FORKING;
	hm_lifecycle_in_fork_child();
}

/* A vfork child shares our memory, but is not who started the ledger. */
static bool is_recording_here(void)
{
	return atomic_load_explicit(&hm_process->state, memory_order_acquire) == HM_PROCESS_RECORDING &&
	       hm_process->pid == hm_process_own_pid();
}

void hm_lifecycle_leave(void)
{
	/* relaxed: a sample of another thread at this very instant goes with the process */
	if (is_recording_here() && hm_ledger.path[0] != '\0' &&
	    atomic_load_explicit(&hm_ledger_header(&hm_ledger)->has_samples, memory_order_relaxed) == 0)
		hm_ledger_remove(&hm_ledger);
}

static void write_at_exit(void *unused)
{
	(void)unused;
	hm_exit_write(&hm_ledger, &image);
}

/* The last thing that exit() calls: after the destructors of every object. */
static void at_exit(void *unused)
{
	if (!is_recording_here())
		return;
	hm_thread.busy_frame = HM_BUSY_THROUGHOUT;
	hm_own_stack_call(write_at_exit, unused);
	set_state(HM_PROCESS_FINISHED);
}

/* Registers a function for exit(), of no object: then it runs when those of all objects have run. */
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the C++ ABI's name
extern int __cxa_atexit(void (*function)(void *), void *argument, void *object);

/* What happens once an image: after exec, before the first process of it records. */
static bool start_image(void)
{
	if (getauxval(AT_SECURE) != 0)
		return false;
	hm_say_begin();
	hm_image_read(&image);

	const bool was_executed_by_us =
		hm_image_had_ledger(&image, (uint32_t)getpid(), hm_image_process_start_ticks());

	if (!image.config.children && (was_executed_by_us || hm_image_parent_has_library()))
		return false;

	struct hm_process *const wiped = hm_memory_map(sizeof(*wiped));

	if (wiped == NULL)
		return false;
	(void)madvise(wiped, sizeof(*wiped), MADV_WIPEONFORK);
	hm_memory_name(wiped, sizeof(*wiped));
	if (pthread_atfork(before_fork, after_fork_parent, after_fork_child) != 0 ||
	    __cxa_atexit(at_exit, NULL, NULL) != 0 || at_quick_exit(hm_lifecycle_leave) != 0)
		return false;
	hm_unwind_rules_init();
	hm_frames_leave_out_library();
	atomic_init(&wiped->state, HM_PROCESS_STARTING);
	hm_process = wiped; /* the one thread there is sees it; threads to come are created after it */
	if (image.config.mappings)
		hm_maps_init(image.config.limit_bytes);
	return true;
}

/*
 * Whether the C library is up (it has seen the environment) and the loader is not in the middle of something:
 * an allocation of the loader itself may come while it holds its lock.
 */
static bool can_start_now(const void *caller)
{
	const uintptr_t loader = getauxval(AT_BASE);
	struct dl_find_object object;

	if (environ == NULL)
		return false;
	if (loader == 0 || _dl_find_object((void *)loader, &object) != 0)
		return true;
	return (uintptr_t)caller - (uintptr_t)object.dlfo_map_start >=
	       (uintptr_t)object.dlfo_map_end - (uintptr_t)object.dlfo_map_start;
}

uint64_t hm_lifecycle_interval_bytes(void)
{
	/* relaxed: a number that a tool may change at any time */
	return hm_ledger.base == NULL
		       ? image.config.interval_bytes
		       : atomic_load_explicit(&hm_ledger_header(&hm_ledger)->control_interval_bytes,
					      memory_order_relaxed);
}

/* One thread gets to start the process; the others go on unrecorded until it has. */
static bool claim_start(void)
{
	uint32_t state = HM_PROCESS_NEW;

	return atomic_compare_exchange_strong_explicit(&hm_process->state, &state, HM_PROCESS_STARTING,
						       memory_order_acquire, memory_order_relaxed);
}

bool hm_lifecycle_start(void)
{
	const int saved_errno = errno;

	if (claim_start()) {
		if (hm_may(HM_MAY_START))
			start_process(true); /* prepare_image has started the first process */
		else
			set_state(HM_PROCESS_OFF);
	}
	errno = saved_errno;
	return atomic_load_explicit(&hm_process->state, memory_order_acquire) == HM_PROCESS_RECORDING;
}

static bool prepare_image(const void *caller)
{
	if (!can_start_now(caller) || !claim_start())
		return false;

	if (start_image()) {
		set_token();
		start_process(false);
	} else {
		set_state(HM_PROCESS_OFF);
	}
	return true;
}

bool hm_lifecycle_prepare(const void *caller)
{
	const int saved_errno = errno;
	bool prepared = atomic_load_explicit(&hm_process->state, memory_order_relaxed) == HM_PROCESS_NEW;

	if (prepared && hm_process == &no_process) {
		prepared = prepare_image(caller);
	} else if (prepared && (!image.config.children || !hm_may(HM_MAY_START))) {
		(void)claim_start();
		set_state(HM_PROCESS_OFF);
		prepared = false;
	} else if (prepared) {
		set_token();
	}
	errno = saved_errno;
	return prepared;
}

static void look_ahead(uint32_t forbidden)
{
	/* Of 1 GiB of live objects there are 2048 samples at the default rate, of some 500 bytes with stacks
	 * of their own.  At smaller intervals there are more; a 32nd of a GiB is what may lie on a disk
	 * unused. */
	const uint64_t default_ahead_bytes = UINT64_C(1) << 20;
	const uint64_t ahead_bytes_max = UINT64_C(1) << 25;
	const uint64_t default_interval_bytes = 512 * 1024;
	const uint64_t interval_bytes = hm_lifecycle_interval_bytes();
	uint64_t ahead_bytes = default_ahead_bytes;

	if (interval_bytes != 0 && interval_bytes < default_interval_bytes)
		ahead_bytes *= default_interval_bytes / interval_bytes;
	if (ahead_bytes > ahead_bytes_max)
		ahead_bytes = ahead_bytes_max;
	if ((forbidden >> HM_MAY_GROW & 1) != 0)
		hm_ledger_grow_ahead(&hm_ledger, ahead_bytes);
	if ((forbidden >> HM_MAY_COMPILE & 1) != 0 || (forbidden >> HM_MAY_ASK_READABLE & 1) != 0)
		hm_frames_look_ahead(&hm_thread.stack);
}

bool hm_lifecycle_before_filter(uint32_t forbidden, const void *caller)
{
	const uintptr_t busy_frame = hm_thread.busy_frame;
	uint32_t state = atomic_load_explicit(&hm_process->state, memory_order_acquire);

	if (state == HM_PROCESS_RECORDING && !is_recording_here())
		return false;
	if (busy_frame != 0 || forbidden == 0)
		return true; /* in the middle of our own work: a signal handler installs the filter */
	hm_thread.busy_frame = HM_BUSY_THROUGHOUT;
	if (state == HM_PROCESS_NEW && hm_lifecycle_prepare(caller) && hm_lifecycle_interval_bytes() != 0 &&
	    (forbidden >> HM_MAY_START & 1) != 0)
		(void)hm_lifecycle_start();
	if (hm_process == &no_process)
		set_state(HM_PROCESS_OFF); /* too early for us, and afterwards too late */
	state = atomic_load_explicit(&hm_process->state, memory_order_acquire);
	if (state == HM_PROCESS_RECORDING)
		look_ahead(forbidden);
	hm_thread.busy_frame = busy_frame;
	return true;
}

struct dump {
	const char *path;
	int error;
};

static void write_dump(void *argument)
{
	struct dump *const dump = argument;

	dump->error = hm_exit_dump(&hm_ledger, dump->path);
}

int hm_lifecycle_dump(const char *path)
{
	struct dump dump = { .path = path };

	if (atomic_load_explicit(&hm_process->state, memory_order_acquire) != HM_PROCESS_RECORDING)
		return -ESRCH;
	if (!hm_may(HM_MAY_WRITE_PROFILE))
		return -EPERM;
	hm_own_stack_call(write_dump, &dump);
	return dump.error;
}
