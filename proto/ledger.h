// SPDX-License-Identifier: Apache-2.0
/*
 * The ledger: the one file through which a profiled process speaks.
 *
 * The library inside the process (the writer) maps it MAP_SHARED and keeps its tables in it; everybody
 * else (the readers) copies from it, while the process lives, hangs, or is long gone.  Nothing in it is a
 * pointer: places are byte offsets from the start of the file, or *units* of 64 bytes.
 *
 * Native byte order and native sizes are fine: a ledger is read on the machine that wrote it (the profile
 * made from it is what travels), and `byte_order` tells the reader when that is not so.
 *
 *	offset 0                  header: identity, limits, counters of losses, directories, gauges
 *	HM_LEDGER_HEADER_BYTES    roots of the stack trie: HM_TRIE_ROOTS references
 *	HM_LEDGER_ARENA_OFFSET    the arena: bump-allocated units, never given back
 *	                        stack records, trie nodes, strings,
 *	                        segments of the module table and of the live table
 *
 * The file is as long as what has been granted so far (`granted_bytes`, grown ahead of `arena_next` by
 * writing zeros), never longer than `limit_bytes`.
 *
 *
 * What a kill at any instant leaves behind
 * ----------------------------------------
 * The writer publishes every object with one store, after all else of it is written; a reader therefore sees
 * an object whole or not at all.  What can be left half done, and why it does no harm:
 *
 *   - arena units granted to an object that was never published: lost space;
 *   - a live slot whose generation is odd: skipped and counted by the reader;
 *   - counters of one stack of which some were added to and some not: off by that one sample;
 *   - a stack whose peak_mark is odd: what it had at the mark was not kept in time.  What it has now is
 *     taken, of which the thread that was keeping it has not yet changed anything: off by what other threads
 *     have sampled there since, which is nothing unless it had been interrupted in between;
 *   - a mark that was raised before its time was stored: the time is that of the mark before.
 *
 *
 * The high-water mark
 * -------------------
 * `peak_mark` in the header says how much was in use when that was last the most ever.  At the same time it
 * is the name of that moment: it only rises, so no two moments share one, and it cannot wrap.  A stack keeps
 * what it had in use at the mark (peak_*) when it is about to change for the first time since:
 *
 *	stack.peak_mark >= header.peak_mark    it has changed since: peak_* is what it had at the mark
 *	stack.peak_mark <  header.peak_mark    it has not: what it has now is what it had then
 *
 * So a new mark is one store, however many stacks there are, and a stack that rests costs nothing.  When the
 * mark is raised, and how near it is to the truth: preload/peak.h.
 *
 *
 * Ordered accesses
 * ----------------
 * Writer and readers on one table row; a label stands at both ends in the code.
 *
 *   label            stores with release                   reads with acquire
 *   [header.ready]   ledger_file: header.state             snapshot: before anything else is believed
 *   [stack.publish]  stacks: a trie reference              stacks, snapshot: the record or node behind it
 *   [segment.publish] ledger_file: segment.offset          live, modules, snapshot: the slots behind it
 *   [module.publish] modules: module.state                 modules, snapshot: the other fields
 *   [gauge.publish]  gauges: gauge.state                   gauges, snapshot: the name
 *   [live.claim]     live: each field, once generation is odd  snapshot: second copy of the slot
 *   [live.publish]   live: generation is even again        live, snapshot: the other fields
 *   [stack.free]     stacks: freed_* after alloc_*         snapshot: freed_* copied before alloc_*
 *   [peak.raise]     peak: header.peak_mark                peak, snapshot: the counters that it counts
 *   [peak.claim]     peak: each of peak_*, once peak_mark is odd  snapshot: second copy of the record
 *   [peak.publish]   peak: peak_mark is even again         snapshot: the other fields of peak_*
 *
 * Everything else is relaxed: statistics, on which no other memory depends.
 */
#ifndef HM_PROTO_LEDGER_H
#define HM_PROTO_LEDGER_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HM_LEDGER_MAGIC "HEAPMARK" /* 8 bytes, no terminator */

enum {
	HM_LEDGER_VERSION = 3,
	HM_LEDGER_BYTE_ORDER = 0x01020304,
	HM_LEDGER_HEADER_BYTES = 8192,
	HM_UNIT = 64, /* bytes; a cache line, so that records of two stacks never share one */

	HM_FRAMES_MAX = 128,
	HM_TRIE_ROOT_BITS = 12,
	HM_TRIE_ROOTS = 1 << HM_TRIE_ROOT_BITS,
	HM_LEDGER_ARENA_OFFSET = HM_LEDGER_HEADER_BYTES + HM_TRIE_ROOTS * 4,
	HM_TRIE_NODE_BITS = 4,
	HM_TRIE_CHILDREN = 1 << HM_TRIE_NODE_BITS,

	HM_SEGMENTS_MAX = 24,
	HM_LIVE_BUCKET_SLOTS = 8,       /* addresses in a cache line */
	HM_LIVE_FIRST_BUCKETS_LOG2 = 8, /* 2048 slots, 64 KiB; each segment doubles the one before */
	HM_MODULES_FIRST_LOG2 = 5,      /* 32 modules, 4 KiB */
	HM_MODULES_MAX = 0xffff,        /* the index has 16 bits in a frame word; 0 is "none" */

	HM_BUILD_ID_MAX = 32, /* bytes; GNU ld writes 20 (SHA-1), lld up to 32 with --build-id=... */
	HM_COMM_MAX = 64,
	HM_GAUGES_MAX = 64,
	HM_GAUGE_NAME_MAX = 48, /* with the terminating NUL */
	HM_OWN_RANGES_MAX = 31, /* some ten are mapped in a process of 100,000 live samples */

	HM_TICKS_PER_SECOND = 16, /* ages: 30 bits of them last two years */

	/* A thread looks at control_interval_bytes at least once while it allocates so much. */
	HM_CHECKPOINT_BYTES = 16 * 1024 * 1024,
};

/* Counters are fixed-point, so that adding is one atomic instruction and taking away is exact. */
enum {
	HM_OBJECTS_FRACTION_BITS = 16, /* 2^48 objects; a weight is rounded by at most 2^-17 */
	HM_BYTES_FRACTION_BITS = 6,    /* 2^58 bytes */
};

/* What a sample adds to them; one of weight 1 exactly, without a detour over a double, which ends at 2^53. */
static inline uint64_t hm_sample_objects_fixed(float weight)
{
	const double objects_fixed = (double)weight * (1 << HM_OBJECTS_FRACTION_BITS) + 0.5;

	return objects_fixed < 0x1p64 ? (uint64_t)objects_fixed : UINT64_MAX;
}

static inline uint64_t hm_sample_bytes_fixed(uint64_t size_bytes, float weight)
{
	const double bytes_fixed = (double)size_bytes * (double)weight * (1 << HM_BYTES_FRACTION_BITS) + 0.5;

	if (weight == 1.0F)
		return size_bytes << HM_BYTES_FRACTION_BITS;
	return bytes_fixed < 0x1p64 ? (uint64_t)bytes_fixed : UINT64_MAX;
}

/*
 * A frame word: which module, and the address to look up in it.
 *
 *	63          48 47                                  0
 *	[ module index ][ address: return address - 1, or the ]
 *	                [ interrupted instruction itself      ]
 *
 * The module is part of the word, so two plug-ins that took turns at one address have different stacks.
 * Module index 0: the address lies in no known object (JIT code).
 */
enum { HM_FRAME_ADDRESS_BITS = 48 };

static inline uint64_t hm_frame_make(uint32_t module_index, uint64_t address)
{
	return (uint64_t)module_index << HM_FRAME_ADDRESS_BITS | address;
}

static inline uint32_t hm_frame_module(uint64_t frame)
{
	return (uint32_t)(frame >> HM_FRAME_ADDRESS_BITS);
}

static inline uint64_t hm_frame_address(uint64_t frame)
{
	return frame & ((UINT64_C(1) << HM_FRAME_ADDRESS_BITS) - 1);
}

/* A table that grows: segment k has first << k entries and is written once, offset last [segment.publish]. */
struct hm_ledger_segment {
	_Atomic uint64_t offset; /* bytes from the start of the file; 0: not there yet */
};

enum hm_ledger_state {
	HM_LEDGER_EMPTY = 0, /* being laid out: not to be read */
	HM_LEDGER_RECORDING = 1,
	HM_LEDGER_FINISHED = 2, /* the process came to its normal end and wrote the last figures */
};

/*
 * Why something is missing from the tables.  Each is a number of samples unless it says otherwise.
 */
enum hm_loss {
	HM_LOSS_STACKS,      /* stack table full: counted under [overflow] */
	HM_LOSS_LIVE,        /* live table full: counted under [dropped], allocated and freed at once */
	HM_LOSS_TRUNCATED,   /* stacks that end before the outermost frame could be reached */
	HM_LOSS_CUT,         /* stacks deeper than the frames kept */
	HM_LOSS_MISSED_FREE, /* an address was issued again while it was still live: its free was not seen */
	HM_LOSS_MODULES,     /* module table full: frames without a module (number of rules compiled) */
	HM_LOSS_GROWTH,      /* times the file could not be grown: disk full, RLIMIT_FSIZE, limit_bytes */
	HM_LOSS_GAUGES,      /* gauge table full, or a name that is too long: values that were not kept */
	HM_LOSS_MAPPINGS, /* table of mappings full, or not to be had: mappings, and parts of them, missed */
	HM_LOSS_KINDS,
	HM_LOSS_ROOM = 16, /* counters laid out, so that new kinds keep the version */
};

/* One named number that the program publishes. */
struct hm_ledger_gauge {
	_Atomic uint32_t state; /* 0 free, 1 being written, 2 published [gauge.publish] */
	uint32_t reserved;
	_Atomic uint64_t value; /* the bits of a double */
	char name[HM_GAUGE_NAME_MAX];
};
static_assert(sizeof(struct hm_ledger_gauge) == 64,
	      "one cache line each: gauges are set by different threads");

/*
 * Where the library has private memory: tables that no reader needs.  Anonymous mappings like any other,
 * which the kernel may even have joined with the program's own, so whoever takes the process's memory apart
 * has to be told.  Written by the process as it maps and unmaps; relaxed, since nothing depends on it: a
 * range read half written attributes a few pages wrongly, in that one reading.
 */
struct hm_ledger_range {
	_Atomic uint64_t start_address; /* 0: free */
	_Atomic uint64_t size_bytes;
};

/*
 * The intervals with which threads have sampled, as they noticed them; a tool may change the one in force at
 * any time.  Both grow only.
 */
struct hm_ledger_intervals {
	_Atomic uint64_t longest_bytes; /* 1: every figure is exact; 0: nobody has sampled yet */
	_Atomic uint64_t slept;         /* 1: a thread has allocated asleep: the figures leave that out */
};

struct hm_ledger_header {
	/* 0: who wrote this, written once before [header.ready] */
	char magic[8];
	uint32_t version;
	uint32_t byte_order;
	_Atomic uint32_t state; /* enum hm_ledger_state [header.ready] */
	uint32_t pid;
	uint64_t limit_bytes;         /* the file never grows beyond this */
	uint64_t process_start_ticks; /* field 22 of /proc/PID/stat: tells a reused pid apart; 0: unknown */
	uint64_t start_realtime_ns;   /* CLOCK_REALTIME when the ledger was made */
	uint64_t start_boottime_ns;   /* CLOCK_BOOTTIME then */
	uint64_t start_ticks;         /* CLOCK_MONOTONIC_COARSE then, in 1/16 s: ages are counted from here */
	uint64_t run_id;              /* of the `heapmark run` that started the process; 0: none */
	uint32_t executable_unit;     /* string: absolute path of the executable; 0: unknown */
	uint32_t command_unit;    /* string: the command line, arguments separated by blanks; 0: unknown */
	char comm[HM_COMM_MAX];   /* base name of the executable as it appears in file names */
	uint32_t dropped_unit;    /* stack record [dropped] */
	uint32_t overflow_unit;   /* stack record [overflow] */
	uint32_t frames_kept_max; /* HEAPMARK_FRAMES */
	uint32_t reserved_identity[13];
	/* A fork child has its parent's heap, of which its own samples tell nothing: how much of that was
	 * live, as the parent's did; UINT64_MAX: the parent did not know. */
	uint64_t inherited_bytes;

	/* 216: written by tools with one pwrite of 8 bytes; the process reads the last two, at each sample
	 * and checkpoint */
	/* When it was woken last, CLOCK_REALTIME; 0: never.  What is live of what was allocated asleep is at
	 * most so much; 0: not known. */
	_Atomic uint64_t control_woken_ns;
	_Atomic uint64_t control_asleep_bytes;
	uint64_t reserved_control;
	/* Mean bytes between samples; 1: every allocation; 0: dormant. */
	_Atomic uint64_t control_interval_bytes;
	/* 1: leave the ledger at exit, somebody will turn it into a profile. */
	_Atomic uint64_t control_supervised;

	/* 256: written by the process, seldom */
	_Atomic uint64_t arena_next;           /* first byte not given out; a multiple of HM_UNIT */
	_Atomic uint64_t granted_bytes;        /* length of the file */
	_Atomic uint64_t end_realtime_ns;      /* set with HM_LEDGER_FINISHED */
	_Atomic uint32_t module_count;         /* index of the last module given out */
	_Atomic uint32_t has_samples;          /* 0: nothing was ever sampled */
	_Atomic uint64_t losses[HM_LOSS_ROOM]; /* indexed by enum hm_loss */
	struct hm_ledger_intervals intervals;
	/* When the last sample was taken, as ages are counted: of a process that is killed, the last that is
	 * known. */
	_Atomic uint64_t sampled_ticks;
	uint64_t reserved_seldom[9];

	/* 512 */
	struct hm_ledger_segment live_segments[HM_SEGMENTS_MAX];
	struct hm_ledger_segment module_segments[HM_SEGMENTS_MAX];
	uint64_t reserved_segments[16];

	/* 1024: read at each sample, written when there is more in use than ever before */
	_Atomic uint64_t peak_mark; /* twice the bytes in use then: even; 0: nothing yet [peak.raise] */
	_Atomic uint64_t peak_realtime_ns; /* CLOCK_REALTIME then; 0: not known */
	uint64_t reserved_peak[6];
	uint8_t reserved_page[2496];

	/* 3584: written by the process, seldom */
	struct hm_ledger_range own_ranges[HM_OWN_RANGES_MAX];
	_Atomic uint64_t own_untold_bytes; /* mapped for good, for which there was no range */
	uint64_t reserved_own;

	/* 4096: one page of gauges */
	struct hm_ledger_gauge gauges[HM_GAUGES_MAX];
};

static_assert(offsetof(struct hm_ledger_header, control_woken_ns) == 216 &&
		      offsetof(struct hm_ledger_header, control_interval_bytes) == 240,
	      "tools write at fixed places");
static_assert(offsetof(struct hm_ledger_header, arena_next) == 256, "counters start on a line of their own");
static_assert(offsetof(struct hm_ledger_header, live_segments) == 512, "directories follow the counters");
static_assert(offsetof(struct hm_ledger_header, peak_mark) == 1024,
	      "a line that all threads read is not one that some of them write");
static_assert(offsetof(struct hm_ledger_header, own_ranges) == 3584, "what is reserved lies before");
static_assert(offsetof(struct hm_ledger_header, gauges) == 4096, "gauges have a page");
static_assert(sizeof(struct hm_ledger_header) == HM_LEDGER_HEADER_BYTES, "the trie roots follow");

/* Text in the arena: a path, a command line.  Not terminated, any bytes. */
struct hm_ledger_string {
	uint32_t length_bytes;
	char text[];
};

/*
 * One executable segment of a loaded object: what pprof calls a mapping.  Written once; the same object
 * loaded again at the same address is the same module.  Modules are numbered from 1: module i is entry i - 1
 * of the segments taken together.
 */
struct hm_ledger_module {
	_Atomic uint32_t state; /* 0 free, 1 being written, 2 published [module.publish] */
	uint32_t flags;         /* HM_MODULE_* */
	uint64_t start_address; /* page-aligned, as in /proc/PID/maps */
	uint64_t end_address;
	uint64_t file_offset;   /* page-aligned: of start_address in the file */
	uint64_t load_bias;     /* run-time address minus the address in the file's symbol table */
	uint32_t path_unit;     /* string; absolute unless the object has none (the vDSO) */
	uint32_t build_id_size; /* 0: the object has none */
	uint8_t build_id[HM_BUILD_ID_MAX];
	uint8_t reserved[48];
};
static_assert(sizeof(struct hm_ledger_module) == 128,
	      "two lines; segments of the table are made of whole units");

enum {
	HM_MODULE_MAIN = 1, /* the executable itself */
	HM_MODULE_VDSO = 2,
	HM_MODULE_SELF = 4, /* libheapmark.so */
};

enum hm_stack_kind {
	HM_STACK_ORDINARY,
	HM_STACK_DROPPED,  /* samples that could not be followed to their free; no frames */
	HM_STACK_OVERFLOW, /* samples whose stack could not be stored; no frames */
};

enum {
	HM_STACK_TRUNCATED = 1, /* the outermost frames could not be found */
	HM_STACK_CUT = 2,       /* the outermost frames are beyond the number kept */
	/* What is counted there are mappings that the program has made itself.  The same frames with malloc's
	 * blocks are another stack. */
	HM_STACK_MAPPED = 4,
	HM_STACK_FLAGS = HM_STACK_TRUNCATED | HM_STACK_CUT | HM_STACK_MAPPED,
};

/*
 * One call stack and what was allocated there.  Its number, by which the live table refers to it, is its
 * unit index; 0 is no stack.  Frames, hash and kind never change once published; counters only grow.
 *
 * in use = allocated - freed.  A reader that copies freed_* first never sees a negative difference.
 *
 * Variances are sums over samples of w(w-1) and of size^2 w(w-1), the bits of a double, w being the
 * sample's weight (docs/accuracy.md): the freed part is subtracted like every other counter.
 *
 * peak_* are what was in use at the high-water mark that peak_mark names, in the units of the counters.  They
 * change at most once for each mark: claimed (the mark with bit 0 set), filled, published.  Zero, as in a
 * fresh record, is right: before the first mark nothing was in use.
 */
struct hm_ledger_stack {
	_Atomic uint64_t alloc_objects; /* fixed-point, HM_OBJECTS_FRACTION_BITS */
	_Atomic uint64_t alloc_bytes;   /* fixed-point, HM_BYTES_FRACTION_BITS */
	_Atomic uint64_t alloc_objects_variance;
	_Atomic uint64_t alloc_bytes_variance;
	_Atomic uint64_t freed_objects;
	_Atomic uint64_t freed_bytes;
	_Atomic uint64_t freed_objects_variance;
	_Atomic uint64_t freed_bytes_variance;
	/* 64 */
	_Atomic uint64_t samples; /* allocations that were sampled here */
	uint64_t hash;
	_Atomic uint32_t next_same_hash; /* unit of another record with an equal hash, or 0 [stack.publish] */
	uint16_t frame_count;
	uint8_t flags; /* HM_STACK_FLAGS */
	uint8_t kind;  /* enum hm_stack_kind */
	/* 88 */
	_Atomic uint64_t peak_mark; /* bit 0: being written [peak.claim] [peak.publish] */
	_Atomic uint64_t peak_objects;
	_Atomic uint64_t peak_bytes;
	_Atomic uint64_t peak_objects_variance;
	_Atomic uint64_t peak_bytes_variance;
	uint64_t frames[]; /* innermost first */
};
static_assert(offsetof(struct hm_ledger_stack, samples) == HM_UNIT, "the counters are one cache line");
static_assert(offsetof(struct hm_ledger_stack, peak_mark) == 88, "no hidden padding");
static_assert(offsetof(struct hm_ledger_stack, frames) == 2 * HM_UNIT, "all but the frames are two lines");

/*
 * The trie that finds a stack by its hash.  Digits of the hash, most significant first, lead from one of
 * HM_TRIE_ROOTS references through nodes of HM_TRIE_CHILDREN references to a record.  A reference is
 *
 *	0                          nothing yet
 *	unit << 1 | 0              a stack record
 *	unit << 1 | 1              a node
 *
 * and changes at most twice: nothing -> record -> node (which then holds that record).  [stack.publish]
 */
typedef _Atomic uint32_t hm_trie_reference;

struct hm_trie_node {
	hm_trie_reference children[HM_TRIE_CHILDREN];
};
static_assert(sizeof(struct hm_trie_node) == HM_UNIT, "a node is a cache line");

/*
 * One live sample.  `generation` is even while the slot rests and odd while somebody writes it:
 *
 *	        claim (CAS g -> g+1)            publish (g+2)
 *	empty --------------------> being filled --------------> live
 *	  ^                                                        |
 *	  |      publish (g+2)                   claim             |
 *	  +-------------------- being emptied <--------------------+
 *
 * A reader believes a copy only if a second copy, made after it, is the same and its generation even.
 * [live.claim] [live.publish]
 */
struct hm_ledger_live_value {
	_Atomic uint64_t size_bytes; /* as requested */
	_Atomic uint32_t generation;
	_Atomic uint32_t stack_unit;
	_Atomic uint32_t weight;        /* the bits of a float: objects this sample stands for */
	_Atomic uint32_t birth_and_era; /* hm_live_birth_ticks; the two high bits are the writer's own */
};
static_assert(sizeof(struct hm_ledger_live_value) == 24, "no hidden padding");

static const uint64_t HM_LIVE_REPORTED = UINT64_C(1) << 63;
static const uint64_t HM_LIVE_MAPPED = UINT64_C(1) << 62;

/*
 * A bucket: slot i is addresses[i] with values[i].  Who looks for an address looks at one cache line.
 *
 * An address is what the allocator returned; bit 63: a block the program reported; bit 62: a mapping, or what
 * is left of one (its weight is 1); 0: the slot is empty.
 */
struct hm_ledger_live_bucket {
	_Atomic uint64_t addresses[HM_LIVE_BUCKET_SLOTS];
	struct hm_ledger_live_value values[HM_LIVE_BUCKET_SLOTS];
};
static_assert(sizeof(struct hm_ledger_live_bucket) == 4 * HM_UNIT, "a line of addresses, three of values");

/* When the sample was taken, in ticks of 1/16 s since start_ticks. */
static inline uint32_t hm_live_birth_ticks(uint32_t birth_and_era)
{
	return birth_and_era & 0x3fffffff;
}

static inline uint64_t hm_live_segment_buckets(uint32_t segment_index)
{
	return UINT64_C(1) << (HM_LIVE_FIRST_BUCKETS_LOG2 + segment_index);
}

static inline uint64_t hm_module_segment_count(uint32_t segment_index)
{
	return UINT64_C(1) << (HM_MODULES_FIRST_LOG2 + segment_index);
}

#endif
