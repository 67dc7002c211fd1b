// SPDX-License-Identifier: Apache-2.0
#include "tools/thread_block.h"

#include "tools/thread_stop.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	/* On x86-64, in every glibc since 2.4: a fixed header, the list of threads, the thread's number. */
	ROBUST_HEAD_OFFSET = 0x2e0,
	/* Where the block is noted has moved between versions (2.36: 0x690), so it is looked for. */
	DESCRIPTION_BYTES = 0xb00,
	WORD_BYTES = 8,
};

/* PTHREAD_STACK_MIN; and what may lie above the start of the description, which is aligned in the block. */
static const uint64_t block_bytes_min = UINT64_C(16) << 10;
static const uint64_t above_bytes_max = UINT64_C(64) << 10;

/* Three words in a row: the block's address, its size, and how much of it is a guard. */
static bool is_block(uint64_t address, const uint64_t words[3])
{
	const uint64_t start = words[0];
	const uint64_t size_bytes = words[1];

	return start != 0 && start < address && size_bytes >= block_bytes_min &&
	       size_bytes > address - start && size_bytes - (address - start) <= above_bytes_max &&
	       words[2] < size_bytes;
}

struct hm_thread_block hm_thread_block_find(uint64_t address, const uint64_t *words, size_t word_count)
{
	/* Both are in the header that the ABI of thread-local storage prescribes. */
	if (word_count < 3 || words[0] != address || words[2] != address)
		return (struct hm_thread_block){ 0 };
	for (size_t i = ROBUST_HEAD_OFFSET / WORD_BYTES; i + 3 <= word_count; i++)
		if (is_block(address, &words[i]))
			return (struct hm_thread_block){ .start_address = words[i],
							 .end_address = words[i] + words[i + 1] };
	return (struct hm_thread_block){ 0 };
}

struct hm_thread_block hm_thread_block_read(pid_t pid, pid_t thread)
{
	uint64_t words[DESCRIPTION_BYTES / WORD_BYTES];
	struct robust_list_head *head = NULL;
	size_t head_bytes = 0;

	if (syscall(SYS_get_robust_list, thread, &head, &head_bytes) != 0 || head == NULL)
		return (struct hm_thread_block){ 0 };

	const uint64_t address = (uint64_t)(uintptr_t)head - ROBUST_HEAD_OFFSET;
	/* It may end, and what is mapped with it, before the last of these bytes. */
	const uint64_t bytes = hm_thread_read_memory(pid, address, words, sizeof(words));

	return hm_thread_block_find(address, words, bytes / WORD_BYTES);
}
