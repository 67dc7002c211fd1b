// SPDX-License-Identifier: Apache-2.0
/* What `heapmark doctor` makes of figures: the split of memory, the diagnosis, the page of threads. */
#include "tests/unit/check.h"

#include "tools/diagnosis.h"
#include "tools/glibc_heap.h"
#include "tools/heap_bound.h"
#include "tools/jemalloc_pages.h"
#include "tools/mappings.h"
#include "tools/memory_split.h"
#include "tools/thread_report.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

/* --- Mappings ------------------------------------------------------------------------------------------ */

static const char smaps[] =
	"55d0c3449000-55d0c344b000 r-xp 00002000 fe:00 248056                     /usr/bin/a b\n"
	"Size:                  8 kB\n"
	"Rss:                   4 kB\n"
	"AnonHugePages:      2048 kB\n"
	"Swap:                  0 kB\n"
	"VmFlags: rd ex mr mw me lo \n"
	"55d0c344b000-55d0c344c000 rw-p 00000000 00:00 0                          [heap]\n"
	"Rss:                   8 kB\n"
	"Swap:                 12 kB\n"
	"VmFlags: rd wr mr mw me nr sd \n"
	"55d0c344b000-55d0c344c000 rw-p 00000000 00:00 0                          [told twice]\n"
	"Rss:                   8 kB\n"
	"7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
	"Rss:                   0 kB\n";

static void test_mappings(void)
{
	struct hm_mappings mappings;

	hm_mappings_parse(strdup(smaps), &mappings);
	CHECK_EQ(mappings.count, 3);
	CHECK_STR(mappings.entries[0].name, "/usr/bin/a b");
	CHECK_EQ(mappings.entries[0].file_offset, 0x2000);
	CHECK_EQ(mappings.entries[0].inode, 248056);
	CHECK(mappings.entries[0].executable && !mappings.entries[0].writable &&
	      !mappings.entries[0].no_reserve);
	CHECK_EQ(mappings.entries[0].huge_bytes, 2 * MIB);
	CHECK(mappings.entries[0].is_locked && !mappings.entries[1].is_locked);
	CHECK(mappings.entries[1].no_reserve && !hm_mapping_is_anonymous(&mappings.entries[1]));
	CHECK(hm_mapping_is_anonymous(&mappings.entries[2]) && !mappings.entries[2].readable);
	CHECK_EQ(mappings.resident_bytes, 12 * KIB);
	CHECK_EQ(mappings.swapped_bytes, 12 * KIB);
	CHECK(hm_mappings_find(&mappings, 0x55d0c344b000) == &mappings.entries[1]);
	CHECK(hm_mappings_find(&mappings, 0x55d0c344afff) == &mappings.entries[0]);
	CHECK(hm_mappings_find(&mappings, 0x55d0c344c000) == NULL);
	CHECK(hm_mappings_find(&mappings, UINT64_MAX) == NULL);
	hm_mappings_done(&mappings);

	hm_mappings_parse(strdup("no mapping\nRss: 4 kB\n"), &mappings);
	CHECK_EQ(mappings.count, 0);
	CHECK(hm_mappings_find(&mappings, 0) == NULL);
	hm_mappings_done(&mappings);
}

/* --- The split ----------------------------------------------------------------------------------------- */

static const uint64_t arena = UINT64_C(0x7f0004000000); /* a multiple of 64 MiB */
static const uint64_t place = UINT64_C(0x7fff00000000);

static struct hm_mapping anonymous(uint64_t start_address, uint64_t size_bytes, uint64_t resident_bytes)
{
	return (struct hm_mapping){ .start_address = start_address,
				    .end_address = start_address + size_bytes,
				    .resident_bytes = resident_bytes,
				    .readable = true,
				    .writable = true,
				    .name = "" };
}

static struct hm_mapping inaccessible(uint64_t start_address, uint64_t size_bytes)
{
	return (struct hm_mapping){ .start_address = start_address,
				    .end_address = start_address + size_bytes,
				    .name = "" };
}

static struct hm_mapping named(struct hm_mapping mapping, const char *name, uint64_t inode)
{
	mapping.name = name;
	mapping.inode = inode;
	return mapping;
}

struct split_case {
	struct hm_mapping mappings[8];
	size_t mapping_count;
	struct hm_snapshot_live live[4];
	uint64_t live_count;
	struct hm_snapshot_range own;
	struct hm_stack_place stacks[2];
	size_t stack_count;
};

/* Of no process: so no page can be looked at, and a mapping of several owners is divided by size. */
static struct hm_memory_split split_of(struct split_case *of)
{
	struct hm_mappings mappings = { .entries = of->mappings, .count = of->mapping_count };
	struct hm_snapshot snapshot = { .live = of->live, .live_count = of->live_count };
	struct hm_memory_split split;
	uint64_t sum_bytes = 0;

	for (size_t i = 0; i < of->mapping_count; i++)
		mappings.resident_bytes += of->mappings[i].resident_bytes;
	snapshot.own_range_count = of->own.size_bytes != 0;
	snapshot.own_ranges[0] = of->own;
	hm_memory_split(0, &mappings, &snapshot, of->stacks, of->stack_count, &split);
	for (int part = 0; part < HM_MEMORY_PARTS; part++)
		sum_bytes += split.parts_bytes[part];
	CHECK_EQ(sum_bytes, mappings.resident_bytes);
	CHECK(!split.has_pages);
	return split;
}

static void test_split_names(void)
{
	struct split_case names = {
		.mappings = { named(anonymous(0x1000, MIB, 1 * KIB), "/lib/libc.so.6", 7),
			      named(anonymous(0x200000, MIB, 2 * KIB), "[heap]", 0),
			      named(anonymous(0x400000, MIB, 4 * KIB), "/tmp/heapmark.a.1.ledger (deleted)",
				    8),
			      named(anonymous(0x600000, MIB, 8 * KIB), "/usr/lib/libheapmark.so", 9),
			      named(anonymous(0x800000, MIB, 16 * KIB), "[stack]", 0),
			      anonymous(0xa00000, MIB, 32 * KIB) },
		.mapping_count = 6,
	};
	const struct hm_memory_split split = split_of(&names);

	CHECK_EQ(split.parts_bytes[HM_MEMORY_FILES], 1 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 2 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 0);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_OWN], 12 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 16 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 32 * KIB);
	CHECK_STR(split.allocator, "glibc");
}

/* Shared memory has the name of a file, and is none. */
static void test_split_shared(void)
{
	struct split_case shared = {
		.mappings = { named(anonymous(0x1000, MIB, 1 * KIB), "/dev/zero (deleted)", 7),
			      named(anonymous(0x200000, MIB, 2 * KIB), "/memfd:x (deleted)", 8),
			      named(anonymous(0x400000, MIB, 4 * KIB), "/SYSV00000000 (deleted)", 9),
			      named(anonymous(0x600000, MIB, 8 * KIB), "/dev/shm/x", 10) },
		.mapping_count = 4,
	};
	const struct hm_memory_split split = split_of(&shared);

	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 7 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_FILES], 8 * KIB);
}

/* A small block in an arena claims its 64 MiB, and none of what the kernel has joined with them. */
static void test_split_arena(void)
{
	struct split_case joined = {
		.mappings = { anonymous(arena, 128 * MIB, 128 * MIB) },
		.mapping_count = 1,
		.live = { { .address = arena + 4000, .size_bytes = 100, .weight = 1000 } },
		.live_count = 1,
	};
	struct hm_memory_split split = split_of(&joined);

	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 100000);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 64 * MIB - 100000);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 64 * MIB);

	struct split_case unseen = {
		.mappings = { anonymous(arena, 3 * MIB, 2 * MIB), inaccessible(arena + 3 * MIB, 61 * MIB),
			      anonymous(arena + 64 * MIB, 64 * MIB, MIB) },
		.mapping_count = 3,
	};

	/* Nor can the memory be read here: its flags tell an arena. */
	split = split_of(&unseen);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 0);
	unseen.mappings[0].no_reserve = true;
	unseen.mappings[1].no_reserve = true;
	split = split_of(&unseen);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 2 * MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], MIB);

	/* Not where an arena can be, and small: the whole mapping. */
	struct split_case elsewhere = {
		.mappings = { anonymous(place + MIB, MIB, MIB) },
		.mapping_count = 1,
		.live = { { .address = place + MIB + 160, .size_bytes = 100, .weight = 1 } },
		.live_count = 1,
	};

	split = split_of(&elsewhere);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 100);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 0);
}

/* A block with a mapping of its own has its pages; the estimate tells of those that were not sampled. */
static void test_split_mapped_blocks(void)
{
	struct split_case blocks = {
		.mappings = { anonymous(place, 16 * MIB, 16 * MIB) },
		.mapping_count = 1,
		.live = { { .address = place + MIB + 16, .size_bytes = MIB - 16, .weight = 3 } },
		.live_count = 1,
	};
	const struct hm_memory_split split = split_of(&blocks);

	CHECK_EQ(split.inferred_bytes, 2 * (MIB - 16));
	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 3 * (MIB - 16));
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 16);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 13 * MIB + 2 * 16);
	CHECK(split.clipped_bytes == 0);
}

/* Where the memory cannot be read: one that begins elsewhere in its page, and where no arena can be. */
static void test_split_aligned_blocks(void)
{
	struct split_case blocks = {
		.mappings = { anonymous(place + MIB, 16 * MIB, 16 * MIB) },
		.mapping_count = 1,
		.live = { { .address = place + 2 * MIB + 64, .size_bytes = MIB, .weight = 1 },
			  { .address = place + 4 * MIB, .size_bytes = MIB, .weight = 1 } },
		.live_count = 2,
	};
	struct hm_memory_split split = split_of(&blocks);

	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 2 * MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 4 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 14 * MIB - 4 * KIB);

	/* An arena could begin here, but it would be mapped otherwise. */
	blocks.mappings[0] = anonymous(place, 17 * MIB, 17 * MIB);
	split = split_of(&blocks);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 15 * MIB - 4 * KIB);
	blocks.mappings[0].no_reserve = true;
	split = split_of(&blocks);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 0);
}

/* Where it can be read: what malloc has written before a block says how far its mapping reaches. */
static void test_place_of_block(void)
{
	enum { HEAD = 16, ROOM = 8 * 4096, MAPPED = 2, IN_ARENA = 4 };
	_Alignas(4096) static uint8_t memory[ROOM];
	const uint64_t start = (uint64_t)(uintptr_t)memory;
	const struct hm_mapping mapping = anonymous(start, sizeof(memory), sizeof(memory));
	const struct {
		uint64_t offset;
		uint64_t words[2];
		uint64_t size_bytes;
		enum hm_glibc_kind kind;
		uint64_t start_offset;
		uint64_t end_offset;
	} rows[] = {
		{ HEAD, { 0, 4096 | MAPPED }, 4080, HM_GLIBC_MAPPED, 0, 4096 },
		{ 4096 + 64, { 64 - HEAD, (8192 + HEAD - 64) | MAPPED }, 100, HM_GLIBC_MAPPED, 4096, 12288 },
		{ 8192, { 4096 - HEAD, (4096 + HEAD) | MAPPED }, 4096, HM_GLIBC_MAPPED, 4096, 12288 },
		/* freed since: more than the mapping has, less than the block, no whole pages */
		{ 8192, { 12288, (4096 + HEAD) | MAPPED }, 4096, HM_GLIBC_OTHER, 0, 0 },
		{ HEAD, { 0, (ROOM + 4096) | MAPPED }, 4080, HM_GLIBC_OTHER, 0, 0 },
		{ HEAD, { 0, 4096 | MAPPED }, 4081, HM_GLIBC_OTHER, 0, 0 },
		{ HEAD, { 0, 4112 | MAPPED }, 4080, HM_GLIBC_OTHER, 0, 0 },
		/* no heap can begin where this is mapped */
		{ 4096 + HEAD, { 0, 64 | IN_ARENA }, 40, HM_GLIBC_OTHER, 0, 0 },
		{ 4096 + HEAD, { 0, MIB }, MIB - HEAD, HM_GLIBC_OTHER, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memcpy(memory + rows[i].offset - HEAD, rows[i].words, sizeof(rows[i].words));

		const struct hm_glibc_place found =
			hm_glibc_place_of(getpid(), &mapping, start + rows[i].offset, rows[i].size_bytes);

		CHECK_EQ(found.kind, rows[i].kind);
		if (found.kind == HM_GLIBC_MAPPED) {
			CHECK_EQ(found.start_address, start + rows[i].start_offset);
			CHECK_EQ(found.end_address, start + rows[i].end_offset);
		}
	}
}

static void test_split_clips(void)
{
	struct split_case blocks = {
		.mappings = { named(anonymous(place, MIB, 64 * KIB), "[heap]", 0),
			      anonymous(place + MIB, MIB, MIB) },
		.mapping_count = 2,
		.live = { { .address = place + 64, .size_bytes = 100 * KIB, .weight = 1 },
			  /* a pool's own block is not malloc's; nor is one that no process can have */
			  { .address = place + MIB + 64, .size_bytes = 100, .weight = 1, .reported = true },
			  { .address = place + 128, .size_bytes = UINT64_MAX, .weight = 1 } },
		.live_count = 3,
	};
	const struct hm_memory_split split = split_of(&blocks);

	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 64 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 0);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], MIB);
	CHECK(split.clipped_bytes == 36 * KIB);
}

static void test_split_own_and_stacks(void)
{
	const uint64_t stack = place + 4096;
	struct split_case mixed = {
		.mappings = { inaccessible(place, 4096), anonymous(stack, 8 * MIB, 4 * MIB),
			      anonymous(place + 32 * MIB, 4 * MIB, 4 * MIB),
			      inaccessible(place + 64 * MIB, 4096),
			      anonymous(place + 64 * MIB + 4096, MIB, MIB) },
		.mapping_count = 5,
		.own = { .start_address = place + 33 * MIB, .size_bytes = MIB },
		.stacks = { { .stack_pointer = stack + 2 * MIB, .end_address = stack + 4 * MIB } },
		.stack_count = 1,
	};
	struct hm_memory_split split = split_of(&mixed);

	/* Up to where libc keeps the thread's data; above it lies what was joined. */
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 2 * MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_OWN], MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 2 * MIB + 3 * MIB + MIB);

	/* A second thread of which nothing is known: what looks like a stack. */
	mixed.stack_count = 2;
	split = split_of(&mixed);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 2 * MIB + MIB);

	/* A stack in malloc'd memory is the allocator's. */
	struct split_case coroutine = {
		.mappings = { named(anonymous(place, MIB, MIB), "[heap]", 0) },
		.mapping_count = 1,
		.stacks = { { .stack_pointer = place + 64 * KIB } },
		.stack_count = 1,
	};

	split = split_of(&coroutine);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], MIB);
}

/* Of one mapping with two large stacks, where libc's notes cannot be read: by what lies below each. */
static void test_split_large_stacks(void)
{
	struct split_case two = {
		.mappings = { inaccessible(place, 4096), anonymous(place + 4096, 64 * MIB, 64 * MIB) },
		.mapping_count = 2,
		.stacks = { { .stack_pointer = place + 52 * MIB, .end_address = place + 54 * MIB },
			    { .stack_pointer = place + 40 * MIB, .end_address = place + 46 * MIB } },
		.stack_count = 2,
	};
	struct hm_memory_split split = split_of(&two);

	/* A guard lies below the lower one: all to there; and the upper one reaches down to its end. */
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 54 * MIB - 4096);

	/* Without one, no further than stacks usually are large. */
	two.mappings[0].start_address = place - MIB;
	split = split_of(&two);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 6 * MIB + 8 * MIB);

	/* What libc has noted needs neither. */
	two.stack_count = 1;
	two.stacks[0].block = (struct hm_thread_block){ .start_address = place + 30 * MIB,
							.end_address = place + 55 * MIB };
	split = split_of(&two);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 25 * MIB);

	/* The same where nobody may look at the registers. */
	two.stacks[0].stack_pointer = 0;
	split = split_of(&two);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_STACKS], 25 * MIB);
}

static void test_thread_block(void)
{
	enum { WORDS = 300, AT = 0x690 / 8 };
	const uint64_t end = place + 8 * MIB;
	const uint64_t address = end - 2304;
	uint64_t words[WORDS] = { [0] = address, [2] = address };
	const struct {
		uint64_t words[3];
		bool is_block;
	} rows[] = {
		{ { place, 8 * MIB, 4096 }, true },
		{ { place, 8 * MIB, 0 }, true },
		{ { place, 8 * MIB, 8 * MIB }, false },          /* all guard */
		{ { place, 7 * MIB, 0 }, false },                /* ends below the description */
		{ { place, 9 * MIB, 0 }, false },                /* or far above it */
		{ { address, 16 * KIB, 0 }, false },             /* begins with it */
		{ { 0, end, 0 }, false },                        /* the first thread's */
		{ { address - KIB, 8 * KIB, 0 }, false },        /* less than any stack */
		{ { UINT64_MAX - 4096, 8 * MIB, 4096 }, false }, /* wraps */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memcpy(&words[AT], rows[i].words, sizeof(rows[i].words));

		const struct hm_thread_block found = hm_thread_block_find(address, words, WORDS);

		CHECK_EQ(found.start_address, rows[i].is_block ? place : 0);
		CHECK_EQ(found.end_address, rows[i].is_block ? end : 0);
	}
	memcpy(&words[AT], rows[0].words, sizeof(rows[0].words));
	CHECK_EQ(hm_thread_block_find(address, words, AT + 3).end_address, end);
	CHECK_EQ(hm_thread_block_find(address, words, AT + 2).end_address, 0);
	CHECK_EQ(hm_thread_block_find(address, words, 0).end_address, 0);
	words[2]++;
	CHECK_EQ(hm_thread_block_find(address, words, WORDS).end_address, 0);
	/* Of ourselves: the first thread has none. */
	CHECK_EQ(hm_thread_block_read(getpid(), getpid()).end_address, 0);
}

/* Of another allocator each mapping with a sample, and its like beside it. */
static void test_split_other_allocator(void)
{
	struct split_case other = {
		.mappings = { named(anonymous(0x1000, MIB, KIB), "/usr/lib/libjemalloc.so.2", 7),
			      named(anonymous(0x200000, MIB, MIB), "[heap]", 0), anonymous(place, MIB, MIB),
			      anonymous(place + 2 * MIB, MIB, MIB), anonymous(place + 4 * MIB, MIB, MIB),
			      anonymous(place + 8 * MIB, MIB, MIB) },
		.mapping_count = 6,
		.live = { { .address = place + 2 * MIB + 16, .size_bytes = 200 * KIB, .weight = 1 },
			  { .address = 0x200000 + 16, .size_bytes = 100 * KIB, .weight = 1 } },
		.live_count = 1,
	};
	struct hm_memory_split split;

	for (size_t i = 2; i < 6; i++)
		other.mappings[i].no_reserve = i != 2;
	split = split_of(&other);
	CHECK_STR(split.allocator, "jemalloc");
	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 200 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 2 * MIB - 200 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 3 * MIB);

	/* What brk gave is the allocator's where that uses it, as tcmalloc does. */
	other.live_count = 2;
	split = split_of(&other);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_LIVE], 300 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 2 * MIB);
}

/* No more is kept than was ever allocated. */
static void test_heap_bound(void)
{
	struct hm_mapping heap = named(anonymous(0x200000, 300 * MIB, 300 * MIB), "[heap]", 0);
	const struct hm_mappings mappings = { .entries = &heap, .count = 1, .resident_bytes = 300 * MIB };
	struct hm_snapshot_stack stacks[] = {
		{ .alloc = { .bytes_fixed = (uint64_t)(40 * MIB) << HM_BYTES_FRACTION_BITS,
			     .objects_fixed = UINT64_C(1024) << HM_OBJECTS_FRACTION_BITS } },
		{ .alloc = { .bytes_fixed = (uint64_t)(100 * MIB) << HM_BYTES_FRACTION_BITS },
		  .flags = HM_STACK_MAPPED },
	};
	struct hm_snapshot snapshot = { .stacks = stacks, .stack_count = 2 };
	const double expected = (40 * 1.25 + 4 + 32) * MIB;
	struct hm_memory_split split;

	CHECK(hm_heap_bound(&mappings, &snapshot) == expected);
	hm_memory_split(0, &mappings, &snapshot, NULL, 0, &split);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 86 * MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 214 * MIB);
	CHECK_EQ(split.displaced_bytes, 214 * MIB);

	stacks[0].alloc.bytes_variance = 16.0 * MIB * MIB;
	CHECK(hm_heap_bound(&mappings, &snapshot) == expected + 25.0 * MIB);
	heap.huge_bytes = 2 * MIB;
	CHECK(hm_heap_bound(&mappings, &snapshot) == expected + 27.0 * MIB);
	heap.is_locked = true;
	CHECK(isinf(hm_heap_bound(&mappings, &snapshot)));
	heap.is_locked = false;
	snapshot.slept = true;
	CHECK(isinf(hm_heap_bound(&mappings, &snapshot)));
	snapshot.slept = false;

	/* A child has its parent's heap. */
	snapshot.inherited_bytes = 1;
	CHECK(isinf(hm_heap_bound(&mappings, &snapshot)));
}

/* The library's ledger came between what jemalloc has mapped side by side. */
static void test_split_around_ledger(void)
{
	struct split_case around = {
		.mappings = { named(anonymous(0x1000, MIB, 0), "/usr/lib/libjemalloc.so.2", 7),
			      anonymous(place, 4 * MIB, 4 * MIB),
			      named(anonymous(place + 5 * MIB, 256 * MIB, 0), "/tmp/heapmark.a.1.ledger", 8),
			      anonymous(place + 262 * MIB, MIB, MIB),
			      anonymous(place + 266 * MIB, MIB, MIB) },
		.mapping_count = 5,
		.live = { { .address = place + 262 * MIB + 16, .size_bytes = 200 * KIB, .weight = 1 } },
		.live_count = 1,
	};
	struct hm_memory_split split;

	for (size_t i = 1; i < 5; i++)
		around.mappings[i].no_reserve = true;
	split = split_of(&around);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], MIB);
	around.live[0].address = place + 16;
	split = split_of(&around);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], MIB);
	around.mappings[1].end_address -= 4096; /* and the gap is too large */
	split = split_of(&around);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 2 * MIB);
}

/* Of some allocators it is known where they map, whether anything is in use there or not. */
static void test_split_by_place(void)
{
	const uint64_t asked_for = UINT64_C(0x317b4000000);
	struct split_case empty = {
		.mappings = { named(anonymous(0x1000, MIB, 0), "/usr/lib/libmimalloc.so.2", 7),
			      named(anonymous(0x200000, MIB, MIB), "[heap]", 0),
			      anonymous(asked_for, 32 * MIB, 8 * MIB), anonymous(place, 4 * MIB, 4 * MIB) },
		.mapping_count = 4,
	};
	struct hm_memory_split split;

	empty.mappings[2].no_reserve = true;
	empty.mappings[3].no_reserve = true;
	split = split_of(&empty);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 8 * MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 5 * MIB);
	empty.mappings[2].no_reserve = false;
	split = split_of(&empty);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 0);
	empty.mappings[0].name = "/usr/lib/libtcmalloc.so.4";
	split = split_of(&empty);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], MIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_ANONYMOUS], 12 * MIB);
}

enum { LEAF_WORDS = 1 << 18, BASE_BYTES = 2 * MIB };

/* A jemalloc that has its tree in our memory, about memory that there is not. */
struct tree {
	uint64_t *data; /* the static data: a word, then the root */
	uint64_t *leaf;
	uint64_t (*extents)[16];
	uint64_t *base;
};

static void tree_init(struct tree *tree)
{
	const size_t data_bytes = (1 + LEAF_WORDS + 1023) * sizeof(uint64_t);

	tree->data = aligned_alloc(4096, data_bytes);
	tree->leaf = aligned_alloc(4096, LEAF_WORDS * sizeof(uint64_t));
	tree->extents = aligned_alloc(128, 4 * sizeof(tree->extents[0]));
	tree->base = aligned_alloc(BASE_BYTES, 2 * BASE_BYTES);
	if (tree->data == NULL || tree->leaf == NULL || tree->extents == NULL || tree->base == NULL)
		abort();
	memset(tree->data, 0, data_bytes);
	memset(tree->leaf, 0, LEAF_WORDS * sizeof(uint64_t));
	memset(tree->extents, 0, 4 * sizeof(tree->extents[0]));
	memset(tree->base, 0, 2 * BASE_BYTES);
	tree->data[0] = place; /* no leaf's */
	tree->data[1 + (place >> 30 & (LEAF_WORDS - 1))] = (uint64_t)(uintptr_t)tree->leaf;
}

static void tree_done(struct tree *tree)
{
	free(tree->data);
	free(tree->leaf);
	free(tree->extents);
	free(tree->base);
}

/* An extent, with words for its first and last page, or for all: with a class of sizes above, and bits below. */
static void tree_add(struct tree *tree, size_t index, size_t page, size_t page_count, bool is_slab)
{
	tree->extents[index][1] = place + page * 4096 + (is_slab ? 0 : 192);
	tree->extents[index][2] = page_count * 4096 + 5;
	for (size_t i = 0; i < page_count; i++)
		if (is_slab || i == 0 || i + 1 == page_count)
			tree->leaf[page + i] = (uint64_t)(uintptr_t)tree->extents[index] |
					       UINT64_C(232) << 48 | (is_slab ? 1 : 2);
}

static void test_jemalloc_pages(void)
{
	static struct hm_jemalloc jemalloc;
	const uint64_t addresses[] = { place + 100 * 4096, place + 3 * 4096 };
	struct tree tree;
	uint64_t start = 0;
	uint64_t end = 0;

	tree_init(&tree);
	tree_add(&tree, 0, 1, 4, false);
	tree_add(&tree, 1, 5, 2, true);
	tree_add(&tree, 2, 8, 6000, false); /* more than is read at a time */

	struct hm_mapping entries[] = {
		named(anonymous((uint64_t)(uintptr_t)tree.data, 4096, 4096), "/usr/lib/libjemalloc.so.2", 7),
		anonymous((uint64_t)(uintptr_t)tree.data + 4096, LEAF_WORDS * 8 + 1024 * 8 - 4096, 4096),
	};
	const struct hm_mappings mappings = { .entries = entries, .count = 2 };

	/* The first is not its, and of the second the leaf has no word: inside of an extent. */
	CHECK(!hm_jemalloc_find(getpid(), NULL, &mappings, addresses, 2, &jemalloc));
	tree_add(&tree, 3, 100, 1, true);
	CHECK(hm_jemalloc_find(getpid(), NULL, &mappings, addresses, 2, &jemalloc));
	CHECK_EQ(jemalloc.root_address, (uint64_t)(uintptr_t)&tree.data[1]);
	entries[0].name = "/usr/lib/libother.so";
	CHECK(!hm_jemalloc_find(getpid(), NULL, &mappings, addresses, 2, &jemalloc));
	entries[0].name = "/usr/lib/libjemalloc.so.2";
	tree.leaf[100] = 0;
	tree_add(&tree, 2, 8, 6000, false);
	jemalloc.root_address = (uint64_t)(uintptr_t)&tree.data[1];
	jemalloc.has_window = false;

	CHECK(hm_jemalloc_next(&jemalloc, place, place + 16 * MIB, &start, &end));
	CHECK_EQ(start, place + 1 * 4096);
	CHECK_EQ(end, place + 7 * 4096);
	CHECK(hm_jemalloc_next(&jemalloc, end, place + 16 * MIB, &start, &end));
	CHECK_EQ(start, place + 8 * 4096);
	CHECK_EQ(end, place + 6008 * 4096); /* beyond what was asked for */
	CHECK(!hm_jemalloc_next(&jemalloc, end, place + 64 * MIB, &start, &end));
	/* A word that leads nowhere, and an extent that has not this page. */
	tree.leaf[7000] = place | 1;
	tree.leaf[7002] = (uint64_t)(uintptr_t)tree.extents[0];
	CHECK(hm_jemalloc_next(&jemalloc, end, place + 64 * MIB, &start, &end));
	CHECK_EQ(end - start, 4096);

	/* What extents and leaves lie in has no words. */
	const uint64_t base = (uint64_t)(uintptr_t)tree.base;

	CHECK(!hm_jemalloc_next(&jemalloc, base, base + 2 * BASE_BYTES, &start, &end));
	tree.base[BASE_BYTES / 8] = BASE_BYTES;
	tree.base[BASE_BYTES / 8 + 3] = base + BASE_BYTES + 4096;
	CHECK(hm_jemalloc_next(&jemalloc, base, base + 2 * BASE_BYTES, &start, &end));
	CHECK_EQ(start, base + BASE_BYTES);
	CHECK_EQ(end, base + 2 * BASE_BYTES);
	tree.base[BASE_BYTES / 8 + 1] = 4096; /* no block before it lies there */
	CHECK(!hm_jemalloc_next(&jemalloc, base, base + 2 * BASE_BYTES, &start, &end));
	tree_done(&tree);
}

static struct hm_memory_split split_with(struct hm_snapshot snapshot)
{
	struct hm_mapping entries[] = { named(anonymous(0x200000, MIB, 10 * KIB), "[heap]", 0),
					anonymous(place, MIB, 30 * KIB) };
	const struct hm_mappings mappings = { .entries = entries, .count = 2, .resident_bytes = 40 * KIB };
	struct hm_memory_split split;

	hm_memory_split(0, &mappings, &snapshot, NULL, 0, &split);
	CHECK_EQ(split.heap_bytes, 10 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT] + split.parts_bytes[HM_MEMORY_ANONYMOUS] +
			 split.parts_bytes[HM_MEMORY_UNRECORDED],
		 40 * KIB);
	return split;
}

/* What no sample tells of is neither free nor surely not malloc's; no more than there can be of it. */
static void test_split_unrecorded(void)
{
	struct hm_snapshot_stack stacks[] = {
		{ .kind = HM_STACK_ORDINARY, .alloc.bytes_fixed = (uint64_t)MIB << HM_BYTES_FRACTION_BITS },
		{ .kind = HM_STACK_DROPPED, .alloc.bytes_fixed = 3 * KIB << HM_BYTES_FRACTION_BITS },
	};
	struct hm_memory_split split = split_with((struct hm_snapshot){ .stacks = stacks, .stack_count = 2 });

	CHECK_EQ(split.parts_bytes[HM_MEMORY_UNRECORDED], 3 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 7 * KIB);
	CHECK_EQ(split.surely_mapped_bytes, 27 * KIB);

	split = split_with((struct hm_snapshot){ .inherited_bytes = 8 * KIB, .asleep_bytes = 4 * KIB });
	CHECK_EQ(split.parts_bytes[HM_MEMORY_UNRECORDED], 12 * KIB);
	CHECK_EQ(split.parts_bytes[HM_MEMORY_KEPT], 0);
	CHECK_EQ(split.surely_mapped_bytes, 18 * KIB);

	split = split_with((struct hm_snapshot){ .inherited_bytes = KIB, .asleep_bytes = UINT64_MAX });
	CHECK_EQ(split.parts_bytes[HM_MEMORY_UNRECORDED], 40 * KIB);
	CHECK_EQ(split.surely_mapped_bytes, 0);
	CHECK_EQ(split.unrecorded_bytes, UINT64_MAX);
}

/* --- The diagnosis ------------------------------------------------------------------------------------- */

/* One place, of which there are these figures, and a process of 100 MiB. */
struct diagnosis_case {
	const char *what;
	enum hm_verdict expected;
	double alloc_mib;
	double inuse_mib;
	double bands_mib[HM_BANDS_OF_LEDGER];
	double look_alloc_mib;
	double look_freed_mib;
	double parts_mib[HM_MEMORY_PARTS]; /* all 0: not known */
	double seconds;
	double samples; /* 0: exact */
};

static const struct diagnosis_case diagnosis_cases[] = {
	/* verdict: alloc, inuse, ages young to old, second look, parts */
	{ "even ages", HM_VERDICT_LEAK, 60, 50, { 12, 13, 12, 13 }, 1, 0, { 50, 10, 0, 0, 40 }, 60, 0 },
	{ "a small leak in churn",
	  HM_VERDICT_LEAK,
	  9000,
	  40,
	  { 22, 6, 6, 6 },
	  300,
	  100,
	  { 40, 20, 0, 0, 40 },
	  60,
	  0 },
	{ "a leak that rests",
	  HM_VERDICT_LEAK,
	  50,
	  50,
	  { 12, 13, 12, 13 },
	  0,
	  0,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "a leak of unknown surroundings", HM_VERDICT_LEAK, 60, 50, { 12, 13, 12, 13 }, 0, 0, { 0 }, 60, 0 },
	{ "started just now",
	  HM_VERDICT_RETENTION,
	  50,
	  50,
	  { 12, 13, 12, 13 },
	  1,
	  0,
	  { 50, 10, 0, 0, 40 },
	  3,
	  0 },
	{ "15 samples",
	  HM_VERDICT_RETENTION,
	  60,
	  50,
	  { 12, 13, 12, 13 },
	  0,
	  0,
	  { 50, 10, 0, 0, 40 },
	  60,
	  15 },
	{ "17 samples", HM_VERDICT_LEAK, 60, 50, { 12, 13, 12, 13 }, 0, 0, { 50, 10, 0, 0, 40 }, 60, 17 },
	{ "a leak of no weight",
	  HM_VERDICT_HEALTHY,
	  8,
	  8,
	  { 2, 2, 2, 2 },
	  0,
	  0,
	  { 8, 10, 20, 20, 42 },
	  60,
	  0 },
	{ "a leak of no size", HM_VERDICT_HEALTHY, 7, 7, { 2, 1, 2, 2 }, 0, 0, { 7, 1, 0, 0, 8 }, 60, 0 },
	{ "built at the start",
	  HM_VERDICT_RETENTION,
	  100,
	  50,
	  { 0, 0, 0, 50 },
	  0,
	  0,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "filled in the first half",
	  HM_VERDICT_RETENTION,
	  50,
	  50,
	  { 0, 0, 25, 25 },
	  0,
	  0,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "built just now",
	  HM_VERDICT_RETENTION,
	  50,
	  50,
	  { 50, 0, 0, 0 },
	  50,
	  0,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "a drained map, afterwards", HM_VERDICT_RETENTION, 100, 50, { 0, 0, 50, 0 }, 0, 0, { 0 }, 60, 0 },
	{ "less than 40 % kept",
	  HM_VERDICT_HEALTHY,
	  130,
	  50,
	  { 0, 0, 0, 50 },
	  0,
	  0,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "a full cache",
	  HM_VERDICT_HEALTHY,
	  400,
	  50,
	  { 12, 13, 12, 13 },
	  5,
	  5,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "a full cache, one turn old",
	  HM_VERDICT_HEALTHY,
	  60,
	  50,
	  { 12, 13, 12, 13 },
	  5,
	  5,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "replaced by another place",
	  HM_VERDICT_RETENTION,
	  50,
	  50,
	  { 12, 13, 12, 13 },
	  0,
	  0.5,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "replaced by another place, a little",
	  HM_VERDICT_LEAK,
	  50,
	  50,
	  { 12, 13, 12, 13 },
	  0,
	  0.4,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "a full cache, busy",
	  HM_VERDICT_CHURN,
	  401,
	  50,
	  { 50, 0, 0, 0 },
	  20,
	  20,
	  { 50, 10, 0, 0, 40 },
	  60,
	  0 },
	{ "short-lived", HM_VERDICT_CHURN, 9000, 1, { 1, 0, 0, 0 }, 500, 500, { 1, 5, 0, 0, 94 }, 60, 0 },
	{ "short-lived, but at rest",
	  HM_VERDICT_HEALTHY,
	  9000,
	  1,
	  { 1, 0, 0, 0 },
	  0,
	  0,
	  { 1, 5, 0, 0, 94 },
	  60,
	  0 },
	{ "churn before fragmentation",
	  HM_VERDICT_CHURN,
	  9000,
	  1,
	  { 1, 0, 0, 0 },
	  500,
	  500,
	  { 1, 90, 0, 0, 9 },
	  60,
	  0 },
	{ "holes", HM_VERDICT_FRAGMENTATION, 100, 5, { 0, 0, 0, 5 }, 0, 0, { 5, 80, 0, 0, 15 }, 60, 0 },
	{ "few holes", HM_VERDICT_HEALTHY, 100, 5, { 0, 0, 0, 5 }, 0, 0, { 5, 32, 31, 0, 32 }, 60, 0 },
	{ "not recorded", HM_VERDICT_UNKNOWN, 5, 5, { 0, 0, 0, 5 }, 0, 0, { 5, 5, 5, 0, 5, 0, 80 }, 60, 0 },
	{ "mapped", HM_VERDICT_MMAP, 5, 5, { 0, 0, 0, 5 }, 0, 0, { 5, 5, 80, 0, 10 }, 60, 0 },
	{ "stacks", HM_VERDICT_THREADS, 5, 5, { 0, 0, 0, 5 }, 0, 0, { 5, 5, 5, 70, 15 }, 60, 0 },
	{ "small all over", HM_VERDICT_HEALTHY, 5, 5, { 0, 0, 0, 5 }, 0, 0, { 5, 7, 0, 0, 1 }, 60, 0 },
	{ "nothing", HM_VERDICT_HEALTHY, 0, 0, { 0 }, 0, 0, { 0 }, 60, 0 },
};

static struct hm_diagnosis diagnose(const struct diagnosis_case *of, struct hm_sites *sites,
				    double look_seconds)
{
	struct hm_memory_split split = { 0 };
	struct hm_site *const site = &sites->entries[0];

	site->figures.alloc_bytes = of->alloc_mib * MIB;
	site->figures.inuse_bytes = of->inuse_mib * MIB;
	site->figures.inuse_variance =
		of->samples > 0 ? site->figures.inuse_bytes * site->figures.inuse_bytes / of->samples : 0;
	for (int band = 0; band < HM_BANDS_OF_LEDGER; band++) {
		site->bands_bytes[band] = of->bands_mib[band] * MIB;
		sites->bands_part[band] = 1.0 / HM_BANDS_OF_LEDGER;
	}
	site->look_alloc_bytes = of->look_alloc_mib * MIB;
	site->look_freed_bytes = of->look_freed_mib * MIB;
	/* what is freed was there before */
	site->look_new_bytes = site->look_alloc_bytes;
	site->look_growth_bytes = site->look_alloc_bytes - site->look_freed_bytes;
	sites->total = *site;
	sites->recorded_seconds = of->seconds;
	for (int part = 0; part < HM_MEMORY_PARTS; part++) {
		split.parts_bytes[part] = (uint64_t)(of->parts_mib[part] * MIB);
		split.resident_bytes += split.parts_bytes[part];
	}
	split.surely_mapped_bytes = split.parts_bytes[HM_MEMORY_ANONYMOUS];

	const struct hm_evidence evidence = {
		.sites = sites,
		.split = split.resident_bytes != 0 ? &split : NULL,
		.look_seconds = look_seconds,
		.resident_growth_bytes = 1024 * MIB, /* it does not speak against a leak */
	};

	return hm_diagnose(&evidence);
}

static void test_diagnosis(void)
{
	for (size_t i = 0; i < sizeof(diagnosis_cases) / sizeof(diagnosis_cases[0]); i++) {
		const struct diagnosis_case *const of = &diagnosis_cases[i];
		struct hm_site site = { 0 };
		struct hm_sites sites = { .entries = &site, .count = 1, .band_count = HM_BANDS_OF_LEDGER };
		const struct hm_diagnosis diagnosis = diagnose(of, &sites, 1);

		if (diagnosis.verdict != of->expected)
			printf("%s: %s\n", of->what, hm_verdict_text(diagnosis.verdict));
		CHECK_EQ(diagnosis.verdict, of->expected);
		if (diagnosis.verdict <= HM_VERDICT_CHURN)
			CHECK(diagnosis.site == &site);
	}
}

/* Of a profile: ages by its labels, rates by the mean over all the time. */
static void test_diagnosis_of_profile(void)
{
	struct hm_site site = { .figures = { .alloc_bytes = 60 * MIB, .inuse_bytes = 50 * MIB } };
	struct hm_sites sites = {
		.entries = &site,
		.count = 1,
		.recorded_seconds = 30,
		.band_count = 3,
		.bands_part = { 1.0 / 30, 9.0 / 30, 20.0 / 30 },
	};
	const struct hm_evidence evidence = { .sites = &sites };

	site.bands_bytes[1] = 15 * MIB;
	site.bands_bytes[2] = 35 * MIB;
	sites.total = site;
	CHECK_EQ(hm_diagnose(&evidence).verdict, HM_VERDICT_LEAK); /* the first band is too short to tell */
	site.bands_bytes[1] = 5 * MIB;
	site.bands_bytes[2] = 45 * MIB;
	CHECK_EQ(hm_diagnose(&evidence).verdict, HM_VERDICT_RETENTION);
	site.figures.alloc_bytes = 60.0 * 1024 * MIB;
	sites.total = site;
	CHECK_EQ(hm_diagnose(&evidence).verdict, HM_VERDICT_CHURN);
	CHECK(hm_diagnose(&evidence).bytes == 2.0 * 1024 * MIB);
	sites.band_count = 0;
	sites.recorded_seconds = 0; /* not known when it began: neither ages nor rates say anything */
	CHECK_EQ(hm_diagnose(&evidence).verdict, HM_VERDICT_HEALTHY);
}

/* One place of 50 MiB that has freed `times` of that, recorded for a minute, with so many samples. */
static struct hm_site site_that_freed(double times, double samples)
{
	const double inuse_bytes = 50 * MIB;

	return (struct hm_site){
		.figures = { .alloc_bytes = inuse_bytes * (1 + times),
			     .inuse_bytes = inuse_bytes,
			     .inuse_variance = samples > 0 ? inuse_bytes * inuse_bytes / samples : 0 },
	};
}

static bool is_leak_in_bands(const struct hm_site *site, const double *bands_part, uint32_t band_count,
			     double look_seconds)
{
	struct hm_site entry = *site;
	struct hm_sites sites = {
		.entries = &entry,
		.count = 1,
		.total = *site,
		.recorded_seconds = 60,
		.band_count = band_count,
	};

	memcpy(sites.bands_part, bands_part, band_count * sizeof(bands_part[0]));
	return hm_diagnose(&(struct hm_evidence){ .sites = &sites,
						  .look_seconds = look_seconds,
						  .resident_growth_bytes = 1024 * MIB })
		       .verdict == HM_VERDICT_LEAK;
}

static const double quarters[] = { 0.25, 0.25, 0.25, 0.25 };
static const double labels_of_a_minute[] = { 1.0 / 60, 9.0 / 60, 50.0 / 60 };

/* Filled at once and replaced at random since: what is older than b is exp(-x b/T) of it. */
static struct hm_site site_replaced(double times, double samples, const double *bands_part,
				    uint32_t band_count)
{
	struct hm_site site = site_that_freed(times, samples);
	double start = 0;

	for (uint32_t band = 0; band < band_count; band++) {
		const double end = band + 1 < band_count ? exp(-times * (start + bands_part[band])) : 0;

		site.bands_bytes[band] = (exp(-times * start) - end) * site.figures.inuse_bytes;
		start += bands_part[band];
	}
	return site;
}

static struct hm_site site_leaking(double times, double samples, const double *bands_part,
				   uint32_t band_count)
{
	struct hm_site site = site_that_freed(times, samples);

	for (uint32_t band = 0; band < band_count; band++)
		site.bands_bytes[band] = bands_part[band] * site.figures.inuse_bytes;
	return site;
}

/* Of a file: a cache, however long it runs, is no leak; a place that frees what it does not leak is one. */
static void test_diagnosis_of_replaced(void)
{
	for (int tenths = 1; tenths <= 100; tenths++) {
		const double times = tenths / 10.0;
		struct hm_site site = site_replaced(times, 0, quarters, 4);

		CHECK(!is_leak_in_bands(&site, quarters, 4, 0));
		site = site_replaced(times, 0, labels_of_a_minute, 3);
		CHECK(!is_leak_in_bands(&site, labels_of_a_minute, 3, 0));
		/* in between a cache may have such ages */
		site = site_leaking(times, 1000, quarters, 4);
		if (times < 0.5 || times >= 1.5)
			CHECK(is_leak_in_bands(&site, quarters, 4, 0));
	}

	struct hm_site site = site_leaking(3, 100, labels_of_a_minute, 3);

	CHECK(is_leak_in_bands(&site, labels_of_a_minute, 3, 0));
	site = site_leaking(3, 16, labels_of_a_minute, 3);
	CHECK(!is_leak_in_bands(&site, labels_of_a_minute, 3, 0)); /* by chance */
}

/* Of a process: what it gets and keeps in the second, against what it frees of what it had. */
static void test_diagnosis_of_partial_leak(void)
{
	struct hm_site site = site_leaking(1, 100, quarters, 4);

	site.look_alloc_bytes = 3 * MIB;
	site.look_freed_bytes = 2 * MIB; /* at once, but for a little */
	site.look_new_bytes = 1.1 * MIB;
	site.look_growth_bytes = 1.0 * MIB;
	site.look_growth_variance = pow(0.4 * MIB, 2);
	CHECK(is_leak_in_bands(&site, quarters, 4, 1));
	site.look_growth_variance = pow(0.6 * MIB, 2); /* within its noise */
	CHECK(!is_leak_in_bands(&site, quarters, 4, 1));
	site.look_growth_variance = 0;
	site.look_new_bytes = 3 * MIB; /* of which as much was freed before that it had */
	CHECK(!is_leak_in_bands(&site, quarters, 4, 1));
	site.look_new_bytes = 0.4 * MIB;
	site.look_growth_bytes = 0.4 * MIB; /* less than half of what it grew by until now */
	CHECK(!is_leak_in_bands(&site, quarters, 4, 1));
}

/* What seems to grow while the process does not is none, where it may be full, or its past is not known. */
static void test_diagnosis_of_refuted_leak(void)
{
	const double even_mib = 50.0 / HM_BANDS_OF_LEDGER;
	static const struct {
		double freed_mib;
		double unrecorded_mib;
		double growth_mib; /* of the process, in a second; of the place, 50 / 60 */
		bool is_leak;
	} cases[] = {
		{ 0, 0, 0, true }, /* the place itself is evidence enough */
		{ 4, 0, 0, true },  { 6, 0, 0, false },  { 6, 0, 0.4, false },  { 6, 0, 0.45, true },
		{ 0, 24, 0, true }, { 0, 26, 0, false }, { 0, 26, 0.45, true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hm_memory_split split = { .resident_bytes = 100 * MIB };
		struct hm_site site = {
			.figures = { .alloc_bytes = (50 + cases[i].freed_mib) * MIB,
				     .inuse_bytes = 50 * MIB },
			.bands_bytes = { even_mib * MIB, even_mib * MIB, even_mib * MIB, even_mib * MIB },
		};
		struct hm_sites sites = { .entries = &site,
					  .count = 1,
					  .total = site,
					  .recorded_seconds = 60,
					  .band_count = HM_BANDS_OF_LEDGER };

		memcpy(sites.bands_part, quarters, sizeof(quarters));
		split.parts_bytes[HM_MEMORY_LIVE] = 50 * MIB;
		split.parts_bytes[HM_MEMORY_UNRECORDED] = (uint64_t)(cases[i].unrecorded_mib * MIB);

		const struct hm_evidence evidence = { .sites = &sites,
						      .split = &split,
						      .look_seconds = 1,
						      .resident_growth_bytes = cases[i].growth_mib * MIB };

		CHECK_EQ(hm_diagnose(&evidence).verdict == HM_VERDICT_LEAK, cases[i].is_leak);
	}
}

/* One that began late has its own quarters, if it is seen to grow. */
static void test_diagnosis_of_late_leak(void)
{
	struct hm_site site = site_that_freed(0, 0);

	site.bands_bytes[0] = site.figures.inuse_bytes;
	for (int quarter = 0; quarter < 4; quarter++)
		site.quarters_bytes[quarter] = site.figures.inuse_bytes / 4;
	site.oldest_seconds = 10;
	site.look_new_bytes = 5 * MIB;
	site.look_growth_bytes = 5 * MIB;
	CHECK(is_leak_in_bands(&site, quarters, 4, 1));
	site.oldest_seconds = 3.9;
	CHECK(!is_leak_in_bands(&site, quarters, 4, 1));
	site.oldest_seconds = 10;
	site.figures.alloc_bytes = 2 * site.figures.inuse_bytes; /* a queue that happens to grow */
	CHECK(!is_leak_in_bands(&site, quarters, 4, 1));
	site.figures.alloc_bytes = site.figures.inuse_bytes;
	site.look_new_bytes = 0;
	site.look_growth_bytes = 0;
	CHECK(!is_leak_in_bands(&site, quarters, 4, 1));
}

/* Too little of each, and plain of all of them. */
static void test_diagnosis_of_many_places(void)
{
	enum { PLACES = 64 };
	struct hm_site entries[PLACES];
	struct hm_sites sites = {
		.entries = entries, .count = PLACES, .recorded_seconds = 60, .band_count = HM_BANDS_OF_LEDGER
	};

	for (size_t i = 0; i < PLACES; i++) {
		entries[i] = site_leaking(0, 5, quarters, 4);
		hm_view_add(&sites.total.figures, &entries[i].figures);
	}
	memcpy(sites.bands_part, quarters, sizeof(quarters));

	const struct hm_evidence evidence = { .sites = &sites, .look_seconds = 1 };
	struct hm_diagnosis diagnosis = hm_diagnose(&evidence);

	CHECK_EQ(diagnosis.verdict, HM_VERDICT_LEAK);
	CHECK_EQ(diagnosis.site_count, PLACES);
	CHECK(diagnosis.bytes == sites.total.figures.inuse_bytes);
	CHECK(fabs(diagnosis.bytes_per_second * 60 - diagnosis.bytes) < 1);
	for (size_t i = 0; i < PLACES; i++)
		entries[i].look_growth_bytes = -(double)MIB; /* given back */
	CHECK_EQ(hm_diagnose(&evidence).verdict, HM_VERDICT_RETENTION);
}

/* --- Threads ------------------------------------------------------------------------------------------- */

static const char expected_page[] =
	"# 1 of 3 stacks could not be read: Operation not permitted: it has ended\n"
	"\n"
	"thread 7 \"main\" [running]:\n"
	"inlined()\n"
	"\t/src/a.c:12\n"
	"main()\n"
	"\t/src/a.c:30\n"
	"<unknown>()\n"
	"\t0x3000\n"
	"\n"
	"thread 8 \"wor\\x0aker\" [sleeping in epoll_wait, 5 minutes]:\n"
	"wait_for_it()\n"
	"\t/lib/libc.so.6+0x77\n"
	"# not stopped, since its call would not go on: what lies further out needs registers\n"
	"\n"
	"thread 9 \"io\" [waiting for the disk in folio_wait]:\n"
	"# the stack was not read\n"
	"\n";

static void test_thread_page(void)
{
	struct hm_line lines[] = { { .name = "inlined", .file = "/src/a.c", .line = 12 },
				   { .name = "main", .file = "/src/a.c", .line = 30 },
				   { .name = "wait_for_it" } };
	uint64_t addresses[] = { 0x1000, 0x2000 };
	struct hm_thread_name found[] = {
		{ .name = { .lines = lines, .line_count = 2 }, .path = "/src/a", .file_offset = 0x10 },
		{ .name = { .lines = lines + 2, .line_count = 1 },
		  .path = "/lib/libc.so.6",
		  .file_offset = 0x77 },
	};
	const struct hm_thread_names names = { .addresses = addresses, .names = found, .count = 2 };
	struct hm_thread entries[] = {
		{ .id = 7,
		  .name = "main",
		  .state = 'R',
		  .idle_seconds = -1,
		  .stack = HM_THREAD_STACK_WHOLE,
		  .frame_count = 2,
		  .frames = { 0x1000, 0x3000 } },
		{ .id = 8,
		  .name = "wor\nker",
		  .state = 'S',
		  .call = "epoll_wait",
		  .idle_seconds = 301,
		  .stack = HM_THREAD_STACK_SLEEPER,
		  .frame_count = 1,
		  .frames = { 0x2000 } },
		{ .id = 9, .name = "io", .state = 'D', .place = "folio_wait", .idle_seconds = 2 },
	};
	struct hm_threads threads = { .pid = INT_MAX,
				      .entries = entries,
				      .count = 3,
				      .total_count = 3,
				      .walked_count = 2,
				      .refusal = -EPERM };
	struct hm_thread_groups groups;
	char *page = NULL;
	size_t page_bytes = 0;
	FILE *const stream = open_memstream(&page, &page_bytes);

	hm_threads_print(stream, &threads, &names);
	(void)fclose(stream);
	CHECK_STR(page, expected_page);
	free(page);

	/* What libc does inside does not tell threads apart; whom it was called by does. */
	entries[0] = entries[1];
	entries[0].name[0] = 'x';
	entries[0].frame_count = 2;
	entries[0].frames[0] = 0x2000;
	entries[0].frames[1] = 0x2000;
	hm_thread_groups_build(&threads, &names, &groups);
	CHECK_EQ(groups.count, 3);
	hm_thread_groups_done(&groups);
	for (int i = 0; i < 2; i++) {
		entries[i].frame_count = 3 + (uint32_t)i;
		for (int k = 0; k < 2 + i; k++)
			entries[i].frames[k] = 0x2000;
		entries[i].frames[2 + i] = 0x1000;
	}
	hm_thread_groups_build(&threads, &names, &groups);
	CHECK_EQ(groups.count, 2);
	CHECK_EQ(groups.entries[0].count, 2);
	CHECK_STR(groups.entries[0].where, "wait_for_it < inlined");
	CHECK(groups.entries[0].has_other_names);
	hm_thread_groups_done(&groups);
}

int main(void)
{
	test_mappings();
	test_split_names();
	test_split_shared();
	test_split_arena();
	test_split_mapped_blocks();
	test_split_aligned_blocks();
	test_place_of_block();
	test_split_clips();
	test_split_own_and_stacks();
	test_split_large_stacks();
	test_thread_block();
	test_split_other_allocator();
	test_heap_bound();
	test_split_around_ledger();
	test_split_by_place();
	test_jemalloc_pages();
	test_split_unrecorded();
	test_diagnosis();
	test_diagnosis_of_profile();
	test_diagnosis_of_replaced();
	test_diagnosis_of_partial_leak();
	test_diagnosis_of_refuted_leak();
	test_diagnosis_of_late_leak();
	test_diagnosis_of_many_places();
	test_thread_page();
	return check_result();
}
