// SPDX-License-Identifier: Apache-2.0
#include "tools/run_ledgers.h"

#include "tools/ledger.h"
#include "tools/process.h"
#include "tools/profile_file.h"
#include "tools/symbolize.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A ledger of the run, open. */
struct run_ledger {
	int descriptor;
	char path[PATH_MAX];
	struct hm_ledger_identity identity;
	pid_t writer; /* 0: its process is gone */
};

static void *grow(void *array, size_t count, size_t element_bytes)
{
	void *const grown = reallocarray(array, count + 1, element_bytes);

	if (grown == NULL)
		abort();
	return grown;
}

static char *copy_text(const char *text)
{
	char *const copy = strdup(text);

	if (copy == NULL)
		abort();
	return copy;
}

static void add_failure(struct hm_run *run, const char *path, const enum hm_snapshot_fault *fault, int error)
{
	run->failures = grow(run->failures, run->failure_count, sizeof(run->failures[0]));
	run->failures[run->failure_count++] = (struct hm_run_failure){
		.path = copy_text(path),
		.is_ledger_fault = fault != NULL,
		.fault = fault != NULL ? *fault : 0,
		.error = error,
	};
}

static void add_profile(struct hm_run *run, const char *path, const struct hm_snapshot *snapshot)
{
	run->profiles = grow(run->profiles, run->profile_count, sizeof(run->profiles[0]));
	struct hm_run_profile *const profile = &run->profiles[run->profile_count++];

	*profile = (struct hm_run_profile){
		.path = copy_text(path),
		.pid = snapshot->pid,
		.finished = snapshot->finished,
		.is_damaged = hm_ledger_is_damaged(snapshot),
		.totals = hm_snapshot_sum(snapshot),
	};
	memcpy(profile->comm, snapshot->comm, sizeof(profile->comm));
	memcpy(profile->losses, snapshot->losses, sizeof(profile->losses));
}

static void add_survivor(struct hm_run *run, const struct run_ledger *ledger,
			 const struct hm_snapshot *snapshot)
{
	run->survivors = grow(run->survivors, run->survivor_count, sizeof(run->survivors[0]));
	struct hm_run_survivor *const survivor = &run->survivors[run->survivor_count++];

	*survivor = (struct hm_run_survivor){ .ledger_path = copy_text(ledger->path), .pid = ledger->writer };
	memcpy(survivor->comm, snapshot->comm, sizeof(survivor->comm));
}

static void forget_failures(struct hm_run *run)
{
	for (size_t i = 0; i < run->failure_count; i++)
		free(run->failures[i].path);
	run->failure_count = 0;
}

static bool has_failed(const struct hm_run *run, const char *path)
{
	for (size_t i = 0; i < run->failure_count; i++)
		if (strcmp(run->failures[i].path, path) == 0)
			return true;
	return false;
}

/* NAME.ledger -> NAME, with what is to be added to it. */
static void make_stem(const struct run_ledger *ledger, const char *addition, char stem[PATH_MAX])
{
	const size_t length = strlen(ledger->path) - strlen(HM_LEDGER_SUFFIX);

	if (snprintf(stem, PATH_MAX, "%.*s%s", (int)length, ledger->path, addition) >= PATH_MAX)
		stem[0] =
			'\0'; /* then the name without a stem cannot be made either: ENAMETOOLONG or ENOENT */
}

static int write_profile(struct hm_run *run, const struct run_ledger *ledger,
			 const struct hm_snapshot *snapshot, const char *stem, char path[PATH_MAX])
{
	struct hm_profile_plan plan;
	struct hm_profile_written written = { 0 };

	hm_profile_plan(&plan, run->symbols, snapshot, ledger->descriptor, ledger->writer);

	const int error = hm_profile_file_new(snapshot, &plan.options, stem, path, &written);

	run->unnamed.modules_no_file += written.modules_no_file;
	run->unnamed.modules_other_file += written.modules_other_file;
	run->unnamed.modules_not_elf += written.modules_not_elf;
	return error;
}

static unsigned int extras_of(const struct hm_run *run)
{
	return run->no_labels ? 0 : HM_LEDGER_AGES;
}

/* The process is gone: its ledger becomes a profile. */
static void convert(struct hm_run *run, const struct run_ledger *ledger)
{
	struct hm_snapshot snapshot = { 0 };
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	char stem[PATH_MAX];
	char path[PATH_MAX];
	int error = hm_ledger_snapshot(ledger->descriptor, false, extras_of(run), &snapshot, &fault);

	if (error != 0) {
		add_failure(run, ledger->path, &fault, error);
		return;
	}
	if (hm_snapshot_sum(&snapshot).sample_count > 0) {
		make_stem(ledger, "", stem);
		error = write_profile(run, ledger, &snapshot, stem, path);
		if (error == 0)
			add_profile(run, path, &snapshot);
		else
			add_failure(run, ledger->path, NULL, error);
	}
	if (error == 0)
		(void)unlink(ledger->path);
	hm_snapshot_done(&snapshot);
}

/* Opens a file of the directory where it is a ledger of this run, complete enough to be believed. */
static bool open_ledger(const struct hm_run *run, const char *name, struct run_ledger *ret_ledger)
{
	struct run_ledger *const ledger = ret_ledger;
	const size_t length = strlen(name);
	const char *const separator = run->directory[strlen(run->directory) - 1] == '/' ? "" : "/";

	if (length <= strlen(HM_LEDGER_SUFFIX) ||
	    strcmp(name + length - strlen(HM_LEDGER_SUFFIX), HM_LEDGER_SUFFIX) != 0 ||
	    snprintf(ledger->path, sizeof(ledger->path), "%s%s%s", run->directory, separator, name) >=
		    (int)sizeof(ledger->path))
		return false;
	ledger->descriptor = open(ledger->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (ledger->descriptor < 0)
		return false;
	if (hm_ledger_identify(ledger->descriptor, &ledger->identity) &&
	    ledger->identity.run_id == run->run_id && ledger->identity.state != HM_LEDGER_EMPTY)
		return true;
	(void)close(ledger->descriptor);
	return false;
}

/* One pass over the directory. */
struct pass {
	struct hm_run *run;
	struct hm_process_list inner; /* owned; filled when is_listed */
	bool is_listed;
	unsigned int number; /* of the snapshot */
};

/* Most processes are found under their own number; only where one is not, all of them are looked at. */
static pid_t find_writer(struct pass *pass, const struct run_ledger *ledger)
{
	const char *const name = strrchr(ledger->path, '/') + 1;
	struct stat status;
	pid_t writer = 0;

	if (fstat(ledger->descriptor, &status) != 0)
		return 0;
	writer = hm_process_of_ledger(&pass->inner, ledger->identity.pid, name, status.st_ino);
	if (writer == 0 && !pass->is_listed) {
		hm_process_list_init(&pass->inner);
		pass->is_listed = true;
		writer = hm_process_of_ledger(&pass->inner, ledger->identity.pid, name, status.st_ino);
	}
	return writer;
}

/* Calls `handle` for every ledger of the run. */
static void for_each_ledger(struct pass *pass,
			    void (*handle)(struct pass *pass, const struct run_ledger *ledger))
{
	DIR *const stream = opendir(pass->run->directory);
	const struct dirent *entry = NULL;

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		struct run_ledger ledger;

		if (!open_ledger(pass->run, entry->d_name, &ledger))
			continue;
		ledger.writer = find_writer(pass, &ledger);
		handle(pass, &ledger);
		(void)close(ledger.descriptor);
	}
	hm_process_list_done(&pass->inner);
	if (stream != NULL)
		(void)closedir(stream);
}

static void collect_ledger(struct pass *pass, const struct run_ledger *ledger)
{
	if (ledger->writer == 0 && !has_failed(pass->run, ledger->path))
		convert(pass->run, ledger);
}

void hm_run_collect(struct hm_run *run)
{
	struct pass pass = { .run = run };

	for_each_ledger(&pass, collect_ledger);
}

static void snapshot_ledger(struct pass *pass, const struct run_ledger *ledger)
{
	struct hm_snapshot snapshot = { 0 };
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	char addition[16];
	char stem[PATH_MAX];
	char path[PATH_MAX];

	if (ledger->writer == 0 ||
	    hm_ledger_snapshot(ledger->descriptor, true, extras_of(pass->run), &snapshot, &fault) != 0)
		return; /* one that cannot be read will be a failure of the end */
	(void)snprintf(addition, sizeof(addition), ".%04u", pass->number);
	make_stem(ledger, addition, stem);

	const int error = write_profile(pass->run, ledger, &snapshot, stem, path);

	if (error != 0) {
		pass->run->snapshot_failure_count++;
		pass->run->snapshot_error = error;
	}
	hm_snapshot_done(&snapshot);
}

void hm_run_snapshot(struct hm_run *run, unsigned int number)
{
	struct pass pass = { .run = run, .number = number };

	for_each_ledger(&pass, snapshot_ledger);
}

/*
 * A process that is about to end while we look has left its ledger in the belief that we are there, and has
 * said so by HM_LEDGER_FINISHED: it is waited for.
 */
static bool is_about_to_end(const struct run_ledger *ledger)
{
	struct hm_ledger_identity identity;

	return hm_ledger_identify(ledger->descriptor, &identity) && identity.state == HM_LEDGER_FINISHED;
}

static pid_t wait_for_end(struct pass *pass, const struct run_ledger *ledger)
{
	enum { WAITS_MAX = 200, WAIT_NS = 10000000 }; /* two seconds in all */
	const struct timespec wait = { .tv_nsec = WAIT_NS };
	pid_t writer = ledger->writer;

	for (int waits = 0; writer != 0 && is_about_to_end(ledger) && waits < WAITS_MAX; waits++) {
		(void)nanosleep(&wait, NULL);
		writer = find_writer(pass, ledger);
	}
	return writer;
}

/*
 * The process has written its profile itself, between our last look and its end: with the names of its symbol
 * tables.  It gets the others here; where that fails it is a good profile all the same.
 */
static void complete_profile(const struct hm_run *run, const struct run_ledger *ledger)
{
	char stem[PATH_MAX];
	char path[PATH_MAX + sizeof(HM_PROFILE_SUFFIX)];

	if (run->symbols == NULL)
		return;
	make_stem(ledger, "", stem);
	(void)snprintf(path, sizeof(path), "%s%s", stem, HM_PROFILE_SUFFIX);
	(void)hm_symbolize_file(path, run->symbols);
}

/*
 * Released first and looked at again afterwards: a process that is still there then will see the release when
 * it ends; one that has ended in between may not have seen it, and its ledger is ours if it is still there.
 */
static void finish_ledger(struct pass *pass, const struct run_ledger *ledger)
{
	struct hm_snapshot snapshot = { 0 };
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;

	if (ledger->writer != 0) {
		(void)hm_ledger_release(ledger->descriptor);

		struct run_ledger again = *ledger;

		again.writer = find_writer(pass, ledger);
		if (wait_for_end(pass, &again) != 0) {
			if (hm_ledger_snapshot(ledger->descriptor, true, 0, &snapshot, &fault) == 0)
				add_survivor(pass->run, ledger, &snapshot);
			hm_snapshot_done(&snapshot);
			return;
		}
	}
	if (access(ledger->path, F_OK) == 0)
		convert(pass->run, ledger);
	else
		complete_profile(pass->run, ledger);
}

void hm_run_finish(struct hm_run *run)
{
	struct pass pass = { .run = run };

	forget_failures(run);
	for_each_ledger(&pass, finish_ledger);
}

void hm_run_done(struct hm_run *run)
{
	forget_failures(run);
	for (size_t i = 0; i < run->profile_count; i++)
		free(run->profiles[i].path);
	for (size_t i = 0; i < run->survivor_count; i++)
		free(run->survivors[i].ledger_path);
	free(run->profiles);
	free(run->failures);
	free(run->survivors);
	*run = (struct hm_run){ 0 };
}
