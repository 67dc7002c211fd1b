// SPDX-License-Identifier: Apache-2.0
/*
 * Names for the addresses of a profile, as good as they are to be had: function, file, line, inlined
 * functions innermost first; demangled, with the linker's name beside it.
 *
 * For each file, in this order:
 *   1. its symbol tables (proto/elf_symbols.h, process_names.h), by our own reader, which nothing can harm;
 *   2. its debug information and that of its separate files (debug_files.h, debug_info.h), read by elfutils
 * in an isolated child (isolated.h), one for each file.  The child sends back what it finds; where it dies,
 *      or takes too long, what it had not sent keeps its name from 1.
 * Code that belongs to no file is named from the list that its program writes for perf (perf_map.h).
 *
 * What was found is kept (symbol_cache.h): no address of a file is looked up twice, in however many profiles.
 */
#ifndef HM_TOOLS_SYMBOLS_H
#define HM_TOOLS_SYMBOLS_H

#include "proto/names.h"
#include "tools/perf_map.h"
#include "tools/symbol_cache.h"
#include "tools/symbol_pipe.h"

#include <stdbool.h>
#include <stdint.h>

/* What went wrong with one file. */
enum hm_symbols_trouble {
	HM_SYMBOLS_CRASHED,       /* reading its debug information did */
	HM_SYMBOLS_TOO_LONG,      /* it took too long, or too much memory */
	HM_SYMBOLS_NO_CHILD,      /* it could not be read, for want of a process */
	HM_SYMBOLS_SERVER_FAILED, /* DEBUGINFOD_URLS: asked for this file, did not answer */
};

struct hm_symbols_note {
	const char *file; /* owned by the cache */
	enum hm_symbols_trouble trouble;
};

enum { HM_SYMBOLS_NOTES_MAX = 16 };

struct hm_symbols {
	struct hm_symbol_cache cache;       /* owned */
	struct hm_perf_map_process process; /* whose profile is being written; zero: none */
	bool may_download;                  /* DEBUGINFOD_URLS is set, and no server has failed */
	/*
	 * The modules' load_bias is what follows from start_address and file_offset if their files have code
	 * at the address that is its offset: the file that is found has the last word.  Set after
	 * hm_symbols_begin.
	 */
	bool has_guessed_biases;

	/* Told how far it is, several times a second; NULL: nobody.  `file` is the path of the one being
	 * read. */
	void (*progress)(const char *file, enum hm_symbol_stage stage, uint64_t done, uint64_t total);

	/* Since the notes were last cleared; note_count goes on counting where there is no room. */
	struct hm_symbols_note notes[HM_SYMBOLS_NOTES_MAX];
	uint32_t note_count;
};

void hm_symbols_init(struct hm_symbols *ret_symbols);
void hm_symbols_done(struct hm_symbols *symbols);

/*
 * Begins the next profile: that of `process`, or, where NULL, of one of which nothing is known.  Names that
 * were given out before are not to be used any more.
 */
void hm_symbols_begin(struct hm_symbols *symbols, const struct hm_perf_map_process *process);

/* The resolver for that profile.  `symbols` is borrowed; the names last until the next hm_symbols_begin. */
struct hm_resolver hm_symbols_resolver(struct hm_symbols *symbols);

#endif
