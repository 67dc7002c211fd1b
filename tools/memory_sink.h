// SPDX-License-Identifier: Apache-2.0
/* Bytes in memory that grow as they are written to. */
#ifndef HM_TOOLS_MEMORY_SINK_H
#define HM_TOOLS_MEMORY_SINK_H

#include "proto/gzip.h"

#include <stddef.h>
#include <stdint.h>

struct hm_bytes {
	uint8_t *data; /* owned; released by hm_bytes_done, or by whoever takes it, with free() */
	size_t size_bytes;
	size_t room_bytes;
};

/* A sink that adds to *bytes, which outlives it; -ENOMEM where there is no memory. */
struct hm_sink hm_bytes_sink(struct hm_bytes *bytes);

/* Accepts what is zeroed, and leaves it so. */
void hm_bytes_done(struct hm_bytes *bytes);

#endif
