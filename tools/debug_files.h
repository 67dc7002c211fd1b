// SPDX-License-Identifier: Apache-2.0
/*
 * The files in which the debug information of one program file is found, by elfutils.
 *
 * Looked for in this order, the first that fits is taken:
 *   1. in the program file itself;
 *   2. by its build id under /usr/lib/debug/.build-id, here and in the root directory of the process;
 *   3. by its .gnu_debuglink, checksum and all: beside it, in .debug there, in /usr/lib/debug;
 *   4. by its build id from the servers in DEBUGINFOD_URLS, into the cache of libdebuginfod.
 * What dwz has put into a file of its own (.gnu_debugaltlink) is found in the same way, and symbols that are
 * left in a compressed .gnu_debugdata are read.  Where the program file is gone, a separate file stands for
 * it.
 *
 * elfutils believes what a file says: for use in an isolated child (tools/isolated.h).
 */
#ifndef HM_TOOLS_DEBUG_FILES_H
#define HM_TOOLS_DEBUG_FILES_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct hm_debug_wanted {
	const char *path;        /* where the program file can be opened; NULL: nowhere */
	const char *name;        /* its path as its process sees it; never NULL */
	const char *root;        /* root directory of its process, without a slash at its end; "": ours */
	const uint8_t *build_id; /* NULL with size 0: none, so only `path` is looked at */
	size_t build_id_bytes;
	bool may_download;

	/* Told about a download every second at least.  total_bytes 0: not known, or not yet answered. */
	void (*downloading)(void *context, uint64_t done_bytes, uint64_t total_bytes);
	void *context;
};

/* Borrows from the hm_debug_wanted that it was opened with.  Released by hm_debug_files_close. */
struct hm_debug_files {
	const struct hm_debug_wanted *wanted;
	Dwfl *dwfl;            /* owned */
	int descriptor;        /* of that file; owned by dwfl */
	Dwfl_Module *module;   /* owned by dwfl; its addresses are those in the file */
	Dwarf *dwarf;          /* owned by dwfl; NULL: no debug information anywhere */
	Dwarf_Addr dwarf_bias; /* an address in `dwarf` and this is one in the program file */
	bool server_failed; /* a server was asked and did not answer properly, so it is no use asking again */
	time_t waiting_since;     /* CLOCK_MONOTONIC; when the server has last sent anything, or was asked */
	uint64_t last_done_bytes; /* from it, of this file */
};

/*
 * Opens what there is.  Returns false where neither the program file nor one that stands for it can be used.
 * `files` stays where it is until it is closed.
 */
bool hm_debug_files_open(const struct hm_debug_wanted *wanted, struct hm_debug_files *files);

void hm_debug_files_close(struct hm_debug_files *files);

#endif
