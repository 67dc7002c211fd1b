// SPDX-License-Identifier: Apache-2.0
#include "tools/profile_file.h"

#include "tools/ledger.h"
#include "tools/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_TRIES_MAX = 10000 };

/* The same two lines that the library writes at exit. */
static void describe_memory(struct hm_profile_plan *plan)
{
	struct hm_process_memory memory;

	if (hm_process_read_memory(plan->pid, &memory) != 0)
		return;
	(void)snprintf(plan->comment_texts[0], HM_PROFILE_COMMENT_BYTES,
		       "resident memory: %" PRIu64 " MiB when this was written, %" PRIu64
		       " MiB at its highest",
		       memory.resident_bytes >> 20, memory.peak_bytes >> 20);
	(void)snprintf(plan->comment_texts[1], HM_PROFILE_COMMENT_BYTES, "#heapmark.resident_bytes=%" PRIu64,
		       memory.resident_bytes);
	plan->options.comment_count = HM_PROFILE_COMMENTS;
}

/* Whose the process is, or was, is whose its ledger is. */
static struct hm_resolver make_resolver(struct hm_symbols *symbols, const struct hm_snapshot *snapshot,
					int ledger, pid_t pid)
{
	struct hm_perf_map_process process = {
		.pid = pid,
		.inner_pid = (pid_t)snapshot->pid,
		.owner = geteuid(),
		.start_ns = snapshot->start_realtime_ns,
	};
	struct stat status;

	if (fstat(ledger, &status) == 0)
		process.owner = status.st_uid;
	hm_symbols_begin(symbols, &process);
	return hm_symbols_resolver(symbols);
}

void hm_profile_plan(struct hm_profile_plan *ret_plan, struct hm_symbols *symbols,
		     const struct hm_snapshot *snapshot, int ledger, pid_t pid)
{
	struct hm_profile_plan *const plan = ret_plan;

	*plan = (struct hm_profile_plan){ .pid = pid };
	for (size_t i = 0; i < HM_PROFILE_COMMENTS; i++)
		plan->comments[i] = plan->comment_texts[i];
	plan->options = (struct hm_profile_options){
		.resolver = symbols != NULL ? make_resolver(symbols, snapshot, ledger, pid)
					    : (struct hm_resolver){ 0 },
		.producer = "heapmark " HM_VERSION,
		.comments = plan->comments,
	};
	if (pid != 0)
		describe_memory(plan);
}

int hm_profile_file_new(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
			const char *stem, char ret_path[PATH_MAX], struct hm_profile_written *ret_written)
{
	char path[PATH_MAX];
	int error = -EEXIST;

	for (unsigned int number = 1; error == -EEXIST && number <= NAME_TRIES_MAX; number++) {
		char suffix[16] = "";

		if (number > 1)
			(void)snprintf(suffix, sizeof(suffix), "-%u", number);
		if (snprintf(path, sizeof(path), "%s%s%s", stem, suffix, HM_PROFILE_SUFFIX) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		error = hm_profile_write_file(snapshot, options, path, HM_OUTPUT_NEW, ret_written);
	}
	if (error == 0)
		strcpy(ret_path, path);
	return error;
}
