// SPDX-License-Identifier: Apache-2.0
/* heapmark rate: how often a process that runs is sampled. */
#include "tools/cli.h"
#include "tools/input.h"
#include "tools/ledger.h"
#include "tools/library.h"
#include "tools/process.h"
#include "tools/process_usage.h"
#include "tools/run_environment.h"
#include "tools/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 64 };

static void interval_text(uint64_t interval_bytes, char ret_text[TEXT_BYTES])
{
	if (interval_bytes == 0)
		(void)snprintf(ret_text, TEXT_BYTES, "asleep");
	else if (interval_bytes == 1)
		(void)snprintf(ret_text, TEXT_BYTES, "every allocation");
	else
		(void)snprintf(ret_text, TEXT_BYTES, "one sample in %s",
			       hm_show_bytes((double)interval_bytes).text);
}

/*
 * A process with the library and without a ledger: a fork child that has not come to one, or a directory that
 * could not be written to.  The first follows its parent's.
 */
static void explain_no_ledger(const char *pid, const char *rate)
{
	const pid_t parent = hm_process_parent((pid_t)strtol(pid, NULL, 10));
	struct hm_process_ledger ledger;

	hm_fail("%s: has %s loaded but no ledger through which it could be told: it was forked and has not "
		"allocated %d MiB yet, or no file could be made",
		pid, HM_LIBRARY_NAME, HM_CHECKPOINT_BYTES >> 20);
	if (parent > 0 && hm_process_open_ledger(parent, &ledger) == 0) {
		(void)close(ledger.descriptor);
		hm_advise("heapmark rate %d %s for its parent, which it follows until it has a ledger",
			  (int)parent, rate);
	} else {
		hm_advise("heapmark rate %s %s again later, or ls -ld its HEAPMARK_DIR", pid, rate);
	}
}

/* For writing: by the descriptor, since the file may have no name any more. */
static int open_writable(int descriptor)
{
	char path[64];
	int writable = -1;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
	writable = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	return writable >= 0 ? writable : -errno;
}

/*
 * What a process has of which no sample tells, when it is woken: no more than what is resident, and what its
 * threads allocate until they notice.  0: not known.
 */
static uint64_t asleep_bytes_of(pid_t pid)
{
	struct hm_process_usage usage;

	return hm_process_read_usage(pid, &usage) == 0
		       ? usage.resident_bytes + (uint64_t)usage.thread_count * HM_CHECKPOINT_BYTES
		       : 0;
}

static int change(const struct hm_input *input, uint64_t interval_bytes, uint64_t *ret_was)
{
	const int descriptor = open_writable(input->descriptor);
	int error = 0;

	if (descriptor < 0)
		return descriptor;
	error = hm_ledger_set_interval(descriptor, interval_bytes, asleep_bytes_of(input->pid), ret_was);
	(void)close(descriptor);
	return error;
}

/* Whether there is somebody who would be told; says why not. */
static bool is_listening(const char *argument, const struct hm_input *input)
{
	struct hm_ledger_identity identity;

	if (input->kind != HM_INPUT_LEDGER || !hm_ledger_identify(input->descriptor, &identity)) {
		hm_fail("%s: no ledger of this version, so there is no process to be told", argument);
		hm_advise("heapmark rate with the number of a process");
	} else if (input->pid == 0 || identity.state == HM_LEDGER_FINISHED) {
		hm_fail("%s: its process has come to its end, so nobody would notice", argument);
		hm_advise("heapmark check %s", argument);
	} else {
		return true;
	}
	return false;
}

static int set_rate(const struct hm_input *input, const char *argument, uint64_t interval_bytes)
{
	char now_text[TEXT_BYTES];
	char was_text[TEXT_BYTES];
	uint64_t was = 0;
	int error = 0;

	if (!is_listening(argument, input))
		return HM_EXIT_USAGE;
	error = change(input, interval_bytes, &was);
	if (error != 0) {
		hm_fail("%s: its ledger cannot be written to, so it cannot be told: %s", argument,
			strerror(-error));
		hm_advise("sudo heapmark rate %s %" PRIu64, argument, interval_bytes);
		return HM_EXIT_USAGE;
	}

	const char *const on_average = interval_bytes > 1 ? " on average" : "";

	interval_text(interval_bytes, now_text);
	interval_text(was, was_text);
	if (was == interval_bytes) {
		hm_say("process %d: %s%s, as before", (int)input->pid, now_text, on_average);
		return HM_EXIT_DONE;
	}
	hm_say("process %d: %s%s; was %s", (int)input->pid, now_text, on_average, was_text);
	hm_say("each of its threads notices before it has allocated another %s",
	       hm_show_bytes(HM_CHECKPOINT_BYTES).text);
	return HM_EXIT_DONE;
}

static int rate_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct hm_input input;
	uint64_t interval_bytes = 0;
	int error = 0;
	int status = 0;

	while (hm_verb_option(verb, argc, argv) != -1)
		;
	if (argc - optind != 2) {
		hm_fail("a PID and a RATE are needed, and nothing else");
		return hm_verb_usage(verb);
	}

	const char *const process = argv[optind];
	const char *const rate = argv[optind + 1];

	if (!hm_parse_bytes(rate, &interval_bytes) || interval_bytes > HM_RATE_MAX_BYTES) {
		hm_fail("%s: a rate is a number of bytes such as 512K, 2M (at most 1T), 1 for every "
			"allocation, or 0 for none",
			rate);
		return hm_verb_usage(verb);
	}
	error = hm_input_open(process, &input);
	if (error == -ENODATA)
		explain_no_ledger(process, rate);
	else if (error != 0)
		hm_input_explain(verb->name, process, error);
	if (error != 0)
		return HM_EXIT_USAGE;
	status = set_rate(&input, process, interval_bytes);
	hm_input_close(&input);
	return status;
}

static const struct hm_option rate_options[] = {
	{ 0 },
};

const struct hm_verb hm_verb_rate = {
	.name = "rate",
	.summary = "changes how often a process that runs is sampled",
	.synopsis = "PID|LEDGER RATE",
	.text = "Sets the mean number of bytes between two samples of a process that runs with the library: "
		"64K,\n"
		"512K, 2M; 1 counts every allocation, 0 puts it to sleep.  A process that was started with\n"
		"HEAPMARK_RATE=0 is woken so.  The process is not stopped and gets no signal: the number is "
		"written\n"
		"to its ledger, and each thread looks there before it has allocated another 16 MiB.  "
		"Estimates\n"
		"stay unbiased; what was allocated asleep is not among the figures.",
	.options = rate_options,
	.usage_status = HM_EXIT_USAGE,
	.main = rate_main,
};
