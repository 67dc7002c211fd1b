// SPDX-License-Identifier: Apache-2.0
#include "proto/source.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t read_descriptor(const struct hm_source *source, uint64_t offset, void *buffer,
			       size_t size_bytes)
{
	size_t done_bytes = 0;

	while (done_bytes < size_bytes) {
		const ssize_t count = pread(source->descriptor, (uint8_t *)buffer + done_bytes,
					    size_bytes - done_bytes, (off_t)(offset + done_bytes));

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		if (count == 0)
			break;
		done_bytes += (size_t)count;
	}
	return (int64_t)done_bytes;
}

int hm_source_from_descriptor(int descriptor, struct hm_source *ret_source)
{
	struct stat status;

	if (fstat(descriptor, &status) != 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	*ret_source = (struct hm_source){
		.read = read_descriptor,
		.length_bytes = (uint64_t)status.st_size,
		.descriptor = descriptor,
	};
	return 0;
}

/* Word by word, because other threads are writing: a counter is copied as it was or as it is, never half. */
static int64_t read_memory(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	if (offset >= source->length_bytes)
		return 0;
	if (size_bytes > source->length_bytes - offset)
		size_bytes = source->length_bytes - offset;

	const uint8_t *const from = (const uint8_t *)source->context + offset;
	size_t done_bytes = 0;

	if ((uintptr_t)from % sizeof(uint64_t) == 0) {
		for (; size_bytes - done_bytes >= sizeof(uint64_t); done_bytes += sizeof(uint64_t)) {
			/* relaxed: the order of whole copies is made by the fence of hm_window_forget */
			const uint64_t word = atomic_load_explicit(
				(const _Atomic uint64_t *)(from + done_bytes), memory_order_relaxed);
			memcpy((uint8_t *)buffer + done_bytes, &word, sizeof(word));
		}
	}
	memcpy((uint8_t *)buffer + done_bytes, from + done_bytes, size_bytes - done_bytes);
	return (int64_t)size_bytes;
}

struct hm_source hm_source_from_memory(const void *base, uint64_t length_bytes)
{
	return (struct hm_source){
		.read = read_memory, .length_bytes = length_bytes, .context = base, .descriptor = -1
	};
}

static int fill(struct hm_window *window, uint64_t offset, size_t size_bytes)
{
	const int64_t count = window->source->read(window->source, offset, window->buffer, size_bytes);

	window->offset = offset;
	window->size_bytes = count > 0 ? (size_t)count : 0;
	return count < 0 ? (int)count : 0;
}

const void *hm_window_view(struct hm_window *window, uint64_t offset, size_t size_bytes, size_t ahead_bytes)
{
	const uint64_t length_bytes = window->source->length_bytes;

	if (offset > length_bytes || size_bytes > length_bytes - offset ||
	    size_bytes > window->capacity_bytes)
		return NULL;
	if (offset >= window->offset && offset - window->offset <= window->size_bytes &&
	    size_bytes <= window->size_bytes - (offset - window->offset))
		return window->buffer + (offset - window->offset);
	if (window->error != 0)
		return NULL;

	size_t wanted_bytes = window->capacity_bytes;
	if (ahead_bytes < wanted_bytes - size_bytes)
		wanted_bytes = size_bytes + ahead_bytes;
	if (wanted_bytes > length_bytes - offset)
		wanted_bytes = length_bytes - offset;
	window->error = fill(window, offset, wanted_bytes);
	return size_bytes <= window->size_bytes ? window->buffer : NULL;
}

void hm_window_forget(struct hm_window *window)
{
	window->size_bytes = 0;
	/* acquire: the copies that follow are of memory as it is after everything copied so far */
	atomic_thread_fence(memory_order_acquire);
}
