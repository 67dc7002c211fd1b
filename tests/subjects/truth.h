// SPDX-License-Identifier: Apache-2.0
/*
 * What a subject knows about its own allocations, for the runner to hold against the profile.
 *
 * A site is a function of its own in every stack (SITE), with a truth of the same name that it counts in.
 * Nothing here allocates.  The runner reads, from standard output,
 *
 *	truth PID SITE ALLOC_OBJECTS ALLOC_SPACE INUSE_OBJECTS INUSE_SPACE
 *
 * where "?" is a figure that is not the subject's to know; it compares all other lines with those of a run
 * without the library.
 */
#ifndef HM_TESTS_SUBJECTS_TRUTH_H
#define HM_TESTS_SUBJECTS_TRUTH_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__clang__)
#define SITE __attribute__((noinline))
#else
#define SITE __attribute__((noipa)) /* neither inlined, nor cloned under another name */
#endif

/* Counts of one site.  Any thread. */
struct truth {
	const char *name;
	bool alloc_is_unknown; /* for instance: the C library allocates on the way */
	bool inuse_is_unknown;
	uint64_t alloc_objects;
	uint64_t alloc_bytes;
	uint64_t freed_objects;
	uint64_t freed_bytes;
	struct truth *next;
};

/* All sites of the program, in no order. */
static struct truth *truth_first;

static inline void truth_register(struct truth *truth)
{
	truth->next = truth_first;
	truth_first = truth;
}

/* Defines truth_of_NAME, to stand before the function NAME. */
#define TRUTH(NAME)                                                            \
	static struct truth truth_of_##NAME;                                   \
	__attribute__((constructor(101))) static void truth_begin_##NAME(void) \
	{                                                                      \
		truth_of_##NAME.name = #NAME;                                  \
		truth_register(&truth_of_##NAME);                              \
	}

/* A block that a site has allocated; address NULL: none. */
struct block {
	void *address;
	size_t size_bytes;
	struct truth *truth;
};

static inline void truth_add(uint64_t *counter, uint64_t amount)
{
	(void)__atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

/* What a site returns: its block, counted; an allocation that failed is none. */
static inline struct block truth_allocated(struct truth *truth, void *address, size_t size_bytes)
{
	const struct block block = { address, size_bytes, truth };

	if (address != NULL) {
		truth_add(&truth->alloc_objects, 1);
		truth_add(&truth->alloc_bytes, size_bytes);
	}
	return block;
}

static inline void truth_freed(const struct block *block)
{
	if (block->truth != NULL) {
		truth_add(&block->truth->freed_objects, 1);
		truth_add(&block->truth->freed_bytes, block->size_bytes);
	}
}

static inline void truth_free(struct block *block)
{
	if (block->address != NULL)
		truth_freed(block);
	free(block->address);
	block->address = NULL;
}

/* One line on standard output, at once and without stdio. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
	char line[512];
	va_list arguments;

	va_start(arguments, format);

	const int length = vsnprintf(line, sizeof(line) - 1, format, arguments);

	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(line) - 1)
		abort();
	line[length] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)length + 1) != length + 1)
		_exit(99);
}

static inline void truth_format(char *text, size_t text_bytes, bool is_unknown, uint64_t objects,
				uint64_t bytes)
{
	if (is_unknown)
		(void)snprintf(text, text_bytes, "? ?");
	else
		(void)snprintf(text, text_bytes, "%" PRIu64 " %" PRIu64, objects, bytes);
}

static inline void truth_print(void)
{
	for (const struct truth *truth = truth_first; truth != NULL; truth = truth->next) {
		char alloc[64];
		char inuse[64];

		truth_format(alloc, sizeof(alloc), truth->alloc_is_unknown, truth->alloc_objects,
			     truth->alloc_bytes);
		truth_format(inuse, sizeof(inuse), truth->inuse_is_unknown,
			     truth->alloc_objects - truth->freed_objects,
			     truth->alloc_bytes - truth->freed_bytes);
		say("truth %d %s %s %s", (int)getpid(), truth->name, alloc, inuse);
	}
}

/* In a fork child: what the parent did is in the parent's profile. */
static inline void truth_begin_anew(void)
{
	for (struct truth *truth = truth_first; truth != NULL; truth = truth->next) {
		truth->alloc_objects = truth->alloc_bytes = 0;
		truth->freed_objects = truth->freed_bytes = 0;
	}
}

#endif
