// SPDX-License-Identifier: Apache-2.0
/*
 * Programs whose memory is high for a known cause.
 *
 *	causes NAME, one of the table at the end
 *
 * Each sets up, prints "ready" with figures as key=value, goes on as its cause does, and ends when its
 * standard input does.
 */
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define SITE __attribute__((noinline))
#else
#define SITE __attribute__((noipa)) /* neither inlined, nor cloned under another name */
#endif

enum { MIB = 1 << 20, LEAK_BLOCK = 4096, CACHE_BLOCK = 2048, PAUSE_MS = 10 };

static void *volatile sink;

/* Waits for the given time; false when standard input has ended. */
static bool go_on(int ms)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char bytes[64];

	return poll(&input, 1, ms) == 0 || read(STDIN_FILENO, bytes, sizeof(bytes)) > 0;
}

static void ready(const char *key, uint64_t value)
{
	printf("ready pid=%d %s=%llu\n", (int)getpid(), key, (unsigned long long)value);
	fflush(stdout);
}

SITE static void *touched(size_t size_bytes)
{
	void *const block = malloc(size_bytes);

	if (block == NULL)
		abort();
	memset(block, 1, size_bytes);
	return block;
}

/* A list, so that nothing but the list itself holds the blocks. */
SITE static void leak_block(void)
{
	static void *list;
	void **const block = touched(LEAK_BLOCK);

	*block = list;
	list = block;
}

static void leak(void)
{
	enum { BLOCKS_AT_ONCE = 64 }; /* 25 MiB/s */

	ready("block", LEAK_BLOCK);
	while (go_on(PAUSE_MS))
		for (int i = 0; i < BLOCKS_AT_ONCE; i++)
			leak_block();
}

/* Builds, rests for a while, and leaks then. */
static void late(void)
{
	enum { COUNT = 4096, REST_MS = 4000, BLOCKS_AT_ONCE = 64 };

	for (int i = 0; i < COUNT; i++)
		sink = touched(LEAK_BLOCK);
	ready("live", (uint64_t)COUNT * LEAK_BLOCK);
	if (!go_on(REST_MS))
		return;
	while (go_on(PAUSE_MS))
		for (int i = 0; i < BLOCKS_AT_ONCE; i++)
			leak_block();
}

/* Frees three of four at once, at the place where it forgets the fourth. */
SITE static void use_block(unsigned int number)
{
	void *const block = touched(LEAK_BLOCK);

	sink = block;
	if (number % 4 != 0)
		free(block);
}

static void forgetful(void)
{
	enum { BLOCKS_AT_ONCE = 64 }; /* 6 MiB/s are forgotten */

	ready("block", LEAK_BLOCK);
	for (unsigned int number = 0; go_on(PAUSE_MS);)
		for (int i = 0; i < BLOCKS_AT_ONCE; i++)
			use_block(number++);
}

SITE static void churn_block(void)
{
	enum { BLOCK = 32 << 10 };

	sink = touched(BLOCK);
	free(sink);
}

static void churn(void)
{
	enum { BLOCKS_AT_ONCE = 64 };

	ready("none", 0);
	while (go_on(1))
		for (int i = 0; i < BLOCKS_AT_ONCE; i++)
			churn_block();
}

SITE static void build_table(void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		blocks[i] = touched(1024);
}

static void retention(void)
{
	enum { COUNT = 128 * 1024 };
	static void *blocks[COUNT];

	build_table(blocks, COUNT);
	ready("live", (uint64_t)COUNT * 1024);
	while (go_on(1000))
		;
}

/* Frees 15 of 16 small blocks: no page is free as a whole, 15/16 of the bytes are. */
static void fragmentation(void)
{
	enum { COUNT = 1 << 20, BLOCK = 200, KEPT_OF = 16 };
	static void *blocks[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = touched(BLOCK);
	for (size_t i = 0; i < COUNT; i++) {
		if (i % KEPT_OF == 0)
			continue;
		free(blocks[i]);
		blocks[i] = NULL;
	}
	ready("live", (uint64_t)COUNT / KEPT_OF * BLOCK);
	while (go_on(1000))
		;
}

/* In use once, and all free: more than the allocator gives back at once. */
static void freed(void)
{
	enum { COUNT = 6400, BLOCK = 64 << 10 };
	static void *blocks[COUNT];

	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = touched(BLOCK);
	for (size_t i = 0; i < COUNT; i++)
		free(blocks[i]);
	ready("live", 0);
	while (go_on(1000))
		;
}

static void *mapped(size_t size_bytes, int protection, int flags)
{
	void *const memory = mmap(NULL, size_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

static void map_memory(void)
{
	const size_t bytes = (size_t)1 << 30;

	memset(mapped(bytes, PROT_READ | PROT_WRITE, 0), 1, bytes);
	sink = touched(16 << 20); /* its mapping lies below the large one, and the kernel joins them */
	ready("mapped", bytes);
	while (go_on(1000))
		;
}

/* Made as jemalloc makes its own, which the kernel joins with it. */
static void map_noreserve(void)
{
	enum { BLOCKS = 2000, BLOCK = 5000 };
	const size_t bytes = (size_t)400 << 20;
	char *memory = NULL;

	for (int i = 0; i < BLOCKS; i++)
		sink = touched(BLOCK);
	memory = mapped((size_t)1 << 30, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	memset(memory, 1, bytes);
	for (int i = 0; i < BLOCKS; i++)
		sink = touched(BLOCK);
	ready("mapped", bytes);
	while (go_on(1000))
		;
}

/* Large blocks that do not begin where malloc's do, beside what was mapped: the kernel joins them. */
static void aligned(void)
{
	enum { BLOCKS = 8 };
	const size_t bytes = (size_t)400 << 20;

	memset(mapped(bytes, PROT_READ | PROT_WRITE, 0), 1, bytes);
	for (size_t i = 0; i < BLOCKS; i++) {
		void *block = NULL;

		if (posix_memalign(&block, i % 2 == 0 ? 64 : 4096, MIB) != 0)
			abort();
		memset(block, 1, MIB);
		sink = block;
	}
	ready("mapped", bytes);
	while (go_on(1000))
		;
}

/* What looks like an arena of malloc's from outside, as Go's heap does. */
static void arena_like(void)
{
	const size_t arena_bytes = (size_t)64 << 20;
	const size_t used_bytes = (size_t)40 << 20;
	char *const room = mapped(2 * arena_bytes, PROT_NONE, MAP_NORESERVE);
	char *const arena = room + (arena_bytes - (uintptr_t)room % arena_bytes);

	if (mprotect(arena, used_bytes, PROT_READ | PROT_WRITE) != 0)
		abort();
	memset(arena, 1, used_bytes);
	ready("mapped", used_bytes);
	while (go_on(1000))
		;
}

enum { SHARED = 256 << 20 };

/* Memory that is shared with nobody yet, in each of the ways that need no file. */
static void map_shared(void)
{
	const int file = memfd_create("shared", 0);
	void *const anonymous =
		mmap(NULL, SHARED / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *memory = MAP_FAILED;

	if (file >= 0 && ftruncate(file, SHARED / 2) == 0)
		memory = mmap(NULL, SHARED / 2, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (anonymous == MAP_FAILED || memory == MAP_FAILED)
		abort();
	memset(anonymous, 1, SHARED / 2);
	memset(memory, 1, SHARED / 2);
	ready("mapped", SHARED);
	while (go_on(1000))
		;
}

/* What brk gives, to the program and not to malloc. */
static void break_moved(void)
{
	const size_t bytes = (size_t)300 << 20;

	sink = touched(4 << 20);

	void *const memory = sbrk((intptr_t)bytes);

	if (memory == (void *)-1)
		abort();
	memset(memory, 1, bytes);
	ready("mapped", bytes);
	while (go_on(1000))
		;
}

static void map_file(void)
{
	char path[] = "./file.XXXXXX";
	const int file = mkstemp(path);
	const char *memory = MAP_FAILED;

	if (file >= 0 && unlink(path) == 0 && ftruncate(file, SHARED) == 0)
		memory = mmap(NULL, SHARED, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	if (memory == MAP_FAILED)
		abort();
	ready("mapped", SHARED);
	while (go_on(1000))
		;
}

static pthread_barrier_t touched_all;

SITE static void touch_stack(size_t size_bytes)
{
	char *const room = __builtin_alloca(size_bytes);

	memset(room, 1, size_bytes);
	__asm__ volatile("" : : "r"(room) : "memory");
}

static void *sleep_in_thread(void *touched_bytes)
{
	touch_stack((size_t)touched_bytes);
	pthread_barrier_wait(&touched_all);
	for (;;)
		pause();
	return NULL;
}

/* `room` NULL: libc makes the stacks; else they lie in there, one directly above the other. */
static void run_threads(size_t count, size_t stack_bytes, size_t touched_bytes, char *room)
{
	pthread_barrier_init(&touched_all, NULL, (unsigned int)count + 1);
	for (size_t i = 0; i < count; i++) {
		pthread_attr_t attributes;
		pthread_t thread;

		pthread_attr_init(&attributes);
		if (room != NULL)
			pthread_attr_setstack(&attributes, room + i * stack_bytes, stack_bytes);
		else
			pthread_attr_setstacksize(&attributes, stack_bytes);
		if (pthread_create(&thread, &attributes, sleep_in_thread, (void *)touched_bytes) != 0)
			abort();
	}
	pthread_barrier_wait(&touched_all);
	ready("stacks", count * touched_bytes);
	while (go_on(1000))
		;
}

static void threads(void)
{
	run_threads(800, 256 << 10, 128 << 10, NULL);
}

static void threads_large(void)
{
	run_threads(20, 32 << 20, 20 << 20, NULL);
}

static void threads_placed(void)
{
	enum { COUNT = 300 };

	run_threads(COUNT, MIB, 700 << 10, mapped((size_t)COUNT * MIB, PROT_READ | PROT_WRITE, 0));
}

enum { CACHE_COUNT = 32 * 1024, CACHE_AT_ONCE = 34 }; /* 6 MiB/s of 64 MiB */

/* Replaces what it holds, oldest first: every age below that of a turn, nothing older, no growth. */
static void replace(void **blocks)
{
	for (size_t next = 0; go_on(PAUSE_MS);) {
		for (int i = 0; i < CACHE_AT_ONCE; i++, next = (next + 1) % CACHE_COUNT) {
			free(blocks[next]);
			blocks[next] = touched(CACHE_BLOCK);
		}
	}
}

static void cache(void)
{
	static void *blocks[CACHE_COUNT];

	for (size_t i = 0; i < CACHE_COUNT; i++)
		blocks[i] = touched(CACHE_BLOCK);
	ready("live", (uint64_t)CACHE_COUNT * CACHE_BLOCK);
	replace(blocks);
}

/* The same, filled at the pace at which it is replaced then: for ten seconds. */
static void fifo(void)
{
	enum { STEPS = 256 };
	static void *blocks[CACHE_COUNT];

	for (size_t i = 0; i < CACHE_COUNT; i++) {
		blocks[i] = touched(CACHE_BLOCK);
		if (i % (CACHE_COUNT / STEPS) == 0 && !go_on(10000 / STEPS))
			return;
	}
	ready("live", (uint64_t)CACHE_COUNT * CACHE_BLOCK);
	replace(blocks);
}

/* A cache that replaces what it holds at random: there are some of every age, the fewer the older. */
static void replace_at_random(int at_once)
{
	static void *blocks[CACHE_COUNT];
	uint64_t state = 1;

	for (size_t i = 0; i < CACHE_COUNT; i++)
		blocks[i] = touched(CACHE_BLOCK);
	ready("live", (uint64_t)CACHE_COUNT * CACHE_BLOCK);
	while (go_on(PAUSE_MS)) {
		for (int i = 0; i < at_once; i++) {
			state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
			void **const block = &blocks[(state >> 33) % CACHE_COUNT];

			free(*block);
			*block = touched(CACHE_BLOCK);
		}
	}
}

static void replace_fast(void)
{
	replace_at_random(4 * CACHE_AT_ONCE); /* 26 MiB/s of 64 MiB */
}

static void replace_slowly(void)
{
	replace_at_random(CACHE_AT_ONCE / 3); /* 2 MiB/s */
}

static void untouched(void)
{
	const size_t bytes = (size_t)1 << 30;

	sink = malloc(bytes);
	ready("live", bytes);
	while (go_on(1000))
		;
}

/* Blocks too small to be looked up page by page, of which only the heads are written. */
static void reserved(void)
{
	enum { COUNT = 20000, BLOCK = 32 << 10 };

	for (int i = 0; i < COUNT; i++)
		sink = malloc(BLOCK);
	ready("live", (uint64_t)COUNT * BLOCK);
	while (go_on(1000))
		;
}

enum { ARENAS = 4, SMALL_COUNT = 64 * 1024, SMALL = 256, LARGE_COUNT = 200, LARGE = 200 << 10 };

static void *volatile small_blocks[ARENAS][SMALL_COUNT];
static void *volatile large_blocks[LARGE_COUNT];

static void *allocate_in_thread(void *argument)
{
	const size_t index = (size_t)argument;

	for (size_t i = 0; i < SMALL_COUNT; i++)
		small_blocks[index][i] = touched(SMALL);
	pthread_barrier_wait(&touched_all);
	for (;;)
		pause();
	return argument;
}

/* Blocks in four arenas, and large ones with mappings of their own. */
static void mixed(void)
{
	pthread_barrier_init(&touched_all, NULL, ARENAS + 1);
	for (size_t i = 0; i < ARENAS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, allocate_in_thread, (void *)i) != 0)
			abort();
	}
	pthread_barrier_wait(&touched_all);
	for (int i = 0; i < LARGE_COUNT; i++)
		large_blocks[i] = touched(LARGE);
	ready("live", (uint64_t)ARENAS * SMALL_COUNT * SMALL + (uint64_t)LARGE_COUNT * LARGE);
	while (go_on(1000))
		;
}

/* Not high for any cause: it does not let itself be looked at. */
static void undumpable(void)
{
	sink = touched(MIB);
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		abort();
	ready("live", MIB);
	while (go_on(1000))
		;
}

/* A parent that builds and a child that works: it has all that the parent has, and little of its own. */
static void prefork(void)
{
	enum { COUNT = 128 * 1024 };
	static void *blocks[COUNT];
	int ends[2];

	build_table(blocks, COUNT);
	if (pipe(ends) != 0)
		abort();

	const pid_t child = fork();

	if (child == 0) {
		char byte;

		sink = touched(MIB); /* a sample at any rate: it has a ledger */
		(void)close(ends[1]);
		_exit((int)read(ends[0], &byte, 1)); /* until the parent ends */
	}
	printf("ready pid=%d child=%d live=%d\n", (int)getpid(), (int)child, COUNT * 1024);
	fflush(stdout);
	while (go_on(1000))
		;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} causes[] = {
		{ "leak", leak },
		{ "churn", churn },
		{ "retention", retention },
		{ "fragmentation", fragmentation },
		{ "freed", freed },
		{ "mmap", map_memory },
		{ "break", break_moved },
		{ "noreserve", map_noreserve },
		{ "aligned", aligned },
		{ "arena_like", arena_like },
		{ "threads", threads },
		{ "threads_large", threads_large },
		{ "threads_placed", threads_placed },
		{ "cache", cache },
		{ "fifo", fifo },
		{ "untouched", untouched },
		{ "mixed", mixed },
		{ "undumpable", undumpable },
		{ "prefork", prefork },
		{ "forgetful", forgetful },
		{ "random", replace_fast },
		{ "random_slow", replace_slowly },
		{ "reserved", reserved },
		{ "shared", map_shared },
		{ "file", map_file },
		{ "late", late },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (strcmp(argv[1], causes[i].name) != 0)
			continue;
		causes[i].run();
		return EXIT_SUCCESS;
	}
	fprintf(stderr, "causes: name one cause\n");
	return EXIT_FAILURE;
}
