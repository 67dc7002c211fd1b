// SPDX-License-Identifier: Apache-2.0
#ifndef HM_TESTS_SUBJECTS_LINK_LINKED_H
#define HM_TESTS_SUBJECTS_LINK_LINKED_H

#include "tests/subjects/truth.h"

/* The family as data: pointers that the linker or the loader fills in. */
struct allocator {
	void *(*allocate)(size_t);
	void (*release)(void *);
	void *(*allocate_zeroed)(size_t, size_t);
	void *(*resize)(void *, size_t);
};

/* The library's view of the family; borrowed, for ever. */
const struct allocator *library_table(void);

/* Calls release(block). */
void library_release(void (*release)(void *), void *block);

/* Allocates in the library. */
void *library_site(size_t size_bytes);

#endif
