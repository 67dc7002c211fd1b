// SPDX-License-Identifier: Apache-2.0
#include "tools/memory_sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST_BYTES = 64 << 10 };

static int add(void *context, const void *data, size_t size_bytes)
{
	struct hm_bytes *const bytes = context;

	if (size_bytes > bytes->room_bytes - bytes->size_bytes) {
		size_t room_bytes = bytes->room_bytes != 0 ? bytes->room_bytes : ROOM_FIRST_BYTES;

		if (size_bytes > SIZE_MAX / 4 - bytes->size_bytes)
			return -ENOMEM;
		while (room_bytes - bytes->size_bytes < size_bytes)
			room_bytes *= 2;

		uint8_t *const data_now = realloc(bytes->data, room_bytes);

		if (data_now == NULL)
			return -ENOMEM;
		bytes->data = data_now;
		bytes->room_bytes = room_bytes;
	}
	memcpy(bytes->data + bytes->size_bytes, data, size_bytes);
	bytes->size_bytes += size_bytes;
	return 0;
}

struct hm_sink hm_bytes_sink(struct hm_bytes *bytes)
{
	return (struct hm_sink){ .write = add, .context = bytes };
}

void hm_bytes_done(struct hm_bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct hm_bytes){ 0 };
}
