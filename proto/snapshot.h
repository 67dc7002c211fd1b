// SPDX-License-Identifier: Apache-2.0
/*
 * A snapshot: the contents of a ledger, copied into plain memory and checked.
 *
 * The ledger may be written to while it is read, may have been cut off, or may be no ledger at all; nothing
 * in it is believed before it was copied and the copy was checked.  What does not fit together is left out
 * and counted.  Whatever the bytes are, taking a snapshot never faults, always ends (every unit of the file
 * is looked at once as a trie node or a stack), and takes memory in proportion to the file's real length, not
 * to what the file says about itself.
 *
 *
 * Why the copies are consistent
 * -----------------------------
 * The writer never waits for a reader, so two copies made one after the other take the place of a lock.
 * Reading goes in this order, each step after the one before (an acquire fence stands between):
 *
 *   1. header          state first [header.ready], then, in a second copy, everything else.
 *   2. live samples    each slot twice.  A copy is believed if the second is equal to it in every byte and
 *                      its generation is even.  Why that is enough: each field is stored behind the claim
 *                      [live.claim], so if the first copy shows anything of a writer's, the second, made
 *                      after it, shows his generation, which is odd or two higher than before; and if the
 *                      first shows his last generation, the second shows all his fields [live.publish].
 *   3. stacks          the trie from its roots, the chains of equal hashes, [dropped] and [overflow]; with
 *                      each record its freed_* counters.  A record is written before the reference to it
 *                      [stack.publish].  Every stack of step 2 was published before the live slot, so it is
 *                      found here.
 *   4. alloc counters  in a second copy of every record of step 3.  A sample is added to alloc_* before it
 *                      can be freed [stack.free]; counters only grow; so freed (copied at t1) <= alloc at t1
 *                      <= alloc (copied at t2 > t1), and what is in use is never negative.  It is too much
 *                      by what was allocated from t1 to t2, which is milliseconds where there are many
 *                      stacks.  So a record of which alloc_* differs in the two copies is copied again by
 *                      itself, a few times, until two copies in a row agree; where none do, the two that
 *                      differ least are taken: about a microsecond of that stack's allocations.
 *                      What a stack had at the high-water mark (peak_*) is believed as a live slot is:
 *                      if both copies agree and peak_mark is even; else the record is looked at again, too.
 *                      The mark is that of step 1.  One that is raised meanwhile does no harm: a stack
 *                      that changes after it shows what it had at the later mark, which is no further
 *                      from the earlier one than this reading takes.
 *   5. modules         after the stacks, so every module that a copied frame names is there.
 *   6. losses, gauges, end of process.
 *
 * A ledger of which the writer is gone is simply equal to itself at every step.
 *
 * One counter is eight aligned bytes, which x86-64 copies whole.  Should a copy nevertheless show more freed
 * than allocated (an altered file), the difference is taken as zero and the stack counted in
 * skipped.counters.
 *
 * Everything here: one thread at a time per snapshot; no malloc, stdio, locale or libm; does not keep errno.
 * Variances are added as doubles: inside a program that traps floating-point exceptions the caller masks
 * them.
 */
#ifndef HM_PROTO_SNAPSHOT_H
#define HM_PROTO_SNAPSHOT_H

#include "proto/ages.h"
#include "proto/arena.h"
#include "proto/ledger.h"
#include "proto/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a ledger could not be read. */
enum hm_snapshot_fault {
	HM_SNAPSHOT_UNREADABLE,   /* the negative errno says why */
	HM_SNAPSHOT_NOT_A_LEDGER, /* -EBADMSG */
	HM_SNAPSHOT_TOO_SHORT,    /* -EBADMSG: begins like a ledger, ends before the tables */
	HM_SNAPSHOT_BYTE_ORDER,   /* -EPROTO */
	HM_SNAPSHOT_VERSION,      /* -EPROTO */
	HM_SNAPSHOT_NOT_READY,    /* -EAGAIN: the process has just made it, or died doing so */
	HM_SNAPSHOT_NO_MEMORY,    /* -ENOMEM */
};

/* What to tell a user, to follow the file's name and a colon: "not a ledger: ...".  Static text. */
const char *hm_snapshot_fault_text(enum hm_snapshot_fault fault);

struct hm_snapshot_options {
	/*
	 * The moment the figures belong to, where the ledger does not say (a process that came to its normal
	 * end wrote its own): for a running process the time now; for one that was killed, the file's last
	 * modification.  CLOCK_REALTIME; 0: not known, the start is taken.
	 */
	uint64_t realtime_ns;
	/* CLOCK_MONOTONIC_COARSE then, in ticks (HM_TICKS_PER_SECOND); 0: ages are counted by realtime_ns
	 * instead. */
	uint64_t monotonic_ticks;
	bool live_samples; /* copy the live table too; a profile does not need it */
	bool ages;         /* read it and keep how old what is live is (proto/ages.h) */
};

/* What one stack, or many, amounts to. */
struct hm_figures {
	uint64_t objects_fixed;  /* fixed-point, HM_OBJECTS_FRACTION_BITS */
	uint64_t bytes_fixed;    /* fixed-point, HM_BYTES_FRACTION_BITS */
	double objects_variance; /* of the estimate; finite and >= 0 */
	double bytes_variance;
};

static inline int64_t hm_objects_round(uint64_t objects_fixed)
{
	return (int64_t)((objects_fixed >> HM_OBJECTS_FRACTION_BITS) +
			 (objects_fixed >> (HM_OBJECTS_FRACTION_BITS - 1) & 1));
}

static inline int64_t hm_bytes_round(uint64_t bytes_fixed)
{
	return (int64_t)((bytes_fixed >> HM_BYTES_FRACTION_BITS) +
			 (bytes_fixed >> (HM_BYTES_FRACTION_BITS - 1) & 1));
}

struct hm_snapshot_stack {
	uint32_t unit;        /* where it lies in the ledger; live samples name it by this there */
	uint16_t frame_count; /* 0 for HM_STACK_DROPPED and HM_STACK_OVERFLOW */
	uint8_t flags;        /* HM_STACK_FLAGS */
	uint8_t kind;         /* enum hm_stack_kind */
	uint64_t sample_count;
	const uint64_t *frames; /* frame words, innermost first; owned by the snapshot */
	struct hm_figures alloc;
	struct hm_figures inuse;
	struct hm_figures peak; /* in use when all stacks together had the most in use */
};

struct hm_snapshot_module {
	uint32_t
		flags; /* HM_MODULE_*; where the module could not be read all fields are zero, `path` empty */
	uint32_t build_id_size;
	uint64_t start_address;
	uint64_t end_address;
	uint64_t file_offset;
	uint64_t load_bias;
	const char *path; /* as the ledger has it: any bytes but NUL; empty: none; owned by the snapshot */
	uint8_t build_id[HM_BUILD_ID_MAX];
};

struct hm_snapshot_live {
	uint64_t address;
	uint64_t size_bytes; /* as requested */
	uint64_t age_ns;     /* at snapshot.realtime_ns; in steps of one tick */
	uint32_t stack_index;
	float weight;  /* objects this sample stands for; finite, >= 1 */
	bool reported; /* by the program itself, for a pool of its own: the address is not malloc's */
	bool mapped;   /* a mapping of the program's own, or what is left of one */
};

struct hm_snapshot_gauge {
	char name[HM_GAUGE_NAME_MAX]; /* terminated, not empty */
	double value;                 /* any, also NaN */
};

/* Private memory of the library in the process. */
struct hm_snapshot_range {
	uint64_t start_address;
	uint64_t size_bytes;
};

/* What could not be used.  All zero for an undamaged ledger that nobody wrote to meanwhile. */
struct hm_snapshot_skipped {
	uint64_t
		references; /* of the trie, of a chain or a directory: point nowhere, or twice to one place */
	uint64_t late;      /* the same, but beyond the end of the file: cut off, or grown while we read */
	uint64_t records;   /* stack records that make no sense, or overlap another */
	/* stacks with more freed, or in use at the high-water mark, than allocated: in use taken as zero, and
	 * what was in use at the mark as what is now */
	uint64_t counters;
	uint64_t live;    /* live slots that never kept still, make no sense, or have an unknown stack */
	uint64_t modules; /* modules that make no sense, or were being written */
	uint64_t strings; /* paths that point nowhere, or are too long: taken as empty */
};

struct hm_snapshot {
	/* The process.  Text is owned by the snapshot, any bytes but NUL; empty where unknown. */
	uint32_t pid;
	char comm[HM_COMM_MAX];
	const char *executable;
	const char *command;
	uint64_t process_start_ticks; /* field 22 of /proc/PID/stat */
	uint64_t start_realtime_ns;
	uint64_t start_boottime_ns;
	uint64_t run_id; /* 0: none */
	bool finished;   /* the process came to its normal end and the figures are its last */
	bool supervised;
	bool cut_off; /* the file is shorter than the process had made it */

	uint64_t realtime_ns; /* the moment the figures belong to */
	/* When the most was in use; 0: nothing was ever, or it is not known when.  The mark lags behind a
	 * heap that grows (preload/peak.h), so where there is more in use now, the peak is now. */
	uint64_t peak_realtime_ns;
	bool at_peak;                    /* `inuse` of all stacks is what was in use then */
	uint64_t interval_bytes;         /* in force now; 1: every allocation; 0: dormant */
	uint64_t longest_interval_bytes; /* that samples were ever drawn with; 1: the figures are exact */
	bool slept;                      /* what was allocated meanwhile is not among the figures */
	uint64_t woken_realtime_ns;      /* when it was last; 0: never, or it is not known when */
	/* How much may be live that is not among the figures; UINT64_MAX: not known. */
	uint64_t asleep_bytes;    /* since it was allocated asleep; 0 where nothing was */
	uint64_t inherited_bytes; /* since it is of the process that this one was forked from */
	uint32_t frames_kept_max;
	uint64_t ledger_bytes;          /* length of the file */
	uint64_t losses[HM_LOSS_KINDS]; /* indexed by enum hm_loss */

	struct hm_snapshot_stack *stacks; /* ascending by unit */
	uint32_t stack_count;
	struct hm_snapshot_module *modules; /* modules[i] is module i + 1 of a frame word */
	uint32_t module_count;
	struct hm_snapshot_live *live; /* NULL unless asked for */
	uint64_t live_count;
	struct hm_age_sum *ages; /* ascending by stack, then age; NULL unless asked for */
	uint32_t age_count;
	struct hm_snapshot_gauge *gauges;
	uint32_t gauge_count;
	struct hm_snapshot_range own_ranges[HM_OWN_RANGES_MAX]; /* none is empty, or wraps */
	uint32_t own_range_count;
	uint64_t own_untold_bytes; /* mapped elsewhere, it is not known where */

	struct hm_snapshot_skipped skipped;
	struct hm_arena arena; /* owns all of the above */
};

/*
 * Copies what `source` holds.  On success the caller owns *ret_snapshot and gives it back with
 * hm_snapshot_done.  Returns 0 or a negative errno; then *ret_snapshot is untouched and, where ret_fault is
 * not NULL, *ret_fault says what is wrong.
 */
int hm_snapshot_take(const struct hm_source *source, const struct hm_snapshot_options *options,
		     struct hm_snapshot *ret_snapshot, enum hm_snapshot_fault *ret_fault);

/* Accepts a zeroed snapshot. */
void hm_snapshot_done(struct hm_snapshot *snapshot);

/*
 * From here on `inuse` of each stack is what it had at the high-water mark, at_peak is set, and there are no
 * live samples and no ages: nobody knows which they were.  What was allocated stays as of realtime_ns.
 */
void hm_snapshot_turn_to_peak(struct hm_snapshot *snapshot);

/* All stacks together, [dropped] and [overflow] included. */
struct hm_snapshot_totals {
	struct hm_figures alloc;
	struct hm_figures inuse;
	struct hm_figures peak;
	uint64_t sample_count;
};
struct hm_snapshot_totals hm_snapshot_sum(const struct hm_snapshot *snapshot);

/*
 * What was freed since the start, in objects and bytes (variances: 0).  It is rounded once, so it never falls
 * from one snapshot of a ledger to the next; the difference of what was rounded before would, by one.
 */
struct hm_figures hm_snapshot_freed(const struct hm_snapshot_totals *totals);

/* The module of a frame word, or NULL: none, unknown, or the address lies outside of it. */
const struct hm_snapshot_module *hm_snapshot_module_of(const struct hm_snapshot *snapshot, uint64_t frame);

/*
 * A loss in words, to follow its number: "samples whose stack could not be stored; their weight is under
 * [overflow]".  Static text.
 */
const char *hm_loss_text(enum hm_loss kind);

/* The loss as one word for machines: "stacks", "live", ... */
const char *hm_loss_word(enum hm_loss kind);

#endif
