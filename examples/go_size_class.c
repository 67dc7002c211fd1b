// SPDX-License-Identifier: Apache-2.0
#include "examples/go_size_class.h"

#include <assert.h>
#include <stdint.h>

enum {
	SMALL_BYTES_MAX = 32768, /* the last class; larger blocks are whole pages */
	PAGE_BYTES = 8192,
};

/* As the head of Go's runtime/sizeclasses.go documents them. */
/* clang-format off */
static const uint16_t class_bytes[] = {
	8,     16,    24,    32,    48,    64,    80,    96,    112,   128,   144,   160,
	176,   192,   208,   224,   240,   256,   288,   320,   352,   384,   416,   448,
	480,   512,   576,   640,   704,   768,   896,   1024,  1152,  1280,  1408,  1536,
	1792,  2048,  2304,  2688,  3072,  3200,  3456,  4096,  4864,  5376,  6144,  6528,
	6784,  6912,  8192,  9472,  9728,  10240, 10880, 12288, 13568, 14336, 16384, 18432,
	19072, 20480, 21760, 24576, 27264, 28672, 32768,
};
/* clang-format on */

size_t go_size_class(size_t bytes)
{
	assert(bytes > 0);
	if (bytes > SMALL_BYTES_MAX)
		return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;

	size_t class_index = 0;
	while (class_bytes[class_index] < bytes)
		class_index++;
	return class_bytes[class_index];
}
