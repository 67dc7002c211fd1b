// SPDX-License-Identifier: Apache-2.0
/*
 * The ledger seen from inside: create it, grow it, hand out its arena.
 *
 * The whole of HEAPMARK_MAX is mapped at once and the file behind it is made longer as the arena is used, so
 * nothing ever moves.  The blocks of the file are allocated before they are touched: a full disk is an error
 * code, never a SIGBUS.
 *
 * Unless a function says otherwise: any thread, any signal handler; lock-free; never allocates from the
 * program's heap; keeps errno.
 */
#ifndef HM_PRELOAD_LEDGER_FILE_H
#define HM_PRELOAD_LEDGER_FILE_H

#include "proto/ledger.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hm_ledger_file {
	uint8_t *base; /* owned mapping of limit_bytes; the header lies at its start */
	/* Changed under `growing` alone, and only to less (hm_ledger_cut).  relaxed: whoever goes by an older
	 * one meets the newer when he wants to grow. */
	_Atomic uint64_t limit_bytes;
	uint64_t device; /* with inode: tells our file from one that took over the number or the name */
	uint64_t inode;
	_Atomic int growing; /* 1: a thread is making the file longer */
	/* hm_process_ticks of the last time that it could not be: a full disk is asked once a second */
	_Atomic uint64_t refused_ticks;
	int descriptor;      /* owned: high, close-on-exec; -1: none could be had, or anonymous */
	char path[PATH_MAX]; /* absolute; empty: the tables lie in anonymous memory */
};

static inline struct hm_ledger_header *hm_ledger_header(const struct hm_ledger_file *ledger)
{
	return (struct hm_ledger_header *)ledger->base;
}

/* What lies at a place in the file.  The place was handed out by this file, so it is inside. */
static inline void *hm_ledger_at(const struct hm_ledger_file *ledger, uint64_t offset)
{
	return ledger->base + offset;
}

static inline void *hm_ledger_unit(const struct hm_ledger_file *ledger, uint32_t unit)
{
	return ledger->base + (uint64_t)unit * HM_UNIT;
}

/* relaxed: a statistic; no other memory is read on the strength of it */
static inline void hm_ledger_lose(const struct hm_ledger_file *ledger, enum hm_loss kind)
{
	atomic_fetch_add_explicit(&hm_ledger_header(ledger)->losses[kind], 1, memory_order_relaxed);
}

/*
 * Creates `directory`/heapmark.<comm>.<pid>.ledger (O_EXCL|O_NOFOLLOW, mode 0600; -2, -3, ... behind the pid
 * where that name is taken, as a ledger or as a profile), maps it, and lays out an empty ledger of at most
 * `limit_bytes` in state EMPTY: the caller fills in the identity and publishes it [header.ready].
 *
 * Where no file can be made, the tables are laid out in anonymous memory, `ret_ledger->descriptor` is -1 and
 * the reason is returned as a negative errno: recording works all the same.
 * -ENOMEM with base NULL: not even that.
 *
 * Not in a signal handler.
 */
int hm_ledger_create(const char *directory, const char *comm, uint32_t pid, uint64_t limit_bytes,
		     struct hm_ledger_file *ret_ledger);

/* Whether the descriptor is there and still ours: the program may have closed it and reused the number. */
bool hm_ledger_has_descriptor(const struct hm_ledger_file *ledger);

/* Whether the file is known to have been removed: nobody will find it. */
bool hm_ledger_is_removed(const struct hm_ledger_file *ledger);

/*
 * Unmaps what lies beyond the end of the file: it will not grow any more.  For a process that is to lock its
 * memory, of which the kernel counts all that is mapped, used or not.  Returns whether anything was unmapped.
 */
bool hm_ledger_cut(struct hm_ledger_file *ledger);

/*
 * In a fork child: what it still writes to its parent's ledger stays with it from here on, and goes when it
 * starts one of its own.  Where the file cannot be opened any more, nothing changes.  Keeps errno.
 */
void hm_ledger_detach(struct hm_ledger_file *ledger);

/* Closes the descriptor where it is still ours: of no use to a fork child. */
void hm_ledger_close_descriptor(struct hm_ledger_file *ledger);

/* Removes the file where it is still ours and a seccomp filter does not forbid it.  The mapping stays: other
 * threads may be recording. */
void hm_ledger_remove(struct hm_ledger_file *ledger);

/*
 * Grants `size_bytes`, rounded up to whole units, zeroed.  Returns the offset, or 0 when the file cannot
 * grow (counted in HM_LOSS_GROWTH).
 */
uint64_t hm_ledger_allocate(struct hm_ledger_file *ledger, uint64_t size_bytes);

/*
 * Makes the file long enough for `ahead_bytes` beyond what is used, or as much of it as there is room for:
 * later it may not be possible.
 */
void hm_ledger_grow_ahead(struct hm_ledger_file *ledger, uint64_t ahead_bytes);

/*
 * Gives back what hm_ledger_allocate just granted, where nobody was granted anything since; for the loser of
 * a race to publish.  The caller has zeroed what it wrote there.  Else the space is lost.
 */
void hm_ledger_give_back(struct hm_ledger_file *ledger, uint64_t offset, uint64_t size_bytes);

/* Stores text and returns its unit, or 0 when the file cannot grow. */
uint32_t hm_ledger_store_string(struct hm_ledger_file *ledger, const char *text, size_t length_bytes);

/*
 * Returns segment `segment_index` of a growing table, making it (of `size_bytes`) where it is missing;
 * NULL when the file cannot grow or segment_index is beyond HM_SEGMENTS_MAX.
 */
void *hm_ledger_segment(struct hm_ledger_file *ledger, struct hm_ledger_segment *segment,
			uint64_t size_bytes);

#endif
