// SPDX-License-Identifier: Apache-2.0
/*
 * The mappings of a process, with how much of each is resident: /proc/PID/smaps, and /proc/PID/pagemap where
 * a part of a mapping is asked for.
 */
#ifndef HM_TOOLS_MAPPINGS_H
#define HM_TOOLS_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct hm_mapping {
	uint64_t start_address;
	uint64_t end_address;
	uint64_t file_offset;
	uint64_t inode; /* 0: anonymous, or not of a file system */
	uint64_t resident_bytes;
	uint64_t swapped_bytes;
	uint64_t huge_bytes; /* of what is resident: in large pages */
	bool readable;
	bool writable;
	bool executable;
	bool no_reserve; /* made with MAP_NORESERVE; known with residency only, as the next */
	bool is_locked;  /* by mlock, which makes all of it resident */
	const char
		*name; /* owned by the list: a path (" (deleted)" left on), "[heap]", "[anon:...]", or "" */
};

struct hm_mappings {
	struct hm_mapping *entries; /* owned; ascending, none overlaps another */
	size_t count;
	char *text;              /* owned; names point into it */
	uint64_t resident_bytes; /* of all */
	uint64_t swapped_bytes;
};

/*
 * Reads the mappings of a process; `with_residency` false: from /proc/PID/maps, which is quicker and shows
 * nothing of what is resident.  Returns 0, -ESRCH where it has ended (or is a thread of the kernel), or
 * another negative errno.
 */
int hm_mappings_read(pid_t pid, bool with_residency, struct hm_mappings *ret_mappings);

/* The same of what was read from such a file, which the list then owns and has taken apart. */
void hm_mappings_parse(char *text, struct hm_mappings *ret_mappings);

/* Accepts a zeroed list. */
void hm_mappings_done(struct hm_mappings *mappings);

/* The mapping that holds the address, or NULL. */
const struct hm_mapping *hm_mappings_find(const struct hm_mappings *mappings, uint64_t address);

/* The mapping with the beginning of the file that `mapping`, one of these, is of; NULL where there is none.
 */
const struct hm_mapping *hm_mappings_head_of(const struct hm_mappings *mappings,
					     const struct hm_mapping *mapping);

/* Whether it is anonymous and has no name, or a name that the program gave it. */
bool hm_mapping_is_anonymous(const struct hm_mapping *mapping);

/* Whether it can be read, written or executed; the others are address space that is reserved, and guards. */
bool hm_mapping_is_accessible(const struct hm_mapping *mapping);

/* The pages of a process, one by one. */
struct hm_pages {
	int descriptor; /* owned; released by hm_pages_close */
};

int hm_pages_open(pid_t pid, struct hm_pages *ret_pages);
void hm_pages_close(struct hm_pages *pages);

/*
 * How much between the two addresses is resident, whole pages that are touched by the range; 0 where it
 * cannot be read.
 */
uint64_t hm_pages_resident(const struct hm_pages *pages, uint64_t start_address, uint64_t end_address);

#endif
