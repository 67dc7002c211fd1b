// SPDX-License-Identifier: Apache-2.0
/*
 * HEAPMARK_MMAP=1: mappings that the program makes itself are counted as allocations.
 *
 * What counts
 * -----------
 * Anonymous mappings, private or shared, from the mmap that asks for them; to the byte of whole pages, each
 * one recorded (there is no sampling of them, so nothing is estimated).  Not those of an allocator, which
 * hands them out as blocks: what an object maps that defines malloc, behind this library or in front of it,
 * is its own business.  The C library does not call its exported mmap at all, for malloc, stacks of threads
 * and the rest.
 *
 * Address space that is reserved (PROT_NONE) is no memory.  It is remembered, and counts from the mprotect or
 * the mmap over it that makes it accessible, and only as far as that goes.  Memory that is made inaccessible
 * again, or whose pages are given back by madvise, counts until it is unmapped.
 *
 *	mmap        allocates
 *	MAP_FIXED   frees what it replaces
 *	munmap      frees the part: the object goes with its last byte, and a hole in the middle makes two of it
 *	mremap      frees and allocates, as realloc does
 *
 * Not seen: brk and sbrk, mappings of files, bare system calls.  What those unmap is noticed when the
 * addresses come again, and counted as HM_LOSS_MISSED_FREE.
 *
 * Every range is looked up in a table of all of them (map_table.h), under a lock (map_lock.h) that is not
 * held while the kernel works.  What goes is taken out before the kernel is asked, and put back where it
 * refuses: afterwards another thread may have been given the same addresses, and be in the table with them.
 *
 * Any thread, any signal handler; keeps errno.
 */
#ifndef HM_PRELOAD_MAP_RECORDER_H
#define HM_PRELOAD_MAP_RECORDER_H

#include "preload/cc.h"
#include "preload/map_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* HEAPMARK_MMAP.  Written once, while there is one thread. */
extern HM_HIDDEN bool hm_maps_are_counted;

/*
 * From now on they are counted.  Of `limit_bytes` (HEAPMARK_MAX) a quarter may be used for the table, 64 bytes
 * for each mapping; more mappings are lost, and counted as HM_LOSS_MAPPINGS.  Once, while there is one thread.
 */
void hm_maps_init(uint64_t limit_bytes);

/* Whether what `caller` maps is not the program's: it is an allocator, or this library. */
bool hm_maps_pass_over(const void *caller);

enum hm_maps_kind {
	HM_MAPS_UNKNOWN, /* nothing, or of no interest: a file's, an allocator's */
	HM_MAPS_RESERVED,
	HM_MAPS_COUNTED,
};

/* What is mapped at the address. */
enum hm_maps_kind hm_maps_kind_at(const void *address);

/*
 * A range that has just been mapped, to be accessible or as a reservation.  `caller` and `frame` are
 * __builtin_return_address(0) and __builtin_frame_address(0) of the exported function.
 */
void hm_maps_add(const void *start, size_t size_bytes, const void *caller, const void *frame);
void hm_maps_reserve(const void *start, size_t size_bytes);

/* What was reserved in the range has become accessible. */
void hm_maps_commit(const void *start, size_t size_bytes, const void *caller, const void *frame);

/* What was taken out.  Zeroed: nothing. */
struct hm_maps_removal {
	struct hm_map_cut cut;
	uint64_t token; /* of the process whose table it was cut from */
};

/*
 * The kernel is about to be asked to unmap or to replace the range; then whether it has.  To be settled once,
 * by the thread that removed.
 */
void hm_maps_remove(const void *start, size_t size_bytes, struct hm_maps_removal *ret_removal);
void hm_maps_settle(const struct hm_maps_removal *removal, bool is_gone);

#endif
