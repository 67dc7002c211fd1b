// SPDX-License-Identifier: Apache-2.0
#include "preload/memory.h"

#include "preload/process.h"
#include "preload/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_VMA /* linux/prctl.h of 5.17 */
enum { PR_SET_VMA = 0x53564d41, PR_SET_VMA_ANON_NAME = 0 };
#endif

enum { KEEP_CHUNK_BYTES = 64 * 1024, KEEP_ALIGNMENT = 16 };

/* A chunk from which hm_memory_keep cuts; the head of the chunk is this. */
struct keep_chunk {
	_Atomic size_t used_bytes;
	size_t size_bytes;
};

static struct keep_chunk *_Atomic current_chunk;

/*
 * Where what is mapped lies.  A slot is claimed by its address and then told to the ledger; hm_memory_tell
 * first publishes the ledger and then looks at the slots.  In the one total order of these accesses one of
 * the two comes second, and sees what the other has done: no range is left untold.
 */
static struct hm_ledger_range ranges[HM_OWN_RANGES_MAX];
static _Atomic uint64_t untold_bytes;

/* NULL in a fork child that has not started a ledger: its parent's is not to be told of its memory. */
static struct hm_ledger_header *told(void)
{
	return atomic_load_explicit(&hm_process->told_ledger, memory_order_seq_cst);
}

static void tell(struct hm_ledger_header *header, size_t index, uint64_t start_address, uint64_t size_bytes)
{
	/* relaxed: proto/ledger.h, own_ranges */
	atomic_store_explicit(&header->own_ranges[index].size_bytes, size_bytes, memory_order_relaxed);
	atomic_store_explicit(&header->own_ranges[index].start_address, start_address, memory_order_relaxed);
}

static void remember(uint64_t start_address, uint64_t size_bytes)
{
	for (size_t index = 0; index < HM_OWN_RANGES_MAX; index++) {
		uint64_t none = 0;

		if (!atomic_compare_exchange_strong_explicit(&ranges[index].start_address, &none,
							     start_address, memory_order_seq_cst,
							     memory_order_relaxed))
			continue;
		atomic_store_explicit(&ranges[index].size_bytes, size_bytes, memory_order_seq_cst);

		struct hm_ledger_header *const header = told();

		if (header != NULL)
			tell(header, index, start_address, size_bytes);
		return;
	}
	atomic_fetch_add_explicit(&untold_bytes, size_bytes, memory_order_seq_cst);

	struct hm_ledger_header *const header = told();

	if (header != NULL)
		atomic_fetch_add_explicit(&header->own_untold_bytes, size_bytes, memory_order_relaxed);
}

static void forget(uint64_t start_address)
{
	for (size_t index = 0; index < HM_OWN_RANGES_MAX; index++) {
		/* relaxed: the caller owns the memory, and so the slot */
		if (atomic_load_explicit(&ranges[index].start_address, memory_order_relaxed) != start_address)
			continue;

		struct hm_ledger_header *const header = told();

		if (header != NULL)
			tell(header, index, 0, 0);
		/* release: who claims the slot next tells the ledger after us */
		atomic_store_explicit(&ranges[index].start_address, 0, memory_order_release);
		return;
	}
}

void hm_memory_tell(struct hm_ledger_header *header)
{
	atomic_store_explicit(&hm_process->told_ledger, header, memory_order_seq_cst);
	for (size_t index = 0; index < HM_OWN_RANGES_MAX; index++)
		tell(header, index, atomic_load_explicit(&ranges[index].start_address, memory_order_seq_cst),
		     atomic_load_explicit(&ranges[index].size_bytes, memory_order_seq_cst));
	atomic_store_explicit(&header->own_untold_bytes,
			      atomic_load_explicit(&untold_bytes, memory_order_seq_cst),
			      memory_order_relaxed);
}

static size_t round_up(size_t bytes, size_t alignment)
{
	return (bytes + alignment - 1) & ~(alignment - 1);
}

void *hm_memory_map(size_t size_bytes)
{
	const int saved_errno = errno;

	if (!hm_may(HM_MAY_MAP))
		return NULL;

	void *const memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory != MAP_FAILED)
		remember((uintptr_t)memory, size_bytes);
	errno = saved_errno;
	return memory == MAP_FAILED ? NULL : memory;
}

void hm_memory_name(void *memory, size_t size_bytes)
{
	const int saved_errno = errno;

	/* Refused by kernels before 5.17 and without CONFIG_ANON_VMA_NAME; then it stays anonymous. */
	(void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, size_bytes, "heapmark");
	errno = saved_errno;
}

void hm_memory_unmap(void *memory, size_t size_bytes)
{
	const int saved_errno = errno;

	if (!hm_may(HM_MAY_MAP))
		return; /* lost: a few pages, once */
	forget((uintptr_t)memory);
	(void)munmap(memory, size_bytes);
	errno = saved_errno;
}

static void *cut(struct keep_chunk *chunk, size_t size_bytes)
{
	/* relaxed: the bytes are zero from the kernel, and whoever publishes them orders what he writes there
	 */
	const size_t start = atomic_fetch_add_explicit(&chunk->used_bytes, size_bytes, memory_order_relaxed);

	/* An overdrawn chunk stays overdrawn: used_bytes only grows, by less than a chunk a try. */
	return start + size_bytes <= chunk->size_bytes ? (char *)chunk + start : NULL;
}

void *hm_memory_keep(size_t size_bytes)
{
	size_bytes = round_up(size_bytes, KEEP_ALIGNMENT);
	if (size_bytes > KEEP_CHUNK_BYTES / 4)
		return hm_memory_map(size_bytes);
	for (;;) {
		/* acquire: pairs with the exchange below; the chunk's head is written before it is current */
		struct keep_chunk *chunk = atomic_load_explicit(&current_chunk, memory_order_acquire);
		void *memory = chunk == NULL ? NULL : cut(chunk, size_bytes);

		if (memory != NULL)
			return memory;

		struct keep_chunk *fresh = hm_memory_map(KEEP_CHUNK_BYTES);

		if (fresh == NULL)
			return NULL;
		fresh->size_bytes = KEEP_CHUNK_BYTES;
		atomic_init(&fresh->used_bytes, round_up(sizeof(*fresh), KEEP_ALIGNMENT));
		/* release: see the load above */
		if (!atomic_compare_exchange_strong_explicit(&current_chunk, &chunk, fresh,
							     memory_order_release, memory_order_relaxed))
			hm_memory_unmap(fresh, KEEP_CHUNK_BYTES); /* another thread was first */
	}
}

bool hm_memory_is_readable(const void *address)
{
	/* Not a valid `how`: the kernel copies the set in (EFAULT where it cannot), then refuses (EINVAL). */
	enum { KERNEL_SIGSET_BYTES = 8 };
	const int saved_errno = errno;

	if (!hm_may(HM_MAY_ASK_READABLE))
		return false;

	const long result =
		syscall(SYS_rt_sigprocmask, HM_MEMORY_IMPOSSIBLE_HOW, address, NULL, KERNEL_SIGSET_BYTES);
	const bool readable = result == -1 && errno == EINVAL;

	errno = saved_errno;
	return readable;
}
