// SPDX-License-Identifier: Apache-2.0
/*
 * The exported functions that map memory.  Where it is not asked for (HEAPMARK_MMAP) each is one branch and a
 * jump to the next.
 */
/* With it the headers let the name mmap stand for the symbol mmap64; here each is wanted by its own. */
#undef _FILE_OFFSET_BITS /* NOLINT(bugprone-reserved-identifier) */

#include "preload/cc.h"
#include "preload/map_recorder.h"
#include "preload/next.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

struct request {
	void *start;
	size_t size_bytes;
	int protection;
	int flags;
	int descriptor;
	off_t offset;
};

static void *map_next(const struct request *request)
{
	return hm_next.mmap(request->start, request->size_bytes, request->protection, request->flags,
			    request->descriptor, request->offset);
}

static void book_made(const struct request *request, const void *made, const void *caller, const void *frame)
{
	if ((request->flags & MAP_ANONYMOUS) == 0)
		return;
	if (request->protection == PROT_NONE)
		hm_maps_reserve(made, request->size_bytes);
	else
		hm_maps_add(made, request->size_bytes, caller, frame);
}

static HM_COLD void *counted_mmap(const struct request *request, const void *caller, const void *frame)
{
	struct hm_maps_removal replaced = { .token = 0 };

	if (hm_maps_pass_over(caller))
		return map_next(request);
	if ((request->flags & MAP_FIXED) != 0)
		hm_maps_remove(request->start, request->size_bytes, &replaced);

	void *const made = map_next(request);
	const int saved_errno = errno;

	hm_maps_settle(&replaced, made != MAP_FAILED);
	if (made != MAP_FAILED)
		book_made(request, made, caller, frame);
	errno = saved_errno;
	return made;
}

HM_EXPORT void *mmap(void *start, size_t size_bytes, int protection, int flags, int descriptor, off_t offset)
{
	if (HM_LIKELY(!hm_maps_are_counted))
		return hm_next.mmap(start, size_bytes, protection, flags, descriptor, offset);
	return counted_mmap(&(struct request){ start, size_bytes, protection, flags, descriptor, offset },
			    __builtin_return_address(0), __builtin_frame_address(0));
}

/* The same function by another name: off_t has 64 bits. */
HM_EXPORT void *mmap64(void *start, size_t size_bytes, int protection, int flags, int descriptor,
		       off64_t offset)
{
	if (HM_LIKELY(!hm_maps_are_counted))
		return hm_next.mmap(start, size_bytes, protection, flags, descriptor, offset);
	return counted_mmap(&(struct request){ start, size_bytes, protection, flags, descriptor, offset },
			    __builtin_return_address(0), __builtin_frame_address(0));
}

static HM_COLD int counted_munmap(void *start, size_t size_bytes)
{
	struct hm_maps_removal removal;

	hm_maps_remove(start, size_bytes, &removal);

	const int result = hm_next.munmap(start, size_bytes);
	const int saved_errno = errno;

	hm_maps_settle(&removal, result == 0);
	errno = saved_errno;
	return result;
}

HM_EXPORT int munmap(void *start, size_t size_bytes)
{
	if (HM_LIKELY(!hm_maps_are_counted) || hm_maps_pass_over(__builtin_return_address(0)))
		return hm_next.munmap(start, size_bytes);
	return counted_munmap(start, size_bytes);
}

static HM_COLD int counted_mprotect(void *start, size_t size_bytes, int protection, const void *caller,
				    const void *frame)
{
	const int result = hm_next.mprotect(start, size_bytes, protection);
	const int saved_errno = errno;

	if (result == 0 && protection != PROT_NONE && !hm_maps_pass_over(caller))
		hm_maps_commit(start, size_bytes, caller, frame);
	errno = saved_errno;
	return result;
}

HM_EXPORT int mprotect(void *start, size_t size_bytes, int protection)
{
	if (HM_LIKELY(!hm_maps_are_counted))
		return hm_next.mprotect(start, size_bytes, protection);
	return counted_mprotect(start, size_bytes, protection, __builtin_return_address(0),
				__builtin_frame_address(0));
}

struct move {
	void *start;
	size_t size_bytes;
	size_t new_size_bytes;
	int flags;
	void *new_start; /* MREMAP_FIXED */
};

/*
 * What is moved goes and comes, as with realloc.  With MREMAP_DONTUNMAP the old mapping stays.  (So it does where
 * none of its bytes are named, the idiom for a second view of a shared one: there is nothing to remove then.)
 */
static HM_COLD void *counted_mremap(const struct move *move, const void *caller, const void *frame)
{
	const enum hm_maps_kind kind = hm_maps_kind_at(move->start);
	struct hm_maps_removal moved = { .token = 0 };
	struct hm_maps_removal replaced = { .token = 0 };

	if ((move->flags & MREMAP_FIXED) != 0)
		hm_maps_remove(move->new_start, move->new_size_bytes, &replaced);
	if ((move->flags & MREMAP_DONTUNMAP) == 0)
		hm_maps_remove(move->start, move->size_bytes, &moved);

	void *const made = hm_next.mremap(move->start, move->size_bytes, move->new_size_bytes, move->flags,
					  move->new_start);
	const int saved_errno = errno;

	hm_maps_settle(&replaced, made != MAP_FAILED);
	hm_maps_settle(&moved, made != MAP_FAILED);
	if (made != MAP_FAILED && kind == HM_MAPS_COUNTED)
		hm_maps_add(made, move->new_size_bytes, caller, frame);
	else if (made != MAP_FAILED && kind == HM_MAPS_RESERVED)
		hm_maps_reserve(made, move->new_size_bytes);
	errno = saved_errno;
	return made;
}

HM_EXPORT void *mremap(void *start, size_t size_bytes, size_t new_size_bytes, int flags, ...)
{
	struct move move = { start, size_bytes, new_size_bytes, flags, NULL };
	va_list arguments;

	/* As the C library does: the fifth is there only with these. */
	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
		va_start(arguments, flags);
		move.new_start = va_arg(arguments, void *);
		va_end(arguments);
	}
	if (HM_LIKELY(!hm_maps_are_counted) || hm_maps_pass_over(__builtin_return_address(0)))
		return hm_next.mremap(start, size_bytes, new_size_bytes, flags, move.new_start);
	return counted_mremap(&move, __builtin_return_address(0), __builtin_frame_address(0));
}
