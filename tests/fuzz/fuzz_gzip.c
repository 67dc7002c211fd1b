// SPDX-License-Identifier: Apache-2.0
/*
 * gzip alone: byte 0 is the limit of what may come out, in units of 256 bytes, and the rest the file; the
 * same bytes, packed, come out again.
 */
#include "proto/gzip.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* zlib's inflate has a window of 32 KiB and a state of some 7 KiB; the output has one byte more. */
enum { UNPACK_BYTES_FIXED = 48 << 10 };

static void unpack(const uint8_t *data, size_t size_bytes, size_t limit_bytes)
{
	struct hm_arena arena;
	uint8_t *unpacked = NULL;
	size_t unpacked_bytes = 0;
	size_t trailing_bytes = 0;

	fuzz_memory_reset();
	hm_arena_init(&arena, SIZE_MAX);
	const int error = hm_gzip_unpack(&arena, data, size_bytes, limit_bytes, &unpacked, &unpacked_bytes,
					 &trailing_bytes);
	fuzz_require(error == 0 || error == -EBADMSG || error == -EFBIG, "what is wrong is the file's fault");
	fuzz_require(fuzz_memory_peak_bytes() <= UNPACK_BYTES_FIXED + limit_bytes,
		     "unpacking takes what may come out");
	if (error == 0) {
		fuzz_require(unpacked_bytes <= limit_bytes && trailing_bytes < size_bytes,
			     "no more comes out than may, and something went in");
		fuzz_require(hm_gzip_is_member(data, size_bytes), "what was unpacked began like a member");
	}
	hm_arena_done(&arena);
}

static void require_same_again(const uint8_t *data, size_t size_bytes)
{
	struct fuzz_buffer packed = { 0 };
	const struct hm_sink sink = { fuzz_append, &packed };
	struct hm_arena arena;
	uint8_t *unpacked = NULL;
	size_t unpacked_bytes = 0;
	size_t trailing_bytes = 1;

	hm_arena_init(&arena, SIZE_MAX);
	struct hm_gzip *const gzip = hm_gzip_open(&arena, &sink);
	hm_gzip_write(gzip, data, size_bytes / 2);
	hm_gzip_write(gzip, data + size_bytes / 2, size_bytes - size_bytes / 2);
	fuzz_require(hm_gzip_finish(gzip) == 0, "anything can be packed");
	fuzz_require(hm_gzip_unpack(&arena, packed.bytes, packed.size_bytes, size_bytes, &unpacked,
				    &unpacked_bytes, &trailing_bytes) == 0,
		     "what was packed can be unpacked");
	fuzz_require(unpacked_bytes == size_bytes && trailing_bytes == 0 &&
			     memcmp(unpacked, data, size_bytes) == 0,
		     "the same comes out");
	if (size_bytes > 0)
		fuzz_require(hm_gzip_unpack(&arena, packed.bytes, packed.size_bytes, size_bytes - 1,
					    &unpacked, &unpacked_bytes, &trailing_bytes) == -EFBIG,
			     "a limit holds to the byte");
	hm_arena_done(&arena);
	free(packed.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct fuzz_input rest = { data, size_bytes };
	const size_t limit_bytes = (size_t)fuzz_take(&rest, 1) << 8;

	if (size_bytes == 0)
		return 0;
	unpack(rest.at, rest.rest_bytes, limit_bytes);
	require_same_again(rest.at, rest.rest_bytes);
	return 0;
}
