// SPDX-License-Identifier: Apache-2.0
/* heapmark watch: one line for each interval, as Go's gctrace; on a terminal a screen with a history. */
#include "tools/cli.h"
#include "tools/input.h"
#include "tools/ledger.h"
#include "tools/process.h"
#include "tools/process_usage.h"
#include "tools/signals.h"
#include "tools/verb.h"
#include "tools/watch_line.h"
#include "tools/watch_screen.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_SECOND = 1000000000, NS_PER_MS = 1000000, MS_PER_DAY = 86400000 };

struct watch {
	/* as it was asked for */
	double every_seconds;
	uint64_t line_count_max; /* 0: any number */

	struct hm_input input; /* owned */
	uint64_t start_ticks;  /* of the process: another one under its number is not followed */
	int process; /* owned: a pidfd, which becomes readable when it has ended; -1: not to be had */
	int signals; /* owned: a signalfd */
	char title[128];
	bool has_screen;
	struct hm_watch_screen screen;

	uint64_t line_count;
	double last_seconds;        /* age of the process at the last look; 0: none yet */
	uint64_t last_run_start_ns; /* of the ledger then: an exec begins another */
	struct hm_watch_figures last;
};

enum look { LOOK_DONE, LOOK_ENDED, LOOK_FAILED };

static bool parse_options(const struct hm_verb *verb, int argc, char **argv, struct watch *watch)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1) {
		if (letter == 'e' && !hm_parse_seconds(optarg, &watch->every_seconds)) {
			hm_fail("--every %s: not a number of seconds, as 1, 0.5, 5m", optarg);
			return false;
		}
		if (letter == 'n' &&
		    (!hm_parse_count(optarg, &watch->line_count_max) || watch->line_count_max == 0)) {
			hm_fail("-n %s: not a number of lines", optarg);
			return false;
		}
	}
	if (watch->every_seconds < 0.01 || watch->every_seconds > 86400) {
		hm_fail("--every: between 0.01 seconds and a day");
		return false;
	}
	if (optind + 1 == argc)
		return true;
	hm_fail(optind == argc ? "there is no PID to watch" : "only one PID can be watched at a time");
	return false;
}

static double uptime_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / NS_PER_SECOND;
}

/* After an exec the process writes another ledger. */
static void follow_exec(struct watch *watch)
{
	struct hm_process_ledger ledger;

	if (hm_process_open_ledger(watch->input.pid, &ledger) != 0)
		return;
	(void)close(watch->input.descriptor);
	watch->input.descriptor = ledger.descriptor;
	strcpy(watch->input.path, ledger.path);
}

/* Rates and changes, from the figures before; from nothing where there are none, or they are of another
 * image. */
static void compare(struct watch *watch, struct hm_watch_figures *figures, uint64_t run_start_ns)
{
	const bool has_last = watch->last_seconds > 0 && watch->last_run_start_ns == run_start_ns;
	const struct hm_watch_figures none = { .age_seconds = 0 };
	const struct hm_watch_figures *const last = has_last ? &watch->last : &none;
	const double seconds = figures->age_seconds - last->age_seconds;

	figures->inuse_change_bytes = figures->inuse_bytes - last->inuse_bytes;
	if (seconds > 0) {
		figures->alloc_bytes_per_second = (figures->alloc_bytes - last->alloc_bytes) / seconds;
		figures->free_bytes_per_second = (figures->free_bytes - last->free_bytes) / seconds;
	}
	watch->last = *figures;
	watch->last_seconds = figures->age_seconds;
	watch->last_run_start_ns = run_start_ns;
}

/* Takes one look; says what is wrong where there is none to be had. */
static enum look look(struct watch *watch, struct hm_watch_figures *ret_figures)
{
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	struct hm_snapshot snapshot = { 0 };
	struct hm_process_usage usage;
	int error = hm_process_read_usage(watch->input.pid, &usage);

	if (error != 0 || usage.start_ticks != watch->start_ticks)
		return LOOK_ENDED;
	follow_exec(watch);

	const double age_seconds =
		uptime_seconds() - (double)usage.start_ticks / (double)sysconf(_SC_CLK_TCK);

	error = hm_ledger_snapshot(watch->input.descriptor, true, 0, &snapshot, &fault);
	if (error != 0) {
		hm_watch_screen_leave(&watch->screen);
		hm_fail("%s: %s", watch->input.path,
			fault == HM_SNAPSHOT_UNREADABLE ? strerror(-error) : hm_snapshot_fault_text(fault));
		hm_advise("heapmark check %s", watch->input.path);
		return LOOK_FAILED;
	}

	const struct hm_snapshot_totals totals = hm_snapshot_sum(&snapshot);

	*ret_figures = (struct hm_watch_figures){
		.age_seconds = age_seconds,
		.resident_bytes = (double)usage.resident_bytes,
		.inuse_bytes = (double)hm_bytes_round(totals.inuse.bytes_fixed),
		.inuse_variance = totals.inuse.bytes_variance,
		.alloc_bytes = (double)hm_bytes_round(totals.alloc.bytes_fixed),
		.live_objects = (double)hm_objects_round(totals.inuse.objects_fixed),
		.thread_count = usage.thread_count,
	};
	ret_figures->free_bytes = ret_figures->alloc_bytes - ret_figures->inuse_bytes;
	compare(watch, ret_figures, snapshot.start_realtime_ns);
	hm_snapshot_done(&snapshot);
	return LOOK_DONE;
}

static void show(struct watch *watch, const struct hm_watch_figures *figures)
{
	char line[HM_WATCH_LINE_BYTES];

	watch->line_count++;
	if (watch->has_screen) {
		hm_watch_screen_add(&watch->screen, figures);
		hm_watch_screen_draw(&watch->screen);
		return;
	}
	hm_watch_line(figures, line);
	(void)puts(line);
}

/* ^Z: the terminal is the shell's until we go on. */
static void suspend(struct watch *watch)
{
	hm_watch_screen_leave(&watch->screen);
	(void)raise(SIGSTOP);
	if (watch->has_screen)
		hm_watch_screen_draw(&watch->screen);
}

/* Returns the number of a signal that ends the watch; 0: it goes on. */
static int take_signal(struct watch *watch)
{
	struct signalfd_siginfo info;

	if (read(watch->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	if (info.ssi_signo == SIGTSTP)
		suspend(watch);
	else if (info.ssi_signo == SIGWINCH && watch->screen.is_shown)
		hm_watch_screen_draw(&watch->screen);
	else if (info.ssi_signo != SIGWINCH)
		return (int)info.ssi_signo;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Waits until it is time, or the process has ended.  Returns the number of a signal that ends the watch, or
 * 0. */
static int wait_until(struct watch *watch, uint64_t due_ns)
{
	struct pollfd sources[] = {
		{ .fd = watch->signals, .events = POLLIN },
		{ .fd = watch->process, .events = POLLIN },
	};

	for (;;) {
		const uint64_t now = now_ns();
		/* rounded up: not to wake too early and find nothing to do */
		const uint64_t left_ms = now < due_ns ? (due_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;

		if (left_ms == 0)
			return 0;

		const int ready = poll(sources, sizeof(sources) / sizeof(sources[0]),
				       (int)(left_ms < MS_PER_DAY ? left_ms : MS_PER_DAY));

		if (ready > 0 && sources[0].revents != 0) {
			const int number = take_signal(watch);

			if (number != 0)
				return number;
		}
		if (ready > 0 && sources[1].revents != 0)
			return 0;
	}
}

/* Gives the screen back; the last figures stay, as a line. */
static void leave_screen(struct watch *watch)
{
	char line[HM_WATCH_LINE_BYTES];

	hm_watch_screen_leave(&watch->screen);
	if (watch->has_screen && watch->line_count > 0) {
		hm_watch_line(&watch->screen.last, line);
		(void)puts(line);
	}
	(void)fflush(stdout);
}

static void say_end(const struct watch *watch)
{
	hm_say("%s has ended; %s allocated, %s in use when it was last seen", watch->title,
	       hm_show_bytes(watch->last.alloc_bytes).text, hm_show_bytes(watch->last.inuse_bytes).text);
}

/* Returns an exit status. */
static int watch_process(struct watch *watch)
{
	uint64_t due_ns = now_ns();
	enum look result = LOOK_DONE;
	int signal_number = 0;

	while (signal_number == 0) {
		struct hm_watch_figures figures;

		result = look(watch, &figures);
		if (result != LOOK_DONE)
			break;
		show(watch, &figures);
		if (watch->line_count == watch->line_count_max || ferror(stdout) != 0)
			break;
		due_ns += (uint64_t)(watch->every_seconds * NS_PER_SECOND);
		if (due_ns < now_ns()) /* we were stopped: not one look for each that was missed */
			due_ns = now_ns();
		signal_number = wait_until(watch, due_ns);
	}
	leave_screen(watch);
	if (result == LOOK_ENDED)
		say_end(watch);
	if (result == LOOK_FAILED || ferror(stdout) != 0)
		return HM_EXIT_USAGE;
	return signal_number == 0 || signal_number == SIGINT ? HM_EXIT_DONE : HM_EXIT_SIGNAL + signal_number;
}

/* Returns an exit status other than HM_EXIT_DONE where there is nothing to watch. */
static int begin(struct watch *watch, const struct hm_verb *verb, const char *argument)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP };
	char comm[HM_COMM_MAX] = "";
	const int error = hm_input_open(argument, &watch->input);

	if (error != 0) {
		hm_input_explain(verb->name, argument, error);
		return HM_EXIT_USAGE;
	}
	watch->start_ticks = watch->input.pid != 0 ? hm_process_start_ticks(watch->input.pid) : 0;
	if (watch->start_ticks == 0) {
		hm_fail("%s: no process that runs writes it, so nothing will change", argument);
		hm_advise("heapmark top %s", argument);
		return HM_EXIT_USAGE;
	}
	watch->process = pidfd_open(watch->input.pid, 0);
	(void)!pread(watch->input.descriptor, comm, sizeof(comm) - 1,
		     offsetof(struct hm_ledger_header, comm));
	hm_make_printable(comm);
	(void)snprintf(watch->title, sizeof(watch->title), "%s[%d]", comm, (int)watch->input.pid);
	watch->has_screen = hm_watch_has_screen();
	watch->screen.title = watch->title;
	if (!watch->has_screen)
		(void)setvbuf(stdout, NULL, _IOLBF,
			      0); /* who reads a pipe wants each line when it is there */
	/* the last but where there is a screen: else the kernel may stop us */
	const sigset_t signals =
		hm_signals_block(numbers, sizeof(numbers) / sizeof(numbers[0]) - !watch->has_screen);
	watch->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return HM_EXIT_DONE;
}

static int watch_main(const struct hm_verb *verb, int argc, char **argv)
{
	static struct watch watch = {
		.every_seconds = 1, .input = { .descriptor = -1 }, .process = -1, .signals = -1
	};

	if (!parse_options(verb, argc, argv, &watch))
		return hm_verb_usage(verb);

	int status = begin(&watch, verb, argv[optind]);

	if (status == HM_EXIT_DONE)
		status = watch_process(&watch);
	if (watch.input.descriptor >= 0)
		hm_input_close(&watch.input);
	if (watch.process >= 0)
		(void)close(watch.process);
	if (watch.signals >= 0)
		(void)close(watch.signals);
	return status;
}

static const struct hm_option watch_options[] = {
	{ 'e', "every", "SECONDS", "time between two lines (default 1)" },
	{ 'n', "lines", "N", "ends after N lines" },
	{ 0 },
};

const struct hm_verb hm_verb_watch = {
	.name = "watch",
	.summary = "prints one line of figures for each second that a process runs",
	.synopsis = "[--every SECONDS] [-n N] PID",
	.text = "Looks at a process again and again; it is not stopped and not signalled.  On a terminal the "
		"figures\n"
		"are shown in place, with their history; else each look is a line:\n"
		"  @12.0s rss 812M inuse 301M ±3% (+1.2M) alloc 120M/s free 118M/s live 412k threads 16\n"
		"that is the age of the process, resident memory, the heap in use with its 95 % interval and "
		"how "
		"it\n"
		"changed, what was allocated and freed in a second, live objects, and threads.  The first "
		"line "
		"has the\n"
		"change and the rates since the start.  Ends when the process ends.",
	.options = watch_options,
	.usage_status = HM_EXIT_USAGE,
	.main = watch_main,
};
