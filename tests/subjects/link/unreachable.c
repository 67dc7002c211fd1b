// SPDX-License-Identifier: Apache-2.0
/* Linked statically, for LD_PRELOAD to be without effect. */
#include "tests/subjects/truth.h"

TRUTH(unseen)
static SITE struct block unseen(size_t size)
{
	return truth_allocated(&truth_of_unseen, malloc(size), size);
}

int main(void)
{
	struct block kept[100];

	for (size_t index = 0; index < 100; index++) {
		kept[index] = unseen(1000 + index);
		memset(kept[index].address, 1, kept[index].size_bytes);
	}
	for (int index = 0; index < 100; index++)
		truth_free(&kept[index]);
	say("%" PRIu64 " bytes came and went", truth_of_unseen.freed_bytes);
	return 0;
}
