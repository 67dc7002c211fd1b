// SPDX-License-Identifier: Apache-2.0
/* Snapshots written as profiles: with which names and comments, and under which file name. */
#ifndef HM_TOOLS_PROFILE_FILE_H
#define HM_TOOLS_PROFILE_FILE_H

#include "proto/profile_write.h"
#include "tools/symbols.h"

#include <limits.h>
#include <sys/types.h>

enum { HM_PROFILE_COMMENTS = 2, HM_PROFILE_COMMENT_BYTES = 128 };

/* How the profile of one process is to be written.  Stays where it is: `options` points into it. */
struct hm_profile_plan {
	struct hm_profile_options options;
	pid_t pid;
	const char *comments[HM_PROFILE_COMMENTS];
	char comment_texts[HM_PROFILE_COMMENTS][HM_PROFILE_COMMENT_BYTES];
};

/*
 * Names come from `symbols` (borrowed; begun for this profile); NULL: addresses only.  `ledger` is a
 * descriptor of the file that the snapshot was taken of.  Where the process still runs, `pid` is its number:
 * then its files are read as it sees them (process_names.h), and comments say how much memory it has.  Else
 * 0.
 */
void hm_profile_plan(struct hm_profile_plan *ret_plan, struct hm_symbols *symbols,
		     const struct hm_snapshot *snapshot, int ledger, pid_t pid);

/*
 * Writes `stem`.pb.gz, or `stem`-2.pb.gz, -3, ... where that exists: nothing is ever overwritten.  ret_path
 * receives the name.  Returns 0 or a negative errno.
 */
int hm_profile_file_new(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
			const char *stem, char ret_path[PATH_MAX], struct hm_profile_written *ret_written);

#endif
