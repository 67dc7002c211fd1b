// SPDX-License-Identifier: Apache-2.0
/* heapmark run: runs a command with the library in it, and sees to the profiles of all its processes. */
#include "tools/cli.h"
#include "tools/library.h"
#include "tools/names_report.h"
#include "tools/program.h"
#include "tools/run_environment.h"
#include "tools/run_ledgers.h"
#include "tools/summary.h"
#include "tools/supervise.h"
#include "tools/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	NS_PER_SECOND = 1000000000,
	COLLECT_INTERVAL_SECONDS =
		1,      /* so that the ledgers of a build with thousands of processes do not pile up */
	LINES_MAX = 10, /* of processes in the summary */
	OPTION_EVERY = HM_OPTION_LONG_ONLY,
	OPTION_NO_CHILDREN,
	OPTION_NO_SYMBOLS,
	OPTION_NO_LABELS,
	OPTION_MMAP,
};

/* A profile of a large program takes about as long to write: faster would be snapshots and nothing else. */
static const double every_seconds_min = 0.1;

struct run_options {
	const char *directory; /* NULL: from the environment */
	bool has_rate;
	uint64_t rate_bytes;
	double every_seconds; /* 0: no snapshots */
	bool no_children;
	bool no_symbols;
	bool no_labels;
	bool mappings;
};

static bool parse_options(const struct hm_verb *verb, int argc, char **argv, struct run_options *ret_options)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1) {
		switch (letter) {
		case 'o':
			ret_options->directory = optarg;
			break;
		case 'r':
			ret_options->has_rate = true;
			if (hm_parse_bytes(optarg, &ret_options->rate_bytes) &&
			    ret_options->rate_bytes <= HM_RATE_MAX_BYTES)
				break;
			hm_fail("-r %s: a rate is a number of bytes such as 512K, 2M, or 1 for every "
				"allocation",
				optarg);
			return false;
		case OPTION_EVERY:
			if (hm_parse_seconds(optarg, &ret_options->every_seconds) &&
			    ret_options->every_seconds >= every_seconds_min)
				break;
			hm_fail("--every %s: an interval is a number of seconds such as 10, 0.5 or 5m, at "
				"least 0.1",
				optarg);
			return false;
		case OPTION_NO_SYMBOLS:
			ret_options->no_symbols = true;
			break;
		case OPTION_NO_LABELS:
			ret_options->no_labels = true;
			break;
		case OPTION_MMAP:
			ret_options->mappings = true;
			break;
		default:
			ret_options->no_children = true;
		}
	}
	if (optind == argc || argv[optind][0] == '\0') {
		hm_fail("there is no COMMAND to run");
		return false;
	}
	return true;
}

static void explain_not_found(const char *command)
{
	if (strchr(command, '/') != NULL) {
		hm_fail("%s: no such file, so nothing was run", command);
		hm_advise("ls %.*s", (int)(strrchr(command, '/') - command + 1), command);
	} else if (strpbrk(command, " |<>;&$") != NULL) {
		hm_fail("%s: no such command in PATH, so nothing was run", command);
		hm_advise("heapmark run sh -c '...' for a line that a shell must read");
	} else {
		hm_fail("%s: no such command in PATH, so nothing was run", command);
		hm_advise("heapmark run ./%s for one in the current directory", command);
	}
}

/* What the program is and why it cannot be profiled.  Returns the exit status. */
static int refuse(const char *command, const struct hm_program *program)
{
	switch (program->verdict) {
	case HM_PROGRAM_NOT_FOUND:
		explain_not_found(command);
		return HM_EXIT_NOT_FOUND;
	case HM_PROGRAM_NOT_EXECUTABLE:
		hm_fail("%s: not a file that can be executed, so nothing was run", program->path);
		hm_advise("ls -ld %s", program->path);
		return HM_EXIT_NOT_EXECUTABLE;
	case HM_PROGRAM_NO_INTERPRETER:
		hm_fail("%s: needs %s, which is missing, so nothing was run", program->binary,
			program->missing);
		hm_advise("install what provides %s", program->missing);
		return HM_EXIT_NOT_FOUND;
	case HM_PROGRAM_OTHER_MACHINE:
		hm_fail("%s: not a 64-bit x86-64 program, so %s cannot be loaded into it", program->binary,
			HM_LIBRARY_NAME);
		hm_advise("build it for x86-64, without -m32");
		return HM_EXIT_RUN_FAILED;
	case HM_PROGRAM_STATIC:
		hm_fail("%s: statically linked, so LD_PRELOAD does not reach it and nothing would be "
			"recorded",
			program->binary);
		hm_advise("link it dynamically, without -static or -static-pie");
		return HM_EXIT_RUN_FAILED;
	case HM_PROGRAM_OTHER_LIBC:
		hm_fail("%s: linked with a C library that is not glibc, so %s cannot be loaded into it",
			program->binary, HM_LIBRARY_NAME);
		hm_advise("build it on a system with glibc");
		return HM_EXIT_RUN_FAILED;
	case HM_PROGRAM_PRIVILEGED:
		hm_fail("%s: runs with the privileges of its file, so LD_PRELOAD is ignored and nothing "
			"would be recorded",
			program->binary);
		hm_advise("heapmark run with a copy of it: a copy has no privileges");
		return HM_EXIT_RUN_FAILED;
	case HM_PROGRAM_FINE:
		break;
	}
	return HM_EXIT_DONE;
}

/* Says beforehand what cannot work.  Returns an exit status, 0 to go on. */
static int examine(const char *command)
{
	static struct hm_program program; /* static: several PATH_MAX */

	hm_program_examine(command, &program);
	if (program.verdict != HM_PROGRAM_FINE)
		return refuse(command, &program);
	if (program.has_own_malloc)
		hm_warn("%s has a malloc of its own linked in: what it allocates with that will not be seen",
			program.binary);
	return HM_EXIT_DONE;
}

/* Makes the directory where only its last part is missing.  Returns 0 or a negative errno. */
static int make_directory(const char *directory, char absolute[PATH_MAX])
{
	struct stat status;

	if ((mkdir(directory, S_IRWXU | S_IRWXG | S_IRWXO) != 0 && errno != EEXIST) ||
	    realpath(directory, absolute) == NULL || stat(absolute, &status) != 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		return -ENOTDIR;
	return access(absolute, W_OK | X_OK) == 0 ? 0 : -errno;
}

/* Returns an exit status, 0 to go on. */
static int prepare_directory(const char *directory, char absolute[PATH_MAX])
{
	const int error = make_directory(directory, absolute);

	if (error == 0)
		return HM_EXIT_DONE;
	hm_fail("%s: %s, so profiles could not be written; nothing was run", directory, strerror(-error));
	hm_advise("heapmark run -o DIRECTORY ...");
	return HM_EXIT_RUN_FAILED;
}

static int prepare_library(void)
{
	char library[PATH_MAX] = "";
	const int error = hm_library_find(library);

	if (error == 0) {
		hm_environment_preload(library);
		return HM_EXIT_DONE;
	}
	if (error == -EINVAL)
		hm_fail("%s: LD_PRELOAD cannot hold a path with a blank or a colon; nothing was run",
			library);
	else
		hm_fail("%s was not found: %s; nothing was run", HM_LIBRARY_NAME, strerror(-error));
	hm_advise("HEAPMARK_LIBRARY=/path/to/%s heapmark run ...", HM_LIBRARY_NAME);
	return HM_EXIT_RUN_FAILED;
}

static uint64_t draw_run_id(void)
{
	uint64_t run_id = 0;

	while (run_id == 0) /* 0 is "none" */
		if (getrandom(&run_id, sizeof(run_id), 0) != (ssize_t)sizeof(run_id))
			run_id = hm_supervise_now() << 16 ^ (uint64_t)getpid();
	return run_id;
}

static void set_environment(const struct run_options *options, const char *absolute, uint64_t run_id)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, run_id);
	if (setenv("HEAPMARK_RUN", text, 1) != 0 || setenv("HEAPMARK_DIR", absolute, 1) != 0)
		abort();
	if (options->has_rate)
		hm_environment_set_number("HEAPMARK_RATE", options->rate_bytes);
	if (options->no_children)
		hm_environment_set_number("HEAPMARK_CHILDREN", 0);
	if (options->mappings)
		hm_environment_set_number("HEAPMARK_MMAP", 1);
}

struct progress {
	struct hm_run *run;
	uint64_t every_ns; /* 0: no snapshots */
	uint64_t next_snapshot_ns;
	uint64_t next_collect_ns;
	unsigned int snapshot_count;
};

/* Called while the command runs. */
static uint64_t tick(void *context, uint64_t now_ns)
{
	struct progress *const progress = context;

	if (progress->next_collect_ns == 0) { /* the first call: the command has just started */
		progress->next_collect_ns = now_ns + (uint64_t)COLLECT_INTERVAL_SECONDS * NS_PER_SECOND;
		progress->next_snapshot_ns =
			progress->every_ns > 0 ? now_ns + progress->every_ns : UINT64_MAX;
	}
	if (now_ns >= progress->next_snapshot_ns) {
		hm_run_snapshot(progress->run, ++progress->snapshot_count);
		/* a moment that was missed, because writing took longer or the machine slept, is left out */
		while (progress->next_snapshot_ns <= hm_supervise_now())
			progress->next_snapshot_ns += progress->every_ns;
	}
	if (now_ns >= progress->next_collect_ns) {
		hm_run_collect(progress->run);
		progress->next_collect_ns =
			hm_supervise_now() + (uint64_t)COLLECT_INTERVAL_SECONDS * NS_PER_SECOND;
	}
	return progress->next_snapshot_ns < progress->next_collect_ns ? progress->next_snapshot_ns
								      : progress->next_collect_ns;
}

static double inuse_bytes(const struct hm_run_profile *profile)
{
	return (double)hm_bytes_round(profile->totals.inuse.bytes_fixed);
}

static double alloc_bytes(const struct hm_run_profile *profile)
{
	return (double)hm_bytes_round(profile->totals.alloc.bytes_fixed);
}

/* The most in use first; of equals the one that allocated most, then the one that began first. */
static int compare_profiles(const void *a, const void *b)
{
	const struct hm_run_profile *const left = a;
	const struct hm_run_profile *const right = b;

	if (inuse_bytes(left) != inuse_bytes(right))
		return inuse_bytes(left) < inuse_bytes(right) ? 1 : -1;
	if (alloc_bytes(left) != alloc_bytes(right))
		return alloc_bytes(left) < alloc_bytes(right) ? 1 : -1;
	return left->pid < right->pid ? -1 : left->pid > right->pid;
}

static void print_profiles(const struct hm_run *run)
{
	const size_t line_count = run->profile_count < LINES_MAX ? run->profile_count : LINES_MAX;
	const char *const largest = run->profiles[0].path;

	for (size_t i = 0; i < line_count; i++) {
		const struct hm_run_profile *const profile = &run->profiles[i];

		hm_say_process(profile->comm, profile->pid, &profile->totals,
			       profile->finished ? " at exit" : " at its end");
	}
	if (run->profile_count > line_count)
		hm_say("... and %zu more", run->profile_count - line_count);
	for (size_t i = 0; i < line_count; i++) {
		const struct hm_run_profile *const profile = &run->profiles[i];

		hm_warn_losses(profile->path, profile->losses);
		if (profile->is_damaged)
			hm_warn("%s[%u]: its ledger was damaged; what could be read of it was written",
				profile->comm, profile->pid);
	}
	if (run->profile_count == 1)
		hm_say("wrote %s", largest);
	else
		hm_say("wrote %s and %zu more beside it", largest, run->profile_count - 1);
	hm_next_pprof(largest);
}

static void print_failures(const struct hm_run *run)
{
	for (size_t i = 0; i < run->failure_count; i++) {
		const struct hm_run_failure *const failure = &run->failures[i];
		char *const path = hm_shell_quote(failure->path);

		hm_fail("%s: %s; it was left as it is", failure->path,
			failure->is_ledger_fault ? hm_snapshot_fault_text(failure->fault)
						 : strerror(-failure->error));
		hm_advise("heapmark %s %s", failure->is_ledger_fault ? "check" : "dump -o FILE", path);
		free(path);
	}
	if (run->snapshot_failure_count != 0)
		hm_fail("%u snapshots of --every could not be written: %s", run->snapshot_failure_count,
			strerror(-run->snapshot_error));
}

static void print_survivors(const struct hm_run *run)
{
	for (size_t i = 0; i < run->survivor_count && i < LINES_MAX; i++) {
		const struct hm_run_survivor *const survivor = &run->survivors[i];

		hm_say("%s[%d] still runs and will write its profile when it ends; until then: heapmark dump "
		       "%d",
		       survivor->comm, (int)survivor->pid, (int)survivor->pid);
	}
	if (run->survivor_count > LINES_MAX)
		hm_say("... and %zu more still run", run->survivor_count - LINES_MAX);
}

/* No profile, no error, nobody left: say why that may be, and what would show more. */
static void explain_nothing(const char *command, uint64_t rate_bytes)
{
	if (rate_bytes == 0) {
		hm_say("nothing was sampled: the rate is 0, which keeps the library asleep");
		hm_next("heapmark run -r 512K %s", command);
	} else if (rate_bytes == 1) {
		hm_say("nothing was sampled: %s did not call malloc, or not the one that can be replaced",
		       command);
	} else {
		hm_say("nothing was sampled: %s allocated little beside the %s between samples", command,
		       hm_show_bytes((double)rate_bytes).text);
		hm_next("heapmark run -r 1 %s", command);
	}
}

static void summarize(struct hm_run *run, const char *command, uint64_t rate_bytes)
{
	if (run->profile_count > 0) {
		qsort(run->profiles, run->profile_count, sizeof(run->profiles[0]), compare_profiles);
		print_profiles(run);
	}
	print_failures(run);
	print_survivors(run);
	if (run->profile_count == 0 && run->failure_count == 0 && run->survivor_count == 0)
		explain_nothing(command, rate_bytes);
}

static int exit_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? HM_EXIT_SIGNAL + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static int run_command(char **command, const struct run_options *options, const char *directory,
		       uint64_t run_id)
{
	struct hm_symbols symbols = { 0 };
	struct hm_run run = {
		.directory = directory,
		.run_id = run_id,
		.symbols = options->no_symbols ? NULL : &symbols,
		.no_labels = options->no_labels,
	};
	struct progress progress = { .run = &run,
				     .every_ns = (uint64_t)(options->every_seconds * NS_PER_SECOND) };
	int wait_status = 0;

	hm_symbols_init(&symbols);

	const int error = hm_supervise(command, tick, &progress, &wait_status);

	if (error != 0) {
		hm_fail("%s: %s, so nothing was run", command[0], strerror(-error));
		return error == -ENOENT ? HM_EXIT_NOT_FOUND : HM_EXIT_NOT_EXECUTABLE;
	}
	/* Only now: the terminal was the command's. */
	symbols.progress = hm_names_show_progress;
	hm_run_finish(&run);
	hm_names_end_progress();
	hm_names_warn(&run.unnamed, &symbols);
	summarize(&run, command[0], options->has_rate ? options->rate_bytes : hm_environment_rate());
	hm_run_done(&run);
	hm_symbols_done(&symbols);
	return exit_status(wait_status);
}

static int run_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct run_options options = { 0 };
	char absolute[PATH_MAX];

	if (!parse_options(verb, argc, argv, &options))
		return hm_verb_usage(verb);

	char **const command = argv + optind;
	char *const from_environment = hm_environment_directory();
	const char *const directory = options.directory != NULL ? options.directory : from_environment;
	const uint64_t run_id = draw_run_id();
	int status = examine(command[0]);

	if (status == HM_EXIT_DONE)
		status = prepare_directory(directory, absolute);
	if (status == HM_EXIT_DONE)
		status = prepare_library();
	if (status == HM_EXIT_DONE) {
		set_environment(&options, absolute, run_id);
		status = run_command(command, &options, directory, run_id);
	}
	free(from_environment);
	return status;
}

static const struct hm_option run_options[] = {
	{ 'o', "output", "DIR", "where profiles go; made where it is missing" },
	{ 'r', "rate", "RATE",
	  "mean bytes between samples (default 512K);\n1: every allocation; 0: none, until told" },
	{ OPTION_EVERY, "every", "SECONDS",
	  "also a profile of every process at this interval:\n...0001.pb.gz, ...0002.pb.gz" },
	{ OPTION_NO_CHILDREN, "no-children", NULL, "COMMAND itself only, not what it forks or executes" },
	{ OPTION_NO_SYMBOLS, "no-symbols", NULL, "addresses only; names come later, by heapmark symbolize" },
	{ OPTION_NO_LABELS, "no-labels", NULL, "do not split what is in use by its age" },
	{ OPTION_MMAP, "mmap", NULL, "count also what COMMAND maps itself (label kind=mmap)" },
	{ 0 },
};

const struct hm_verb hm_verb_run = {
	.name = "run",
	.summary = "runs a program and writes a profile of each of its processes",
	.synopsis =
		"[-o DIR] [-r RATE] [--every SECONDS] [--no-children] [--no-symbols] [--no-labels] [--mmap]\n"
		"[--]\n"
		"                    COMMAND...",
	.text = "Runs COMMAND with the library in it.  Afterwards there is a profile of every process that\n"
		"allocated enough to be sampled, whatever its end: heapmark.NAME.PID.pb.gz\n"
		"The exit status is COMMAND's: 128+N if signal N ended it; 125 if heapmark itself failed,\n"
		"126 if COMMAND could not be executed, 127 if it was not found.",
	.options = run_options,
	.stops_at_operand = true,
	.usage_status = HM_EXIT_RUN_FAILED,
	.main = run_main,
};
