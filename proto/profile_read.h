// SPDX-License-Identifier: Apache-2.0
/*
 * A pprof profile (gzip'd or not) -> plain structures, for looking at one and for checking one.
 *
 * Reads any producer's profile.  What cannot be decoded is refused; what can be decoded but breaks a rule of
 * the format (an index out of range, an unknown id) is kept as "none", so that a check can speak of it and a
 * view can go on.  Hostile input costs at most the limits below and never faults.
 *
 * For the outside of a process (tools).  No malloc; does not keep errno.
 */
#ifndef HM_PROTO_PROFILE_READ_H
#define HM_PROTO_PROFILE_READ_H

#include "proto/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Far above real profiles (10,000 stacks of 30 frames: some 2 MiB unpacked), low enough for any machine that
 * runs the tools.
 */
#define HM_PROFILE_FILE_BYTES_MAX     ((size_t)64 << 20)  /* the file */
#define HM_PROFILE_UNPACKED_BYTES_MAX ((size_t)256 << 20) /* what comes out of gzip */
#define HM_PROFILE_MEMORY_BYTES_MAX   ((size_t)1 << 30)   /* all memory together */

#define HM_PROFILE_NONE UINT32_MAX /* an index that leads nowhere */

struct hm_profile_text {
	const char *text; /* terminated; owned by the profile; may hold further NULs where damaged */
	size_t length_bytes;
};

struct hm_profile_value_type {
	uint32_t type; /* index into strings, or HM_PROFILE_NONE; so are all "text" fields below */
	uint32_t unit;
};

struct hm_profile_label {
	uint32_t key;
	uint32_t text; /* 0: a number */
	uint32_t unit; /* of the number */
	int64_t number;
};

struct hm_profile_sample {
	const uint32_t *locations; /* indexes into locations, leaf first; HM_PROFILE_NONE: unknown id */
	const int64_t *values;
	const struct hm_profile_label *labels;
	uint32_t location_count;
	uint32_t value_count; /* equal to sample_type_count in a proper profile: check before indexing */
	uint32_t label_count;
};

struct hm_profile_mapping {
	uint64_t id;
	uint64_t start_address;
	uint64_t end_address;
	uint64_t file_offset;
	uint32_t file;     /* text */
	uint32_t build_id; /* text */
	bool has_functions;
	bool has_filenames;
	bool has_line_numbers;
	bool has_inline_frames;
};

struct hm_profile_line {
	uint32_t function; /* index into functions, or HM_PROFILE_NONE */
	int64_t line;
};

struct hm_profile_location {
	uint64_t id;
	uint64_t address;
	uint32_t mapping; /* index into mappings; HM_PROFILE_NONE: id 0, or unknown (then mapping_unknown) */
	bool mapping_unknown;
	bool folded;
	uint32_t line_count;
	const struct hm_profile_line *lines; /* innermost inlined function first */
};

struct hm_profile_function {
	uint64_t id;
	uint32_t name;        /* text */
	uint32_t system_name; /* text */
	uint32_t file;        /* text */
	int64_t start_line;
};

struct hm_profile {
	struct hm_profile_value_type *sample_types;
	struct hm_profile_sample *samples;
	struct hm_profile_mapping *mappings;
	struct hm_profile_location *locations;
	struct hm_profile_function *functions;
	struct hm_profile_text *strings;
	uint32_t *comments; /* texts */
	uint32_t sample_type_count;
	uint32_t sample_count;
	uint32_t mapping_count;
	uint32_t location_count;
	uint32_t function_count;
	uint32_t string_count;
	uint32_t comment_count;

	struct hm_profile_value_type period_type;
	bool has_period_type;
	int64_t period;
	int64_t time_ns;
	int64_t duration_ns;
	uint32_t drop_frames; /* text; 0: none; so are the next three */
	uint32_t keep_frames;
	uint32_t default_sample_type;
	uint32_t doc_url;

	/* The shape of the file, for the check. */
	bool gzipped;
	size_t file_bytes;
	size_t unpacked_bytes;
	size_t trailing_bytes;      /* behind the gzip member */
	uint32_t first_field;       /* number of the first field in the file */
	uint32_t fields_backwards;  /* fields of the profile behind one of a higher number */
	uint32_t unknown_fields;    /* fields of no number that the format has, in all messages */
	uint32_t singular_repeated; /* single-valued fields that came more than once: files put one behind the
				       other */

	struct hm_arena arena; /* owns all of the above */
};

/* Why a profile could not be read. */
enum hm_profile_fault {
	HM_PROFILE_UNREADABLE,    /* the negative errno says why */
	HM_PROFILE_EMPTY,         /* -EBADMSG: no bytes at all */
	HM_PROFILE_NOT_A_PROFILE, /* -EBADMSG: neither gzip nor the format */
	HM_PROFILE_DAMAGED,       /* -EBADMSG: the gzip data is cut off or altered */
	HM_PROFILE_MALFORMED,     /* -EBADMSG: a message of the format that cannot be decoded */
	HM_PROFILE_TOO_LARGE,     /* -EFBIG: past a limit above */
	HM_PROFILE_NO_MEMORY,     /* -ENOMEM */
};

/* What to tell a user, to follow the file's name and a colon.  Static text. */
const char *hm_profile_fault_text(enum hm_profile_fault fault);

/*
 * Reads the profile in `data` (borrowed for the call), or all that `descriptor` gives until its end.
 * On success the caller owns *ret_profile and gives it back with hm_profile_done.  Returns 0 or a negative
 * errno; then *ret_profile is untouched and, where ret_fault is not NULL, *ret_fault says what is wrong.
 */
int hm_profile_read(const void *data, size_t size_bytes, struct hm_profile *ret_profile,
		    enum hm_profile_fault *ret_fault);
int hm_profile_read_descriptor(int descriptor, struct hm_profile *ret_profile,
			       enum hm_profile_fault *ret_fault);

/* Accepts a zeroed profile. */
void hm_profile_done(struct hm_profile *profile);

/* The text at an index; "" where the index leads nowhere. */
const char *hm_profile_string(const struct hm_profile *profile, uint32_t index);

/* Index of the sample type of this name, or HM_PROFILE_NONE. */
uint32_t hm_profile_find_sample_type(const struct hm_profile *profile, const char *type);

/*
 * Index of the sample type that a viewer shows unless told otherwise: the default where it names one, else
 * the last; HM_PROFILE_NONE where there are none.
 */
uint32_t hm_profile_default_sample_type(const struct hm_profile *profile);

/* Value `type_index` of a sample; 0 where it has no such value. */
static inline int64_t hm_profile_value(const struct hm_profile_sample *sample, uint32_t type_index)
{
	return type_index < sample->value_count ? sample->values[type_index] : 0;
}

#endif
