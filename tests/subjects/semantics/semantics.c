// SPDX-License-Identifier: Apache-2.0
/*
 * What each function of the family returns, does to errno and to the bytes, in edge cases above all: printed
 * so that a run with the library and one without can be compared byte by byte.
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <malloc.h>

extern int mallctl(const char *name, void *old_value, size_t *old_size, void *new_value, size_t new_size)
	__attribute__((weak));

/* Of tcmalloc. */
extern const char *tc_version(int *major, int *minor, const char **patch) __attribute__((weak));

/* Not a number that any function of the family sets. */
enum { UNTOUCHED = EXDEV };

/* Out of the compiler's sight. */
static volatile size_t none = 0;
static volatile size_t size_max = SIZE_MAX;
static volatile size_t ptrdiff_max = PTRDIFF_MAX;

static const char *errno_text(void)
{
	return errno == UNTOUCHED ? "untouched" : strerrorname_np(errno);
}

static bool is_aligned(const void *block, size_t alignment)
{
	return alignment != 0 && (uintptr_t)block % alignment == 0;
}

/* The same block, of which the compiler does not know that it may have been resized. */
static void *unknown(void *block)
{
	__asm__("" : "+r"(block));
	return block;
}

/* Prints what a call gave, and frees it. */
static void show_block(const char *call, void *block, size_t alignment, size_t size_bytes)
{
	const char *const text = errno_text();

	if (block == NULL) {
		say("%s: NULL, errno %s", call, text);
		return;
	}
	memset(block, 0xa5, size_bytes);
	say("%s: block%s%s, errno %s", call, is_aligned(block, alignment) ? "" : ", misaligned",
	    malloc_usable_size(block) >= size_bytes ? "" : ", too small", text);
	errno = UNTOUCHED;
	free(block);
	if (errno != UNTOUCHED)
		say("\tfree changed errno to %s", errno_text());
}

#define SHOW(CALL, ALIGNMENT, SIZE)                       \
	do {                                              \
		errno = UNTOUCHED;                        \
		show_block(#CALL, CALL, ALIGNMENT, SIZE); \
	} while (0)

static void show_malloc(void)
{
	SHOW(malloc(none), 1, 0);
	SHOW(malloc(1), 8, 1);
	SHOW(malloc(16), 16, 16);
	SHOW(malloc(1000), 16, 1000);
	SHOW(malloc(100000), 16, 100000);
	SHOW(malloc(10000000), 16, 10000000);
	SHOW(malloc(size_max), 1, 0);
	SHOW(malloc(size_max - 1), 1, 0);
	SHOW(malloc(size_max - 4096), 1, 0);
	SHOW(malloc(ptrdiff_max), 1, 0);
	SHOW(malloc(ptrdiff_max + 1), 1, 0);
	SHOW(malloc(ptrdiff_max - 4096), 1, 0);
}

static void show_calloc(void)
{
	SHOW(calloc(none, none), 1, 0);
	SHOW(calloc(none, 10), 1, 0);
	SHOW(calloc(10, none), 1, 0);
	SHOW(calloc(none, size_max), 1, 0);
	SHOW(calloc(3, 7), 16, 21);
	SHOW(calloc(1000, 1000), 16, 1000000);
	SHOW(calloc(size_max, 2), 1, 0);
	SHOW(calloc(2, size_max), 1, 0);
	SHOW(calloc(size_max / 2 + 1, 2), 1, 0);
	SHOW(calloc(size_max / 16 + 2, 16), 1, 0);
	SHOW(calloc(size_max, 1), 1, 0);
	SHOW(calloc(1, ptrdiff_max), 1, 0);
}

static void show_resizing_of_nothing(void)
{
	SHOW(realloc(NULL, none), 1, 0);
	SHOW(realloc(NULL, 100), 16, 100);
	SHOW(realloc(NULL, size_max), 1, 0);
	SHOW(realloc(NULL, ptrdiff_max), 1, 0);
	SHOW(reallocarray(NULL, none, none), 1, 0);
	SHOW(reallocarray(NULL, 10, 10), 16, 100);
	SHOW(reallocarray(NULL, size_max, 2), 1, 0);
	SHOW(reallocarray(NULL, size_max / 2 + 1, 2), 1, 0);
}

static void show_aligned(void)
{
	SHOW(aligned_alloc(8, 8), 8, 8);
	SHOW(aligned_alloc(64, 640), 64, 640);
	SHOW(aligned_alloc(4096, 4096), 4096, 4096);
	SHOW(aligned_alloc(65536, 65536), 65536, 65536);
	SHOW(aligned_alloc(64, size_max - 63), 64, 0);
	SHOW(aligned_alloc(64, ptrdiff_max - 63), 64, 0);
	SHOW(memalign(8, 8), 8, 8);
	SHOW(memalign(16, none), 16, 0);
	SHOW(memalign(32, 33), 32, 33);
	SHOW(memalign(8192, 10), 8192, 10);
	SHOW(memalign(64, size_max), 64, 0);
	SHOW(memalign(64, ptrdiff_max), 64, 0);
	SHOW(valloc(none), 4096, 0);
	SHOW(valloc(1), 4096, 1);
	SHOW(valloc(5000), 4096, 5000);
	SHOW(valloc(size_max), 4096, 0);
	SHOW(valloc(ptrdiff_max), 4096, 0);
	/* jemalloc has no pvalloc: the block would come from glibc and be freed by jemalloc. */
	if (mallctl == NULL) {
		SHOW(pvalloc(none), 4096, 0);
		SHOW(pvalloc(1), 4096, 1);
		SHOW(pvalloc(5000), 4096, 8192);
		SHOW(pvalloc(size_max), 4096, 0);
		SHOW(pvalloc(ptrdiff_max), 4096, 0);
	}
}

static void show_posix_memalign(size_t alignment, size_t size_bytes)
{
	static char mark;
	void *block = &mark;

	errno = UNTOUCHED;

	const int error = posix_memalign(&block, alignment, size_bytes);
	const char *const text = errno_text();

	say("posix_memalign(%zu, %zu): %s, block %s, errno %s", alignment, size_bytes,
	    error == 0 ? "0" : strerrorname_np(error),
	    block == &mark                 ? "as before"
	    : block == NULL                ? "NULL"
	    : is_aligned(block, alignment) ? "aligned"
					   : "misaligned",
	    text);
	if (error == 0)
		free(block);
}

static void show_alignments(void)
{
	static const size_t alignments[] = { 0, 1, 2, 4, 7, 8, 12, 16, 24, 48, 64, 4096, 65536, 1000000 };

	for (size_t index = 0; index < sizeof(alignments) / sizeof(alignments[0]); index++) {
		show_posix_memalign(alignments[index], 100);
		show_posix_memalign(alignments[index], 0);
	}
	show_posix_memalign(64, size_max);
	show_posix_memalign(64, size_max - 200);
	show_posix_memalign(64, ptrdiff_max);
	show_posix_memalign(size_max / 4 + 1, 64);
	show_posix_memalign(size_max / 2 + 1, 64);
	show_posix_memalign(size_max / 2 + 1, size_max);
}

/*
 * Alignments that are none.  What comes of them is the allocator's affair; tcmalloc hands out blocks, or
 * spins.
 */
static void show_wrong_alignments(void)
{
	if (tc_version != NULL)
		return;
	SHOW(aligned_alloc(none + 3, 96), 1, 96);
	SHOW(aligned_alloc(none + 24, 96), 1, 96);
	SHOW(aligned_alloc(64, 100), 64, 100); /* not a multiple */
	SHOW(aligned_alloc(size_max / 4 + 1, 64), 1, 0);
	SHOW(aligned_alloc(size_max / 2 + 1, 64), 1, 0);
	SHOW(memalign(none + 3, 96), 1, 96);
	SHOW(memalign(none + 24, 96), 1, 96);
	SHOW(memalign(size_max / 4 + 1, 64), 1, 0);
	SHOW(memalign(size_max / 2 + 1, 64), 1, 0);
	if (mallctl == NULL) {
		SHOW(aligned_alloc(none, 96), 1, 96);
		SHOW(memalign(none, 96), 1, 96);
	}
}

/* Functions of the C library that return blocks. */
static void show_library(void)
{
	static const char text[] = "some text, in which there is a line feed\nand more";
	char *line = NULL;
	size_t line_bytes = 0;
	char *formatted = NULL;
	char *streamed = NULL;
	size_t streamed_bytes = 0;
	FILE *stream;

	SHOW(strdup(text), 1, sizeof(text));
	SHOW(strndup(text, 4), 1, 5);
	SHOW(realpath("/", NULL), 1, 2);
	SHOW(realpath("/no/such", NULL), 1, 0);
	SHOW(getcwd(NULL, 0), 1, 2);
	errno = UNTOUCHED;
	say("asprintf: %d, errno %s", asprintf(&formatted, "%1000d", 7), errno_text());
	free(formatted);

	stream = open_memstream(&streamed, &streamed_bytes);
	for (int count = 0; stream != NULL && count < 1000; count++)
		(void)fputs(text, stream);
	say("open_memstream: %d, %zu bytes", stream != NULL ? fclose(stream) : -1, streamed_bytes);
	free(streamed);

	stream = fmemopen((void *)(uintptr_t)text, sizeof(text) - 1, "r");
	errno = UNTOUCHED;
	say("getline: %zd, errno %s", stream != NULL ? getline(&line, &line_bytes, stream) : -2,
	    errno_text());
	say("getline again: %zd", stream != NULL ? getline(&line, &line_bytes, stream) : -2);
	if (stream != NULL)
		(void)fclose(stream);
	free(line);
}

/* The C library's own, which the library leaves alone. */
static void show_tuning(void)
{
	char *report = NULL;
	size_t report_bytes = 0;
	FILE *const stream = open_memstream(&report, &report_bytes);
	const size_t before_bytes = mallinfo2().uordblks;
	void *const block = malloc(50000);
	const size_t after_bytes = mallinfo2().uordblks;

	/* Zero, where another allocator serves malloc. */
	say("mallinfo2 over a block of 50000: %zu", (after_bytes - before_bytes) / 50000);
	free(block);
	say("mallopt(M_MMAP_THRESHOLD): %d", mallopt(M_MMAP_THRESHOLD, 1 << 20));
	say("mallopt(no such): %d", mallopt(4711, 1));
	SHOW(malloc(200000), 16, 200000);
	say("malloc_info: %d", stream != NULL ? malloc_info(0, stream) : -2);
	if (stream != NULL)
		(void)fclose(stream);
	say("its report: %.7s", report);
	free(report);
	errno = UNTOUCHED;
	(void)malloc_trim(0);
	say("malloc_trim: errno %s", errno_text());
}

static bool holds(const unsigned char *bytes, unsigned char value, size_t size_bytes)
{
	for (size_t index = 0; index < size_bytes; index++) {
		if (bytes[index] != value)
			return false;
	}
	return true;
}

/* A block goes up and down through sizes; its bytes come along. */
static void show_contents(void)
{
	static const size_t sizes[] = { 1,       24,      25,      100,     99,      5000, 200,  200000,
					3000000, 8000000, 9000000, 9000001, 1000000, 50,   4000, 1 };
	unsigned char *block = malloc(1);
	size_t old_bytes = 1;

	block[0] = 0;
	for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
		const size_t size_bytes = sizes[index];
		const size_t kept_bytes = old_bytes < size_bytes ? old_bytes : size_bytes;

		errno = UNTOUCHED;
		block = index % 2 == 0 ? realloc(block, size_bytes) : reallocarray(block, size_bytes, 1);
		if (block == NULL)
			abort();
		say("resize to %zu: %s, errno %s", size_bytes,
		    holds(block, (unsigned char)index, kept_bytes) ? "bytes kept" : "bytes lost",
		    errno_text());
		memset(block, (int)index + 1, size_bytes);
		old_bytes = size_bytes;
	}
	free(block);
}

/* A resize that fails leaves the block as it was. */
static void show_failing_resize(const char *call, void *block, void *moved)
{
	say("%s: %s, errno %s, %s", call, moved == NULL ? "NULL" : "block", errno_text(),
	    holds(block, 0x42, 500) ? "bytes kept" : "bytes lost");
}

#define SHOW_FAILING(CALL)                               \
	do {                                             \
		errno = UNTOUCHED;                       \
		show_failing_resize(#CALL, block, CALL); \
	} while (0)

/*
 * That errno is set is what reallocarray promises where the product overflows.  Where it does not, some
 * allocators leave errno alone and some do not.
 */
static void show_failing_resizes(void)
{
	void *const block = malloc(500);

	memset(block, 0x42, 500);
	SHOW_FAILING(realloc(unknown(block), size_max));
	SHOW_FAILING(realloc(unknown(block), size_max - 1));
	SHOW_FAILING(realloc(unknown(block), ptrdiff_max));
	SHOW_FAILING(reallocarray(unknown(block), size_max, size_max));
	SHOW_FAILING(reallocarray(unknown(block), size_max / 2 + 1, 2));
	SHOW_FAILING(reallocarray(unknown(block), 3, ptrdiff_max));
	free(block);
}

static void show_resize_to_nothing(void)
{
	for (size_t size_bytes = 0; size_bytes < 300000; size_bytes = size_bytes * 9 + 10) {
		void *const block = malloc(size_bytes);
		void *const zeros = calloc(1, size_bytes);
		void *resized;

		errno = UNTOUCHED;
		resized = realloc(block, none);
		say("realloc(malloc(%zu), 0): %s, errno %s", size_bytes, resized == NULL ? "NULL" : "block",
		    errno_text());
		free(resized);
		errno = UNTOUCHED;
		resized = reallocarray(zeros, none, 8);
		say("reallocarray(calloc(1, %zu), 0, 8): %s, errno %s", size_bytes,
		    resized == NULL ? "NULL" : "block", errno_text());
		free(resized);
	}
}

static void show_zeros(void)
{
	for (size_t size_bytes = 1; size_bytes < 3000000; size_bytes *= 3) {
		unsigned char *dirty = malloc(size_bytes);

		memset(dirty, 0xff, size_bytes);
		free(dirty);
		dirty = calloc(size_bytes, 1);
		say("calloc(%zu, 1): %s", size_bytes, holds(dirty, 0, size_bytes) ? "zeros" : "not zeros");
		free(dirty);
	}
}

int main(void)
{
	free(unknown(malloc(1))); /* an allocator may open files at its first call, and leave their errno */
	show_malloc();
	show_calloc();
	show_resizing_of_nothing();
	show_aligned();
	show_alignments();
	show_wrong_alignments();
	show_library();
	show_contents();
	show_failing_resizes();
	show_resize_to_nothing();
	show_zeros();
	show_tuning();
	errno = UNTOUCHED;
	free(NULL);
	say("free(NULL): errno %s", errno_text());
	say("malloc_usable_size(NULL): %zu", malloc_usable_size(NULL));
	return 0;
}
