// SPDX-License-Identifier: Apache-2.0
/*
 * Memory of our own for reading and writing formats: handed out in order, given back all at once.
 *
 * The exit writer runs inside a program whose allocator is being profiled, or is broken; so nothing in this
 * folder calls malloc.  Everything comes from anonymous mappings, named "heapmark" for whoever reads
 * /proc/PID/smaps.
 *
 * An arena belongs to one thread at a time.
 */
#ifndef HM_PROTO_ARENA_H
#define HM_PROTO_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct hm_arena_chunk;

struct hm_arena {
	struct hm_arena_chunk *chunks; /* owned; the newest first */
	size_t used_bytes;             /* of the newest chunk */
	size_t mapped_bytes;           /* all chunks together */
	size_t limit_bytes;            /* mapped_bytes never passes this */
};

/* Takes no memory yet.  limit_bytes: the most that may ever be mapped; SIZE_MAX: as much as there is. */
void hm_arena_init(struct hm_arena *arena, size_t limit_bytes);

/*
 * Returns zeroed memory, aligned to 16, that lasts until hm_arena_done; NULL past the limit or where the
 * system gives none.  A large piece that is never touched costs address space only.
 */
void *hm_arena_allocate(struct hm_arena *arena, size_t size_bytes);

/* The same for `count` elements; NULL as well where the product does not fit a size_t. */
void *hm_arena_allocate_array(struct hm_arena *arena, size_t count, size_t element_bytes);

/* A terminated copy of `length_bytes` bytes of text; NULL as above. */
char *hm_arena_copy_text(struct hm_arena *arena, const char *text, size_t length_bytes);

/* Gives everything back.  Accepts an arena that was zeroed and never used; leaves it in that state. */
void hm_arena_done(struct hm_arena *arena);

#endif
