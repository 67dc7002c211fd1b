// SPDX-License-Identifier: Apache-2.0
/*
 * A file that appears whole or not at all.
 *
 * It is written under a temporary name in the directory where it will be (".heapmark.PID.N.tmp", O_EXCL and
 * O_NOFOLLOW, mode 0600) and given its name at the end.  No write raises SIGXFSZ: where RLIMIT_FSIZE does not
 * allow it, it is -EFBIG.  A full disk is -ENOSPC, and no temporary file is left by any error.
 *
 * No malloc, stdio or locale; does not keep errno.
 */
#ifndef HM_PROTO_OUTPUT_FILE_H
#define HM_PROTO_OUTPUT_FILE_H

#include "proto/gzip.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum hm_output_mode {
	HM_OUTPUT_NEW, /* -EEXIST where something has the name, before anything is written and at the end */
	HM_OUTPUT_REPLACE, /* as `-o FILE` of any tool; what is no regular file (/dev/stdout) is written into
			    */
};

struct hm_output_file {
	int descriptor;  /* owned */
	bool in_place;   /* writes go to `path` itself */
	bool is_regular; /* else a pipe, a terminal */
	enum hm_output_mode mode;
	uint64_t size_bytes; /* written so far */
	char path[PATH_MAX];
	char temporary_path[PATH_MAX];
};

/* Returns 0 or a negative errno.  On success one of commit or abandon must follow. */
int hm_output_open(const char *path, enum hm_output_mode mode, struct hm_output_file *ret_file);

/* A sink that writes to the file, valid while the file is open and stays where it is. */
struct hm_sink hm_output_sink(struct hm_output_file *file);

/* Gives the file its name.  Returns 0 or a negative errno; then the file is gone. */
int hm_output_commit(struct hm_output_file *file);

/* Removes what was written. */
void hm_output_abandon(struct hm_output_file *file);

/* A sink that writes to a descriptor (borrowed; *descriptor outlives the sink): a pipe, a socket, stdout. */
struct hm_sink hm_descriptor_sink(int *descriptor);

#endif
