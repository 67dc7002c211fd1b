// SPDX-License-Identifier: Apache-2.0
/* Names for the frames of threads: every address of all stacks, looked up once. */
#ifndef HM_TOOLS_THREAD_NAMES_H
#define HM_TOOLS_THREAD_NAMES_H

#include "proto/arena.h"
#include "proto/names.h"
#include "tools/mappings.h"
#include "tools/symbols.h"
#include "tools/threads.h"

struct hm_thread_name {
	struct hm_location_name name; /* line_count 0: none */
	const char *path;             /* of the file that the code belongs to; "" where to none */
	uint64_t file_offset;         /* in that file; the address itself where there is none */
};

struct hm_thread_names {
	uint64_t *addresses; /* ascending */
	struct hm_thread_name *names;
	uint32_t count;
	struct hm_arena arena; /* owns all of it, but for what `symbols` has */
};

/*
 * Looks up the frames of all threads.  `symbols` is begun for the process here; names last until it is begun
 * again.  `mappings` is borrowed and outlives the names.  Returns 0 or -ENOMEM.
 */
int hm_thread_names_init(pid_t pid, const struct hm_mappings *mappings, const struct hm_threads *threads,
			 struct hm_symbols *symbols, struct hm_thread_names *ret_names);

/* Accepts zeroed names. */
void hm_thread_names_done(struct hm_thread_names *names);

/* NULL where the address is in no stack. */
const struct hm_thread_name *hm_thread_names_find(const struct hm_thread_names *names, uint64_t address);

#endif
