// SPDX-License-Identifier: Apache-2.0
/* heapmark doctor: why the memory is high, in one screen. */
#include "tools/cli.h"
#include "tools/doctor.h"
#include "tools/input.h"
#include "tools/verb.h"
#include "tools/view_argument.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int show(const struct hm_doctor *doctor)
{
	const int status = hm_view_report(doctor->argument, &doctor->view);

	if (!doctor->hides_frames)
		hm_warn_not_hidden(doctor->argument);
	hm_doctor_print(doctor);
	return status;
}

static int examine(const struct hm_verb *verb, const char *argument)
{
	struct hm_doctor doctor;
	struct hm_input input;
	const char *reason = NULL;
	int status = HM_EXIT_USAGE;
	int error = hm_input_open(argument, &input);

	if (error != 0) {
		hm_input_explain(verb->name, argument, error);
		return HM_EXIT_USAGE;
	}
	error = hm_doctor_gather(&doctor, argument, &input, &reason);
	hm_input_close(&input);
	if (error == 0) {
		status = show(&doctor);
	} else {
		hm_fail("%s: %s", argument, reason);
		hm_advise("heapmark check %s", argument);
	}
	hm_doctor_done(&doctor);
	return status;
}

static int doctor_main(const struct hm_verb *verb, int argc, char **argv)
{
	struct hm_input_list list;
	const char *culprit = NULL;
	int status = HM_EXIT_DONE;

	while (hm_verb_option(verb, argc, argv) != -1)
		;
	if (argc - optind != 1) {
		hm_fail("one PID, LEDGER, PROFILE or DIR is looked at, and there are %d", argc - optind);
		return hm_verb_usage(verb);
	}

	const int error = hm_input_list_init(argv + optind, 1, true, &list, &culprit);

	if (error != 0) {
		hm_fail("%s: %s", culprit,
			error == -ENOENT ? "no profile or ledger in this directory" : strerror(-error));
		return hm_verb_usage(verb);
	}
	for (size_t i = 0; i < list.count; i++) {
		if (i > 0)
			(void)printf("\n");
		status = hm_exit_worse(status, examine(verb, list.arguments[i]));
	}
	hm_input_list_done(&list);
	return status;
}

static const struct hm_option doctor_options[] = { { 0 } };

const struct hm_verb hm_verb_doctor = {
	.name = "doctor",
	.summary = "says why the memory is high",
	.synopsis = "PID|LEDGER|PROFILE|DIR",
	.text = "One screen: what the resident memory is made of, the places that retain and that churn, "
		"what\n"
		"the threads do, and a verdict: leak, retention, churn, fragmentation, mmap, threads or\n"
		"healthy, with what to type next.  A process is looked at for a second; its threads are "
		"stopped\n"
		"for as long as two system calls take.  Of a LEDGER or PROFILE only the heap is known.\n"
		"Of a DIR there is a screen for each ledger and profile in it.",
	.options = doctor_options,
	.usage_status = HM_EXIT_USAGE,
	.main = doctor_main,
};
