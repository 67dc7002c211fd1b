// SPDX-License-Identifier: Apache-2.0
/*
 * mmapdemo: memory that no heap profile shows.
 *
 * A pool of buffers, as many servers have one: each buffer is a mapping of its own (mmap), a buffer that is
 * given back goes to a list, to be used again, and is never unmapped.  After a burst all buffers are idle and
 * all of their memory is resident; what malloc has handed out is next to nothing.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	EXIT_USAGE = 2,
	BUFFERS_DEFAULT = 256,
	BUFFERS_MAX = 1 << 20,
	BUFFER_BYTES = 1 << 20,
};

struct buffer {
	struct buffer *next; /* owned by the pool */
	void *mapping;       /* owned: BUFFER_BYTES */
};

struct pool {
	struct buffer *idle; /* owned, chained */
	uint64_t buffer_count;
	uint64_t idle_count;
};

/* Reachable to the end of the process: nothing here is leaked in the sense of lost. */
static struct pool pool;

/* An idle buffer, or a new one; NULL where there is no memory. */
static struct buffer *take_buffer(void)
{
	struct buffer *buffer = pool.idle;

	if (buffer != NULL) {
		pool.idle = buffer->next;
		pool.idle_count--;
		return buffer;
	}
	buffer = malloc(sizeof(*buffer));
	if (buffer == NULL)
		return NULL;
	buffer->mapping =
		mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer->mapping == MAP_FAILED) {
		free(buffer);
		return NULL;
	}
	pool.buffer_count++;
	return buffer;
}

/* Here is the trouble: madvise(MADV_DONTNEED), or munmap above some number of idle buffers, would end it. */
static void return_buffer(struct buffer *buffer)
{
	buffer->next = pool.idle;
	pool.idle = buffer;
	pool.idle_count++;
}

/* All at once, each written to; then all are given back. */
static int burst(uint64_t count)
{
	struct buffer *busy = NULL;
	uint64_t taken = 0;

	for (; taken < count; taken++) {
		struct buffer *buffer = take_buffer();

		if (buffer == NULL)
			break;
		memset(buffer->mapping, 1, BUFFER_BYTES);
		buffer->next = busy;
		busy = buffer;
	}
	while (busy != NULL) {
		struct buffer *buffer = busy;

		busy = buffer->next;
		return_buffer(buffer);
	}
	return taken == count ? 0 : -ENOMEM;
}

/* 0 where the kernel does not tell. */
static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long long pages = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool parse_count(const char *text, uint64_t *ret_count)
{
	char *end;

	errno = 0;
	const unsigned long long count = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || count == 0 || count > BUFFERS_MAX)
		return false;
	*ret_count = count;
	return true;
}

static void print_help(void)
{
	printf("Usage: mmapdemo [BUFFERS [wait]]\n"
	       "Maps BUFFERS buffers of 1 MiB (%d by default), fills them, gives them back to a pool that "
	       "never\n"
	       "unmaps any, and prints its figures.  With `wait` it stays until its standard input ends.\n"
	       "\n"
	       "To see that the heap is not where the memory is:\n"
	       "  LD_PRELOAD=libheapmark.so HEAPMARK_RATE=1 mmapdemo\n"
	       "  heapmark top heapmark.mmapdemo.*.pb.gz\n"
	       "  heapmark check heapmark.mmapdemo.*.pb.gz | grep resident\n"
	       "and, while it waits:\n"
	       "  heapmark doctor heapmark.mmapdemo.*.ledger\n",
	       BUFFERS_DEFAULT);
}

/* Idle, as a server between two bursts. */
static void wait_for_end_of_input(void)
{
	while (getchar() != EOF)
		continue;
}

int main(int argc, char **argv)
{
	uint64_t count = BUFFERS_DEFAULT;
	const bool waits = argc == 3 && strcmp(argv[2], "wait") == 0;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (argc > 3 || (argc == 3 && !waits) || (argc > 1 && !parse_count(argv[1], &count))) {
		fprintf(stderr,
			"mmapdemo: BUFFERS must be one whole number from 1 to %d, alone or before the word "
			"wait; type: mmapdemo %d\n",
			BUFFERS_MAX, BUFFERS_DEFAULT);
		return EXIT_USAGE;
	}
	if (burst(count) != 0) {
		fprintf(stderr, "mmapdemo: no memory for %llu buffers of 1 MiB; type a smaller number\n",
			(unsigned long long)count);
		return EXIT_FAILURE;
	}
	printf("buffers=%llu idle=%llu mapped_bytes=%llu malloc_bytes=%llu resident_bytes=%llu\n",
	       (unsigned long long)pool.buffer_count, (unsigned long long)pool.idle_count,
	       (unsigned long long)pool.buffer_count * BUFFER_BYTES,
	       (unsigned long long)pool.buffer_count * sizeof(struct buffer),
	       (unsigned long long)resident_bytes());
	if (fflush(stdout) != 0) {
		fprintf(stderr, "mmapdemo: cannot write the figures: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	if (waits)
		wait_for_end_of_input();
	return EXIT_SUCCESS;
}
