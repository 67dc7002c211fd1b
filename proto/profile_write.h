// SPDX-License-Identifier: Apache-2.0
/*
 * Snapshot -> gzip'd pprof profile (proto/profile.proto).
 *
 * Sample types, in Go's order: alloc_objects/count, alloc_space/bytes, inuse_objects/count,
 * inuse_space/bytes; the last is the default unless another is asked for.  One sample for each stack of which
 * a value is not zero; where the snapshot has ages, a stack is taken apart by a numeric label "age"
 * (proto/ages.h), in a row.  Mappings that the program made itself have a label kind=mmap.  The same
 * snapshot, names and options give the same bytes.
 *
 * Made up by us, in a mapping "[heapmark]" of addresses that no process has:
 *   [dropped]    the only frame of samples that could not be followed to their free
 *   [overflow]   the only frame of samples whose stack could not be stored
 *   [truncated]  outermost frame of a stack whose outer frames could not be found
 *   [cut]        outermost frame of a stack that is deeper than the frames kept
 * Addresses outside of every known module (JIT code) are in a mapping "[anon]" and all named "[anon]".
 *
 * Comments: lines for people, which pprof shows in every header, and "#heapmark.KEY=VALUE" lines, which it
 * does not.  Neither has the command line, which may hold secrets.
 *
 * Text that is not valid UTF-8, and control characters, are written as \xNN.
 *
 * Usable inside the target at exit: memory from an arena only, in proportion to stacks and distinct
 * addresses; no malloc, stdio, locale, threads.  Does not keep errno.
 */
#ifndef HM_PROTO_PROFILE_WRITE_H
#define HM_PROTO_PROFILE_WRITE_H

#include "proto/names.h"
#include "proto/output_file.h"
#include "proto/snapshot.h"

#include <stddef.h>
#include <stdint.h>

#define HM_KIND_LABEL  "kind"
#define HM_KIND_MAPPED "mmap"

struct hm_profile_options {
	struct hm_resolver resolver; /* resolve NULL: addresses only, as for a symboliser that comes later */
	const char *producer;        /* who writes, with version: "heapmark 0.1.0" */
	const char *const *comments; /* borrowed; further lines, for people or beginning with '#' */
	size_t comment_count;
	/* Of the four types, the one that viewers show first; NULL: inuse_space. */
	const char *default_sample_type;
	/*
	 * Borrowed; receives for each sample written, in order, the index of its stack in the snapshot.  Room
	 * for stack_count + age_count of the snapshot.  NULL: not wanted.
	 */
	uint32_t *ret_stacks;
};

/* What was written, for a line to the user.  */
struct hm_profile_written {
	uint64_t sample_count;
	uint64_t location_count;
	uint64_t function_count;
	uint64_t raw_bytes;       /* before compression */
	uint32_t modules_no_file; /* see enum hm_names_outcome; only modules that stand in a stack count */
	uint32_t modules_other_file;
	uint32_t modules_not_elf;
	size_t memory_bytes; /* that writing took, beside the snapshot */
};

/*
 * Writes the profile into `sink`.  Returns 0, -ENOMEM, or what the sink or the resolver said.
 * ret_written may be NULL.
 */
int hm_profile_write(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
		     const struct hm_sink *sink, struct hm_profile_written *ret_written);

/*
 * The same into a file that appears whole or not at all (proto/output_file.h).  It is opened after the names
 * were looked up: a single free descriptor is enough for both, one file after the other.
 */
int hm_profile_write_file(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
			  const char *path, enum hm_output_mode mode, struct hm_profile_written *ret_written);

#endif
