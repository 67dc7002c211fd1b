// SPDX-License-Identifier: Apache-2.0
/*
 * Every function of the family, at sites of its own, over sizes from 0 bytes to some MiB.  A quarter of the
 * blocks is kept, the others are freed: at once, by another function at the end, by another thread.
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>

/* Of jemalloc, where that lies underneath. */
extern int mallctl(const char *name, void *old_value, size_t *old_size, void *new_value, size_t new_size)
	__attribute__((weak));

/* C23; the headers do not declare it yet. */
extern void free_sized(void *block, size_t size_bytes) __attribute__((weak));
extern void free_aligned_sized(void *block, size_t alignment, size_t size_bytes) __attribute__((weak));

/* Sizes that cannot be allocated, out of the compiler's sight. */
static volatile size_t huge_bytes = (size_t)PTRDIFF_MAX - 4096;
static volatile size_t overflowing_count = SIZE_MAX / 8;

static inline void *posix_aligned(size_t alignment, size_t size_bytes)
{
	void *block = NULL;

	return posix_memalign(&block, alignment, size_bytes) == 0 ? block : NULL;
}

/* site, call with `size`, first size, step from one size to the next, blocks */
/* clang-format off */
#define ALLOCATING(X)                                                          \
	X(malloc_empty, malloc(size), 0, 0, 12)                                \
	X(malloc_tiny, malloc(size), 1, 1, 32)                                 \
	X(malloc_small, malloc(size), 33, 17, 100)                             \
	X(malloc_page, malloc(size), 4090, 1, 12)                              \
	X(malloc_pages, malloc(size), 5000, 4321, 24)                          \
	X(malloc_around_mmap, malloc(size), 131000, 16, 12)                    \
	X(malloc_large, malloc(size), 1048577, 500000, 8)                      \
	X(malloc_too_large, malloc(size + huge_bytes), 0, 1, 8)                \
	X(calloc_empty, calloc(size, 8), 0, 0, 8)                              \
	X(calloc_of_nothing, calloc(8, size), 0, 0, 8)                         \
	X(calloc_one, calloc(1, size), 1, 13, 64)                              \
	X(calloc_bytes, calloc(size, 1), 7, 1000, 32)                          \
	X(calloc_pairs, calloc(size / 2, 2), 2, 4, 32)                         \
	X(calloc_large, calloc(size / 4096, 4096), 409600, 409600, 8)          \
	X(calloc_overflowing, calloc(size, overflowing_count), 9, 1, 8)        \
	X(realloc_of_nothing, realloc(NULL, size), 1, 31, 32)                  \
	X(realloc_too_large, realloc(NULL, size + huge_bytes), 0, 1, 4)        \
	X(reallocarray_of_nothing, reallocarray(NULL, size, 1), 1, 31, 32)     \
	X(reallocarray_pairs, reallocarray(NULL, size / 2, 2), 100, 2, 16)     \
	X(posix_memalign_8, posix_aligned(8, size), 0, 5, 16)                  \
	X(posix_memalign_64, posix_aligned(64, size), 1, 100, 32)              \
	X(posix_memalign_4096, posix_aligned(4096, size), 1, 3000, 12)         \
	X(posix_memalign_2M, posix_aligned(2097152, size), 1, 100000, 4)       \
	X(posix_memalign_wrong, posix_aligned(24, size), 100, 1, 4)            \
	X(posix_memalign_too_large, posix_aligned(64, size + huge_bytes), 0, 64, 4) \
	X(aligned_alloc_16, aligned_alloc(16, size), 16, 16, 32)               \
	X(aligned_alloc_256, aligned_alloc(256, size), 256, 256, 16)           \
	X(memalign_32, memalign(32, size), 1, 77, 32)                          \
	X(memalign_8192, memalign(8192, size), 1, 8191, 8)                     \
	X(valloc_pages, valloc(size), 1, 4095, 8)                              \
	X(strdup_text, strdup(text_of(size)), 1, 3, 32)                        \
	X(strndup_text, strndup(text_of(4000), size - 1), 1, 100, 32)          \
	X(pvalloc_pages, pvalloc(size), 1, 4095, 8)
/* clang-format on */

/* A string that takes `size_bytes` with its end. */
static const char *text_of(size_t size_bytes)
{
	static char text[4096];

	memset(text, 'x', size_bytes - 1);
	text[size_bytes - 1] = '\0';
	return text;
}

#define DEFINE_ALLOCATING(NAME, CALL, FIRST, STEP, BLOCKS)            \
	TRUTH(NAME)                                                   \
	static SITE struct block NAME(size_t size) {                  \
		return truth_allocated(&truth_of_##NAME, CALL, size); \
	}
ALLOCATING(DEFINE_ALLOCATING)

static const struct allocating {
	struct block (*allocate)(size_t size);
	size_t first_bytes;
	size_t step_bytes;
	unsigned int block_count;
} allocating[] = {
#define ROW_ALLOCATING(NAME, CALL, FIRST, STEP, BLOCKS) { NAME, FIRST, STEP, BLOCKS },
	ALLOCATING(ROW_ALLOCATING)
};
enum { ALLOCATING_COUNT = sizeof(allocating) / sizeof(allocating[0]) };

/* A realloc that gave `address`: the old block went and a new one came, or nothing happened. */
static struct block reallocated(struct truth *truth, const struct block *old, void *address,
				size_t size_bytes)
{
	if (address == NULL && size_bytes != 0)
		return *old;
	truth_freed(old);
	return truth_allocated(truth, address, size_bytes);
}

/* site, call with `old`, the size asked for */
/* clang-format off */
#define REALLOCATING(X)                                                                                      \
	X(realloc_in_place, realloc(old->address, old->size_bytes), old->size_bytes)                         \
	X(realloc_a_little, realloc(old->address, old->size_bytes + 1), old->size_bytes + 1)                 \
	X(realloc_grow, realloc(old->address, old->size_bytes * 10 + 99), old->size_bytes * 10 + 99)         \
	X(realloc_grow_large, realloc(old->address, old->size_bytes + 1000000), old->size_bytes + 1000000)   \
	X(realloc_shrink, realloc(old->address, old->size_bytes / 3 + 1), old->size_bytes / 3 + 1)           \
	X(realloc_to_nothing, realloc(old->address, 0), 0)                                                   \
	X(realloc_failing, realloc(old->address, huge_bytes), huge_bytes)                                    \
	X(reallocarray_grow, reallocarray(old->address, old->size_bytes + 5, 4), (old->size_bytes + 5) * 4)  \
	X(reallocarray_failing, reallocarray(old->address, overflowing_count, 9), SIZE_MAX)
/* clang-format on */

#define DEFINE_REALLOCATING(NAME, CALL, SIZE)                          \
	TRUTH(NAME)                                                    \
	static SITE struct block NAME(const struct block *old) {       \
		return reallocated(&truth_of_##NAME, old, CALL, SIZE); \
	}
REALLOCATING(DEFINE_REALLOCATING)

static struct block (*const reallocating[])(const struct block *old) = {
#define ROW_REALLOCATING(NAME, CALL, SIZE) NAME,
	REALLOCATING(ROW_REALLOCATING)
};
enum { REALLOCATING_COUNT = sizeof(reallocating) / sizeof(reallocating[0]), BLOCKS_TO_REALLOCATE = 60 };

/* How many steps the C library takes is its own affair; what is left is one block of a known size. */
TRUTH(asprintf_text)
static SITE struct block asprintf_text(size_t size)
{
	char *text = NULL;

	truth_of_asprintf_text.alloc_is_unknown = true;
	if (asprintf(&text, "%*s", (int)size, "x") != (int)size)
		abort();
	return truth_allocated(&truth_of_asprintf_text, text, size + 1);
}

TRUTH(getline_text)
static SITE struct block getline_text(FILE *file)
{
	char *line = NULL;
	size_t size_bytes = 0;

	truth_of_getline_text.alloc_is_unknown = true;
	if (getline(&line, &size_bytes, file) < 0)
		abort();
	return truth_allocated(&truth_of_getline_text, line, size_bytes);
}

/* Blocks that wait for somebody to free them. */
enum { LIST_MAX = 2000 };
struct list {
	struct block blocks[LIST_MAX];
	size_t count;
};
static struct list for_later;
static struct list for_thread;

static void list_add(struct list *list, struct block block)
{
	if (list->count == LIST_MAX)
		abort();
	list->blocks[list->count++] = block;
}

static SITE void *list_free(void *argument)
{
	struct list *const list = argument;

	for (size_t index = 0; index < list->count; index++)
		truth_free(&list->blocks[index]);
	return NULL;
}

static void free_by_size(struct block *block)
{
	truth_freed(block);
	if (free_sized != NULL)
		free_sized(block->address, block->size_bytes);
	else
		free(block->address);
}

/* The blocks of a site go all ways in turn. */
static void dispose(struct block block, unsigned int turn)
{
	switch (turn % 4) {
	case 0:
		break; /* kept */
	case 1:
		truth_free(&block);
		break;
	case 2:
		list_add(&for_later, block);
		break;
	default:
		list_add(&for_thread, block);
		break;
	}
}

static void run_allocating(const struct allocating *row)
{
	for (unsigned int index = 0; index < row->block_count; index++)
		dispose(row->allocate(row->first_bytes + index * row->step_bytes), index);
}

TRUTH(malloc_to_reallocate)
static SITE struct block malloc_to_reallocate(size_t size)
{
	return truth_allocated(&truth_of_malloc_to_reallocate, malloc(size), size);
}

TRUTH(calloc_to_reallocate)
static SITE struct block calloc_to_reallocate(size_t size)
{
	return truth_allocated(&truth_of_calloc_to_reallocate, calloc(1, size), size);
}

TRUTH(memalign_to_reallocate)
static SITE struct block memalign_to_reallocate(size_t size)
{
	return truth_allocated(&truth_of_memalign_to_reallocate, memalign(128, size), size);
}

/* Each block is reallocated by a few sites, one after the other. */
static void run_reallocating(unsigned int number)
{
	struct block (*const sources[])(size_t size) = { malloc_to_reallocate, calloc_to_reallocate,
							 memalign_to_reallocate };

	for (unsigned int index = 0; index < BLOCKS_TO_REALLOCATE; index++) {
		struct block block = sources[index % 3](index * index * 17 % 5000);

		for (unsigned int step = 0; step <= index % 3 && block.address != NULL; step++)
			block = reallocating[(number + step) % REALLOCATING_COUNT](&block);
		dispose(block, index / 3);
	}
}

TRUTH(malloc_for_free_sized)
static SITE struct block malloc_for_free_sized(size_t size)
{
	return truth_allocated(&truth_of_malloc_for_free_sized, malloc(size), size);
}

TRUTH(aligned_alloc_for_free_sized)
static SITE struct block aligned_alloc_for_free_sized(size_t size)
{
	return truth_allocated(&truth_of_aligned_alloc_for_free_sized, aligned_alloc(64, size), size);
}

static void run_free_sized(void)
{
	for (size_t size = 64; size <= 6400; size += 64) {
		struct block block = malloc_for_free_sized(size + 3);

		if (size % 128 == 0)
			free_by_size(&block);
		block = aligned_alloc_for_free_sized(size);
		if (size % 128 == 0 || free_aligned_sized == NULL)
			continue;
		truth_freed(&block);
		free_aligned_sized(block.address, 64, size);
	}
}

static void run_inner(void)
{
	static char file_buffer[4096];
	FILE *const file = fopen("/proc/self/status", "r");

	for (unsigned int index = 0; index < 10; index++)
		dispose(asprintf_text(1 + index * 400), index);
	if (file == NULL || setvbuf(file, file_buffer, _IOFBF, sizeof(file_buffer)) != 0)
		abort();
	for (unsigned int line = 0; line < 10; line++)
		dispose(getline_text(file), line);
	(void)fclose(file);
}

int main(void)
{
	pthread_t thread;

	for (unsigned int index = 0; index < ALLOCATING_COUNT; index++) {
		/* jemalloc has no pvalloc: the block would come from glibc and be freed by jemalloc. */
		if (allocating[index].allocate != pvalloc_pages || mallctl == NULL)
			run_allocating(&allocating[index]);
	}
	for (unsigned int number = 0; number < REALLOCATING_COUNT; number++)
		run_reallocating(number);
	run_free_sized();
	run_inner();
	(void)list_free(&for_later);
	if (pthread_create(&thread, NULL, list_free, &for_thread) != 0 || pthread_join(thread, NULL) != 0)
		abort();
	truth_print();
	return 0;
}
