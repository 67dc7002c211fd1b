// SPDX-License-Identifier: Apache-2.0
/*
 * What the resident memory of a process is made of.
 *
 * Every resident page of /proc/PID/smaps belongs to one part, so the parts add up to what is resident.  The
 * figures of one mapping are the kernel's; where a mapping has several owners its pages are looked at one by
 * one (/proc/PID/pagemap): the kernel joins neighbouring mappings of equal kind, whoever made them.
 *
 *	the heap        the mappings that hold malloc'd blocks; of these, live is what the ledger estimates,
 *	                and kept by the allocator is all else
 *	anonymous       what is left of anonymous memory: mapped by the program itself, stacks of coroutines,
 *	                code made at run time, stacks of threads that have ended and that libc keeps; and what
 *	                is shared without a file: MAP_SHARED, memfd_create, shmget
 *	stacks          of the threads that there are: what libc has noted for each (thread_block.h); where
 *	                that may not be read, down from where the thread is to a guard or the next stack
 *	files           programs and libraries with their static data, mapped files, those of /dev/shm too
 *	own             the library, its ledger and its tables (own_ranges of the ledger)
 *	not recorded    what may be live blocks of which no sample tells: allocated asleep, in the process
 *	                that this one was forked from, or without room in the ledger.  How many bytes at most
 *	                the ledger says, nobody knows where: so many are taken from what else would be kept by
 *	                the allocator, and then from what would be anonymous memory
 *
 *
 * Which mappings hold malloc'd blocks
 * -----------------------------------
 * What the addresses of live samples lead to.  For the C library's own allocator "[heap]", which is what brk
 * gives and which others seldom use, and:
 *
 *	a block with a mapping of its own has that mapping, and nothing around it.  Of such blocks only some
 *	are sampled; those that are not are counted as the estimate has them: a sample that stands for w
 *	blocks adds w-1 times the pages that it has itself, taken from what is left of anonymous memory.
 *
 *	any other lies in an arena's heap, which begins at a multiple of 64 MiB: from there 64 MiB, as far as
 *	the mapping goes.  At each such multiple an arena without any sample is looked for, too.
 *
 *	what fits neither: the whole mapping.
 *
 * Which it is says what malloc itself has written there; where that may not be read it is guessed
 * (glibc_heap.h).
 *
 * jemalloc is asked: it has every page of its own in a tree, free ones too (jemalloc_pages.h).  Where that
 * may not be read, and for another allocator that was loaded in place of libc's (mimalloc, tcmalloc, ...),
 * the whole mapping; and where that was made with MAP_NORESERVE, as the first two do and programs seldom do,
 * also the mappings beside it that were, up to a gap of 2 MiB (beside what the library has mapped).  mimalloc also has what was so made between 2
 * and 30 TiB, where it asks to be, and tcmalloc "[heap]".  Others in which nothing was sampled are missed: at the default rate one of 2 MiB that is in full use is missed once in 50.
 *
 * A block that a program reported itself (a pool of its own) is not malloc's and leads nowhere.  A mapping
 * that it was seen to make itself (HEAPMARK_MMAP) is its own, wherever it lies.
 */
#ifndef HM_TOOLS_MEMORY_SPLIT_H
#define HM_TOOLS_MEMORY_SPLIT_H

#include "proto/snapshot.h"
#include "tools/mappings.h"
#include "tools/thread_block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum hm_memory_part {
	HM_MEMORY_LIVE,
	HM_MEMORY_KEPT,
	HM_MEMORY_ANONYMOUS,
	HM_MEMORY_STACKS,
	HM_MEMORY_FILES,
	HM_MEMORY_OWN,
	HM_MEMORY_UNRECORDED,
	HM_MEMORY_PARTS,
};

/* "kept by the allocator".  Static text. */
const char *hm_memory_part_text(enum hm_memory_part part);

/* Where a thread's stack is, as far as it is known. */
struct hm_stack_place {
	uint64_t stack_pointer; /* 0: not known */
	uint64_t end_address;   /* where it can at most reach; 0: not known */
	struct hm_thread_block block;
};

struct hm_memory_split {
	uint64_t parts_bytes[HM_MEMORY_PARTS]; /* add up to resident_bytes */
	uint64_t resident_bytes;
	uint64_t swapped_bytes;

	/* Of malloc'd blocks, by the live samples: as requested, and what of that was ever touched. */
	double live_bytes;
	double live_variance;
	double live_touched_bytes;
	/* What the estimate has more than the mappings hold: parts_bytes[HM_MEMORY_LIVE] was cut to fit. */
	double clipped_bytes;
	/* All of the mappings that hold malloc'd blocks, whatever is known of what is in them. */
	uint64_t heap_bytes;
	/* What may be live of which no sample tells, at most; UINT64_MAX: nobody knows. */
	uint64_t unrecorded_bytes;
	/* Anonymous memory that cannot be that. */
	uint64_t surely_mapped_bytes;
	uint64_t inferred_bytes; /* of the heap: blocks that were not sampled, with mappings of their own */
	/* Of anonymous memory: what lies in the allocator's mappings, and is more than was ever allocated. */
	uint64_t displaced_bytes;
	/* What the allocator has free is told from what the program has mapped, where nothing is in use in it. */
	bool knows_free;
	bool has_pages; /* pagemap could be read; where not, mappings of several owners are the first's */
	const char *allocator; /* "glibc", "jemalloc", ...; static text */
};

/*
 * Splits what `mappings` (with residency) hold.  `snapshot` has live samples.  `stacks` are those of all
 * threads; all borrowed for the call.
 */
void hm_memory_split(pid_t pid, const struct hm_mappings *mappings, const struct hm_snapshot *snapshot,
		     const struct hm_stack_place *stacks, size_t stack_count,
		     struct hm_memory_split *ret_split);

#endif
