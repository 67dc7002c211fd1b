// SPDX-License-Identifier: Apache-2.0
/*
 * heap KIND COUNT: makes something live, and prints its own /proc/self/smaps while it is.
 *
 *	bytes     blocks of 16 bytes to 64 KiB, COUNT bytes in total, every page of them written to
 *	blocks    COUNT blocks of 64 bytes, from 1024 stacks
 *	alive     COUNT threads at once, each of which allocates
 *	gone      COUNT threads one after the other, each of which has allocated
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	PAGE_BYTES = 4096,
	STACK_BYTES = 64 * 1024,
	THREAD_BLOCKS = 4,
	THREAD_BLOCK_BYTES = 1024,
	BLOCK_BYTES = 64,
	PATH_BITS = 10, /* 2^10 stacks */
	SIZE_BITS_MIN = 4,
	SIZE_BITS_MAX = 15, /* the largest size is below twice this power */
};

static pthread_barrier_t all_have_allocated;

/* Marsaglia's xorshift. */
static uint64_t next_random(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Without stdio, whose buffers are memory too. */
static void print_mappings(void)
{
	static char text[64 * 1024];
	const int descriptor = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	ssize_t length = 0;

	while ((length = read(descriptor, text, sizeof(text))) > 0) {
		if (write(STDOUT_FILENO, text, (size_t)length) != length)
			_exit(errno);
	}
	if (length < 0)
		_exit(errno);
	(void)close(descriptor);
}

static void *allocate(size_t size)
{
	char *const block = malloc(size);

	if (block == NULL)
		abort();
	for (size_t at = 0; at < size; at += PAGE_BYTES)
		block[at] = 1;
	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

/* All that is kept is a list: each block begins with the address of the one before. */
static void keep(size_t size)
{
	static void *last;
	void **const block = allocate(size);

	*block = last;
	last = block;
}

/* Small sizes are more frequent: each power of two is as likely as any other. */
static void keep_bytes(size_t count)
{
	for (size_t kept = 0; kept < count;) {
		const unsigned int bits = SIZE_BITS_MIN + next_random() % (SIZE_BITS_MAX - SIZE_BITS_MIN + 1);
		const size_t size = ((size_t)1 << bits) + (next_random() & (((size_t)1 << bits) - 1));

		keep(size);
		kept += size;
	}
}

static void turn_left(unsigned long path, int turns);
static void turn_right(unsigned long path, int turns);

static inline void turn(unsigned long path, int turns)
{
	if (turns == 0)
		keep(BLOCK_BYTES);
	else if (path % 2 == 0)
		turn_left(path / 2, turns - 1);
	else
		turn_right(path / 2, turns - 1);
}

/* The bits of `path` are the way through the two functions; neither ends in a jump. */
__attribute__((noinline)) static void turn_left(unsigned long path, int turns)
{
	turn(path, turns);
	__asm__ volatile("" : : : "memory");
}

__attribute__((noinline)) static void turn_right(unsigned long path, int turns)
{
	turn(path, turns);
	__asm__ volatile("" : : : "memory");
}

static void keep_blocks(size_t count)
{
	for (size_t i = 0; i < count; i++)
		turn(i % (1UL << PATH_BITS), PATH_BITS);
}

static void allocate_and_free(void)
{
	for (int i = 0; i < THREAD_BLOCKS; i++)
		free(allocate(THREAD_BLOCK_BYTES));
}

static void *live_until_printed(void *unused)
{
	(void)unused;
	allocate_and_free();
	(void)pthread_barrier_wait(&all_have_allocated);
	(void)pause(); /* until the process ends */
	return NULL;
}

static void *live_shortly(void *unused)
{
	(void)unused;
	allocate_and_free();
	return NULL;
}

static pthread_t start(void *(*body)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;

	if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, STACK_BYTES) != 0)
		abort();
	errno = pthread_create(&thread, &attributes, body, NULL);
	if (errno != 0)
		_exit(errno);
	(void)pthread_attr_destroy(&attributes);
	return thread;
}

static void have_alive(size_t count)
{
	(void)pthread_barrier_init(&all_have_allocated, NULL, (unsigned int)count + 1);
	for (size_t i = 0; i < count; i++)
		(void)start(live_until_printed);
	(void)pthread_barrier_wait(&all_have_allocated);
}

static void have_had(size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)pthread_join(start(live_shortly), NULL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*make)(size_t count);
	} kinds[] = { { "bytes", keep_bytes },
		      { "blocks", keep_blocks },
		      { "alive", have_alive },
		      { "gone", have_had } };

	if (argc != 3)
		return 2;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[1], kinds[i].name) == 0) {
			kinds[i].make(strtoull(argv[2], NULL, 10));
			print_mappings();
			return 0;
		}
	}
	return 2;
}
