// SPDX-License-Identifier: Apache-2.0
/*
 * The allocator underneath: whatever comes after this library in the program's search order.
 *
 * The pointers may be called from the first instruction of the process on: at first they lead to functions
 * that look the real ones up.  Blocks that are asked for while that is going on (dlsym itself may allocate)
 * come from a small static arena and stay there for ever.
 */
#ifndef HM_PRELOAD_NEXT_H
#define HM_PRELOAD_NEXT_H

#include "preload/cc.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct hm_next {
	void *(*malloc)(size_t);
	void (*free)(void *);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	void *(*visible_realloc)(void *,
				 size_t); /* the program's: ours, or that of an allocator in front of us */
	void (*visible_free)(void *);
	bool has_reallocarray; /* one of its own, not that of the C library */
	int (*dlclose)(void *);
	void (*exit_now)(int);    /* _exit */
	void (*Exit)(int);        /* _Exit */
	pid_t (*bare_fork)(void); /* _Fork */
	int (*mlockall)(int flags);
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	int (*mprotect)(void *, size_t, int);
	void *(*mremap)(void *, size_t, size_t, int, ...);
};

extern HM_HIDDEN struct hm_next hm_next;

/* By themselves, because assembly jumps to where they point (shim_system.c). */
extern HM_HIDDEN int (*hm_next_prctl)(int option, ...);
extern HM_HIDDEN long (*hm_next_syscall)(long number, ...);

/* Looks the allocator up, if that has not been done. */
void hm_next_resolve(void);

/*
 * The allocator's functions of C23; a pointer is NULL where it has none.  They are looked up when one is
 * first called, so that no look-up fails in a program that knows nothing of them.  The message of a failed
 * dlsym is freed by the next dlsym, before that looks anything up; and where the free of the program, or of a
 * library in front of us, finds the real one by dlsym, the two would call each other for ever.
 */
struct hm_next_sized {
	void (*free_sized)(void *, size_t);
	void (*free_aligned_sized)(void *, size_t, size_t);
};
struct hm_next_sized hm_next_sized(void);

/*
 * Whether a block lies in the static arena.  Such blocks must not be given to the allocator underneath; the
 * free filter says "perhaps" for them, so that only slow paths need to ask.
 */
bool hm_next_owns(const void *block);

/* The usable size of a block in the static arena. */
size_t hm_next_owned_size(const void *block);

/*
 * Whether the code at `address` is the allocator's, where that is an object of its own: its calls to the
 * functions it exports are not the program's.  Always false where the allocator is the C library.
 */
bool hm_next_is_allocator(const void *address);

/* Whether `function` is defined by the object that defines the allocator's malloc. */
bool hm_next_defines(const void *function);

#endif
