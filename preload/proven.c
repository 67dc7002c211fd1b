// SPDX-License-Identifier: Apache-2.0
#include "preload/proven.h"

#include "preload/memory.h"

#include <string.h>

enum { PAGE_SHIFT = 12 };

static bool is_page_readable(struct hm_proven_pages *proven, uintptr_t page)
{
	uintptr_t *const number = &proven->numbers[page % HM_PROVEN_PAGES_MAX];

	if (*number == page)
		return page != 0;
	if (!hm_memory_is_readable((const void *)(page << PAGE_SHIFT)))
		return false;
	*number = page;
	return true;
}

bool hm_proven_readable(struct hm_proven_pages *proven, uintptr_t address, size_t size_bytes)
{
	if (size_bytes == 0)
		return true;
	if (size_bytes - 1 > UINTPTR_MAX - address)
		return false;
	for (uintptr_t page = address >> PAGE_SHIFT; page <= (address + size_bytes - 1) >> PAGE_SHIFT; page++)
		if (!is_page_readable(proven, page))
			return false;
	return true;
}

void hm_proven_forget(struct hm_proven_pages *proven)
{
	memset(proven, 0, sizeof(*proven));
}
