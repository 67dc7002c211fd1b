// SPDX-License-Identifier: Apache-2.0
/*
 * A program that replaces operators new and delete: its own are called, by the C++ library too, and what they
 * take from malloc is counted once, under whoever called new.
 */
#include "tests/subjects/truth.h"

#include <new>
#include <string>
#include <vector>

static unsigned long new_calls;
static unsigned long delete_calls;

void *operator new(size_t size)
{
	new_calls++;
	if (void *const block = malloc(size + 16))
		return static_cast<char *>(block) + 16; /* room for a mark before it */
	throw std::bad_alloc();
}

void operator delete(void *block) noexcept
{
	delete_calls++;
	if (block != nullptr)
		free(static_cast<char *>(block) - 16);
}

void operator delete(void *block, size_t) noexcept
{
	operator delete(block);
}

/* Allocators bring array forms of their own, which would not end here. */
void *operator new[](size_t size)
{
	return operator new(size);
}

void operator delete[](void *block) noexcept
{
	operator delete(block);
}

void operator delete[](void *block, size_t) noexcept
{
	operator delete(block);
}

extern "C" {
TRUTH(new_replaced)
SITE struct block new_replaced(size_t size);
SITE struct block new_replaced(size_t size)
{
	return truth_allocated(&truth_of_new_replaced, operator new(size), size + 16);
}

TRUTH(new_array_replaced)
SITE struct block new_array_replaced(size_t size);
SITE struct block new_array_replaced(size_t size)
{
	return truth_allocated(&truth_of_new_array_replaced, operator new[](size), size + 16);
}
}

int main()
{
	for (size_t size = 1; size <= 1000; size++) {
		const struct block block = new_replaced(size);
		const struct block array = new_array_replaced(size);

		if (size % 2 == 0) {
			truth_freed(&block);
			operator delete(block.address);
		} else {
			truth_freed(&array);
			operator delete[](array.address);
		}
	}

	const unsigned long before = new_calls;

	say("calls: %lu new, %lu delete", new_calls, delete_calls);
	{
		std::vector<std::string> texts(10, std::string(100, 'x'));

		say("in containers: %lu new", new_calls - before);
	}
	say("calls: %lu new, %lu delete", new_calls, delete_calls);
	truth_print();
	return 0;
}
