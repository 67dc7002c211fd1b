// SPDX-License-Identifier: Apache-2.0
/* Under interposer.so: between two looks at its counter, it has seen the calls that this program makes, and
 * no other. */
#include "tests/subjects/truth.h"

#include <dlfcn.h>

enum { BLOCKS = 500 };

TRUTH(counted)
static SITE struct block counted(size_t size)
{
	return truth_allocated(&truth_of_counted, malloc(size), size);
}

int main(void)
{
	void *const function = dlsym(RTLD_DEFAULT, "interposer_count");
	unsigned long (*interposer_count)(void);
	static struct block blocks[BLOCKS];

	if (function == NULL)
		return 2;
	memcpy(&interposer_count, &function, sizeof(interposer_count));

	const unsigned long before = interposer_count();

	for (size_t index = 0; index < BLOCKS; index++)
		blocks[index] = counted(index + 1);
	for (size_t index = 0; index < BLOCKS; index += 2)
		truth_free(&blocks[index]);
	free(realloc(calloc(3, 7), 1000));

	const unsigned long calls = interposer_count() - before;

	say("%lu calls", calls);
	truth_print();
	return 0;
}
