// SPDX-License-Identifier: Apache-2.0
#include "tools/doctor.h"

#include "proto/profile_comments.h"
#include "tools/cli.h"
#include "tools/ledger.h"
#include "tools/names_report.h"
#include "tools/process_usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double ns_per_second = 1e9;
enum { LOOK_SECONDS = 1 };

static void sleep_until(struct timespec moment)
{
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL) == EINTR)
		;
}

static int take_snapshot(const struct hm_doctor *doctor, const struct hm_input *input, unsigned int extras,
			 struct hm_snapshot *ret_snapshot, const char **ret_reason)
{
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	const int error =
		hm_ledger_snapshot(input->descriptor, doctor->pid != 0, extras, ret_snapshot, &fault);

	if (error != 0)
		*ret_reason =
			fault == HM_SNAPSHOT_UNREADABLE ? strerror(-error) : hm_snapshot_fault_text(fault);
	return error;
}

/* Without the right to look at memory there are names and states. */
static void read_threads(struct hm_doctor *doctor)
{
	struct hm_mappings mappings = { 0 };
	const bool has_mappings = hm_mappings_read(doctor->pid, false, &mappings) == 0;

	(void)hm_threads_read(doctor->pid, has_mappings ? &mappings : NULL, &doctor->threads);
	hm_mappings_done(&mappings);
}

static void name_threads(struct hm_doctor *doctor)
{
	if (hm_thread_names_init(doctor->pid, &doctor->mappings, &doctor->threads, &doctor->symbols,
				 &doctor->names) != 0)
		return; /* for lack of memory; then they have none */
	hm_names_end_progress();
	hm_thread_groups_build(&doctor->threads, &doctor->names, &doctor->groups);
}

static void split_memory(struct hm_doctor *doctor)
{
	struct hm_stack_place *const stacks = calloc(doctor->threads.count + 1, sizeof(stacks[0]));

	if (stacks == NULL)
		abort();
	for (size_t i = 0; i < doctor->threads.count; i++)
		stacks[i] = (struct hm_stack_place){
			.stack_pointer = doctor->threads.entries[i].stack_pointer,
			.end_address = doctor->threads.entries[i].stack_end,
			.block = doctor->threads.entries[i].block,
		};
	hm_memory_split(doctor->pid, &doctor->mappings, &doctor->later, stacks, doctor->threads.count,
			&doctor->split);
	free(stacks);
	doctor->has_split = true;
}

/* Whether it has ended since it was first looked at: from then on it is a ledger like others. */
static bool notice_end(struct hm_doctor *doctor, uint64_t start_ticks)
{
	if (start_ticks != 0 && hm_process_start_ticks(doctor->pid) == start_ticks)
		return false;
	doctor->pid = 0;
	doctor->has_ended_meanwhile = true;
	doctor->has_memory = false;
	doctor->has_split = false;
	doctor->look_seconds = 0;
	hm_threads_done(&doctor->threads);
	return true;
}

static void look_at_memory(struct hm_doctor *doctor)
{
	doctor->split_error = hm_mappings_read(doctor->pid, true, &doctor->mappings);
	doctor->has_memory = hm_process_read_memory(doctor->pid, &doctor->memory) == 0;
	if (doctor->split_error == 0)
		split_memory(doctor);
}

static double resident_bytes_of(pid_t pid)
{
	struct hm_process_memory memory = { 0 };

	return hm_process_read_memory(pid, &memory) == 0 ? (double)memory.resident_bytes : 0;
}

/*
 * The order matters: counters, a second of waiting in which the threads are read, counters, and what is
 * resident right after them, so that both are of one moment.
 */
static int look_at_process(struct hm_doctor *doctor, const struct hm_input *input, const char **ret_reason)
{
	const uint64_t start_ticks = hm_process_start_ticks(doctor->pid);
	struct timespec moment;

	(void)clock_gettime(CLOCK_MONOTONIC, &moment);
	moment.tv_sec += LOOK_SECONDS;

	int error = take_snapshot(doctor, input, 0, &doctor->earlier, ret_reason);

	if (error != 0)
		return error;

	const double resident_bytes = resident_bytes_of(doctor->pid);

	read_threads(doctor);
	sleep_until(moment);

	const bool has_ended = notice_end(doctor, start_ticks);

	error = take_snapshot(doctor, input, HM_LEDGER_LIVE | HM_LEDGER_AGES, &doctor->later, ret_reason);
	if (error != 0 || has_ended)
		return error;
	doctor->resident_growth_bytes = resident_bytes_of(doctor->pid) - resident_bytes;
	doctor->look_seconds =
		(double)(doctor->later.realtime_ns - doctor->earlier.realtime_ns) / ns_per_second;
	look_at_memory(doctor);
	if (!notice_end(doctor, start_ticks))
		name_threads(doctor);
	return 0;
}

static double seconds_between(uint64_t start_ns, uint64_t end_ns)
{
	return end_ns > start_ns ? (double)(end_ns - start_ns) / ns_per_second : 0;
}

/* Since the last sleep: of what was allocated asleep nothing is known, and how long that was neither. */
static double recorded_seconds_of(const struct hm_snapshot *snapshot)
{
	const uint64_t start_ns = snapshot->woken_realtime_ns > snapshot->start_realtime_ns
					  ? snapshot->woken_realtime_ns
					  : snapshot->start_realtime_ns;

	return snapshot->interval_bytes != 0 ? seconds_between(start_ns, snapshot->realtime_ns) : 0;
}

/* The ledger, where the process could not finish, or the profile that it has written. */
static void find_what_is_left(struct hm_doctor *doctor, const struct hm_input *input)
{
	const size_t length = strlen(input->path) - strlen(HM_LEDGER_SUFFIX);
	char profile[PATH_MAX];

	if (snprintf(profile, sizeof(profile), "%.*s%s", (int)length, input->path, HM_PROFILE_SUFFIX) >=
	    (int)sizeof(profile))
		return;
	if (access(profile, R_OK) == 0)
		strcpy(doctor->left_path, profile);
	else if (access(input->path, R_OK) == 0)
		strcpy(doctor->left_path, input->path);
}

static int gather_ledger(struct hm_doctor *doctor, const struct hm_input *input, const char **ret_reason)
{
	int error = doctor->pid != 0 ? look_at_process(doctor, input, ret_reason)
				     : take_snapshot(doctor, input, HM_LEDGER_LIVE | HM_LEDGER_AGES,
						     &doctor->later, ret_reason);

	if (error == 0)
		error = hm_view_of_snapshot(&doctor->later, input, &doctor->view, ret_reason);
	if (error != 0)
		return error;
	doctor->is_asleep = doctor->later.interval_bytes == 0;
	if (doctor->is_asleep)
		doctor->look_seconds = 0;
	if (doctor->has_ended_meanwhile)
		find_what_is_left(doctor, input);
	doctor->hides_frames =
		hm_sites_build(&doctor->view, recorded_seconds_of(&doctor->later), &doctor->sites) == 0;
	hm_sites_add_ages(&doctor->sites, &doctor->later);
	if (doctor->look_seconds > 0)
		hm_sites_add_look(&doctor->sites, &doctor->earlier, &doctor->later);
	return 0;
}

static uint64_t number_of(const struct hm_profile *profile, const char *key)
{
	const char *const value = hm_profile_comment_value(profile, key);

	return value != NULL ? strtoull(value, NULL, 10) : 0;
}

static int gather_profile(struct hm_doctor *doctor, const struct hm_input *input, const char **ret_reason)
{
	const struct hm_profile *const profile = &doctor->view.profile;
	const int error = hm_view_load(input, &doctor->view, ret_reason);

	if (error != 0)
		return error;

	const uint64_t woken_ns = number_of(profile, "woken_time_ns");
	const uint64_t start_ns = woken_ns != 0 ? woken_ns : number_of(profile, "start_time_ns");

	doctor->memory.resident_bytes = number_of(profile, "resident_bytes");
	doctor->has_memory = doctor->memory.resident_bytes != 0;
	doctor->hides_frames = hm_sites_build(&doctor->view,
					      start_ns != 0 && profile->time_ns > 0
						      ? seconds_between(start_ns, (uint64_t)profile->time_ns)
						      : 0,
					      &doctor->sites) == 0;
	return 0;
}

bool hm_doctor_end_is_open(const struct hm_doctor *doctor)
{
	if (!doctor->is_profile)
		return doctor->pid == 0 && !doctor->later.finished;

	const char *const state = hm_profile_comment_value(&doctor->view.profile, "state");

	/* Of a process that ran, a profile says how much was resident. */
	return state != NULL && strcmp(state, "finished") != 0 && !doctor->has_memory;
}

int hm_doctor_gather(struct hm_doctor *doctor, const char *argument, const struct hm_input *input,
		     const char **ret_reason)
{
	*doctor = (struct hm_doctor){
		.argument = argument,
		.pid = input->kind == HM_INPUT_LEDGER ? input->pid : 0,
		.hidden_pid = input->kind == HM_INPUT_LEDGER ? input->hidden_pid : 0,
		.is_profile = input->kind != HM_INPUT_LEDGER,
	};
	hm_symbols_init(&doctor->symbols);
	doctor->symbols.progress = hm_names_show_progress;

	const int error = doctor->is_profile ? gather_profile(doctor, input, ret_reason)
					     : gather_ledger(doctor, input, ret_reason);

	if (error != 0)
		return error;

	const struct hm_evidence evidence = {
		.sites = &doctor->sites,
		.split = doctor->has_split ? &doctor->split : NULL,
		.resident_bytes = doctor->has_memory ? doctor->memory.resident_bytes : 0,
		.look_seconds = doctor->look_seconds,
		.resident_growth_bytes = doctor->resident_growth_bytes,
		.end_is_open = hm_doctor_end_is_open(doctor),
	};

	doctor->diagnosis = hm_diagnose(&evidence);
	return 0;
}

void hm_doctor_done(struct hm_doctor *doctor)
{
	hm_thread_groups_done(&doctor->groups);
	hm_thread_names_done(&doctor->names);
	hm_symbols_done(&doctor->symbols);
	hm_threads_done(&doctor->threads);
	hm_mappings_done(&doctor->mappings);
	hm_sites_done(&doctor->sites);
	hm_view_done(&doctor->view);
	hm_snapshot_done(&doctor->later);
	hm_snapshot_done(&doctor->earlier);
}
