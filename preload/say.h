// SPDX-License-Identifier: Apache-2.0
/*
 * The library's voice: single lines on stderr, and the text that goes into names.
 * A library inside somebody else's program says nothing unless a profile is in danger.
 *
 * Any thread; never allocates; keeps errno.  About 2 KiB of stack: not on the sampling path.
 */
#ifndef HM_PRELOAD_SAY_H
#define HM_PRELOAD_SAY_H

#include <stdbool.h>
#include <stddef.h>

/* Remembers what standard error is.  Once an image, before the program can have changed it. */
void hm_say_begin(void);

/*
 * Writes "heapmark: <text>\n" to descriptor 2, in one write; a text of more than 1000 bytes is cut.  Nothing
 * is written where descriptor 2 is no longer what it was, where the write would block or bring a signal, or
 * where a seccomp filter forbids it (sandbox.h).
 */
void hm_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* snprintf that says whether all of it fitted. */
bool hm_format(char *buffer, size_t buffer_bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The sentence for an errno value; never NULL.  Unlike strerror, without locale and without a buffer. */
const char *hm_error_text(int error);

#endif
