// SPDX-License-Identifier: Apache-2.0
/*
 * The last act: a profile made from the process's own ledger, inside it.
 *
 * Memory comes from private mappings, never from the program's heap.  Function names come from the symbol
 * tables of the files on disk; a few MiB while it lasts.  One file is open at a time, so one free descriptor
 * is enough.
 *
 * Not in a signal handler; the thread's guard is up.
 */
#ifndef HM_PRELOAD_EXIT_WRITER_H
#define HM_PRELOAD_EXIT_WRITER_H

struct hm_image;
struct hm_ledger_file;

/*
 * Marks the ledger finished and turns it into the profile beside it, which replaces it.  A ledger without
 * samples is removed; one that somebody supervises, or that could not be turned, is left.  Obeys the
 * program's seccomp filters (sandbox.h).
 */
void hm_exit_write(struct hm_ledger_file *ledger, const struct hm_image *image);

/* Writes a profile of the ledger as it is now to `path`, which must not exist.  0 or a negative errno. */
int hm_exit_dump(struct hm_ledger_file *ledger, const char *path);

#endif
