// SPDX-License-Identifier: Apache-2.0
/*
 * gzip, streamed, with zlib's memory taken from an arena.
 */
#ifndef HM_PROTO_GZIP_H
#define HM_PROTO_GZIP_H

#include "proto/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where bytes go. */
struct hm_sink {
	/* Takes all of them.  Returns 0 or a negative errno, after which nothing more is written. */
	int (*write)(void *context, const void *data, size_t size_bytes);
	void *context; /* borrowed by `write` */
};

struct hm_gzip;

/*
 * Begins one gzip member without name or time, so that equal input gives equal bytes.  The compressor lives
 * in `arena` (some 330 KiB); nothing needs to be given back.  Returns NULL where there is no memory.
 * `sink` is copied.
 */
struct hm_gzip *hm_gzip_open(struct hm_arena *arena, const struct hm_sink *sink);

/* Returns 0 or what the sink said, now or at an earlier call. */
int hm_gzip_write(struct hm_gzip *gzip, const void *data, size_t size_bytes);

/* Writes what is left and the trailer.  The last call. */
int hm_gzip_finish(struct hm_gzip *gzip);

/* Whether the data begins as a gzip member does. */
bool hm_gzip_is_member(const void *data, size_t size_bytes);

/*
 * Unpacks the one gzip member at the start of `data` into memory of `arena`; nothing is taken from the length
 * that the member claims.
 * Returns 0; -EBADMSG where it is damaged or ends early; -EFBIG where more than size_bytes_max come out;
 * -ENOMEM. *ret_trailing_bytes: what follows the member, 0 for a proper file.
 */
int hm_gzip_unpack(struct hm_arena *arena, const void *data, size_t size_bytes, size_t size_bytes_max,
		   uint8_t **ret_unpacked, size_t *ret_unpacked_bytes, size_t *ret_trailing_bytes);

#endif
