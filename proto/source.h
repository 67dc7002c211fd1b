// SPDX-License-Identifier: Apache-2.0
/*
 * Where the bytes of a ledger come from: a file, or the memory of the process that writes it.
 *
 * The ledger is only ever copied from, never looked at in place: what was copied cannot change any more and
 * cannot vanish, whatever its writer does, or whoever cuts the file.
 */
#ifndef HM_PROTO_SOURCE_H
#define HM_PROTO_SOURCE_H

#include <stddef.h>
#include <stdint.h>

struct hm_source {
	/*
	 * Copies up to size_bytes from `offset`, aligned words whole.  Returns the number of bytes copied,
	 * fewer only where the source ends, or a negative errno.
	 */
	int64_t (*read)(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes);
	uint64_t length_bytes; /* its real length; nothing beyond is asked for */
	const void *context;   /* borrowed by `read` */
	int descriptor;        /* borrowed by `read` */
};

/*
 * A ledger file, of a process that runs, hangs or is gone.  The descriptor is borrowed, needs to be readable
 * only, and its position is neither used nor moved.
 * Returns 0, -EINVAL where it is not a regular file, or what fstat said.
 */
int hm_source_from_descriptor(int descriptor, struct hm_source *ret_source);

/*
 * The ledger mapped at `base`, for the process that owns it.  All length_bytes must be backed: of a file
 * mapping as much as the file is long now.
 */
struct hm_source hm_source_from_memory(const void *base, uint64_t length_bytes);

/* A piece of the source, copied. */
struct hm_window {
	const struct hm_source *source; /* borrowed */
	uint8_t *buffer;                /* borrowed; aligned to 16 */
	size_t capacity_bytes;
	uint64_t offset; /* of buffer[0] in the source */
	size_t size_bytes;
	int error; /* negative errno of the first read that failed; nothing is copied after it */
};

/*
 * Returns a copy of [offset, offset + size_bytes), valid until the next call; NULL where the source ends
 * before that, size_bytes is more than the capacity, or reading failed (window->error). What the window holds
 * is used as it is.  Where it has to copy, it copies ahead_bytes more, as far as there is room.
 */
const void *hm_window_view(struct hm_window *window, uint64_t offset, size_t size_bytes, size_t ahead_bytes);

/* Forgets what was copied: the next view is a new copy, made after everything seen so far. */
void hm_window_forget(struct hm_window *window);

#endif
