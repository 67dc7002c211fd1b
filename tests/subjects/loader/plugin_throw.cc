// SPDX-License-Identifier: Apache-2.0
/* A plug-in that throws, and uses new and delete. */
#include "tests/subjects/truth.h"

#include <stdexcept>
#include <string>

extern "C" {
int catch_exceptions(int count);
void make_blocks(int count, size_t size);
SITE char *plugin_new(size_t size);

int catch_exceptions(int count)
{
	int caught = 0;

	for (int index = 0; index < count; index++) {
		try {
			throw std::runtime_error("a text that is too long for the string itself: " +
						 std::to_string(index));
		} catch (const std::exception &) {
			caught++;
		}
	}
	return caught;
}

SITE char *plugin_new(size_t size)
{
	char *block = new char[size];

	asm volatile("" : "+r"(block) : : "memory");
	return block;
}

/* Every other one is kept. */
void make_blocks(int count, size_t size)
{
	for (int index = 0; index < count; index++) {
		char *const block = plugin_new(size);

		if (index % 2 == 0)
			delete[] block;
	}
}
}
