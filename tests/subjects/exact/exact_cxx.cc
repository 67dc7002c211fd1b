// SPDX-License-Identifier: Apache-2.0
/* Every operator new and delete, at sites of their own; half of the blocks is deleted. */
#include "tests/subjects/truth.h"

#include <new>
#include <vector>

/* Of mimalloc, whose new cannot throw: it is compiled as C, and aborts instead. */
extern "C" int mi_version(void) __attribute__((weak));

static volatile size_t huge_bytes = (size_t)PTRDIFF_MAX - 4096;

/* The compiler may not pair a new with a delete and leave both out. */
template <typename T> static T *seen(T *pointer)
{
	asm volatile("" : "+r"(pointer) : : "memory");
	return pointer;
}

struct object {
	char bytes[40];
};

struct alignas(64) wide_object {
	char bytes[192];
};

/* An array of these begins with the number of its elements: 8 bytes, as the Itanium C++ ABI has it. */
struct counted_object {
	~counted_object()
	{
		asm volatile("" : : "r"(this) : "memory");
	}
	long values[5];
};

constexpr std::align_val_t line{ 64 };

/* site, allocation of `size` bytes, its end, first size, step, blocks.  Over libstdc++ an aligned operator
 * asks malloc for a multiple of the alignment and an empty one for a byte, so no other sizes are here. */
/* clang-format off */
#define OPERATORS(X)                                                                                         \
	X(new_plain, operator new(size), operator delete(block), 1, 37, 60)                                  \
	X(new_sized, operator new(size), operator delete(block, size), 1, 37, 60)                            \
	X(new_large, operator new(size), operator delete(block), 1000000, 300000, 6)                         \
	X(new_array, operator new[](size), operator delete[](block), 1, 37, 60)                              \
	X(new_array_sized, operator new[](size), operator delete[](block, size), 1, 37, 60)                  \
	X(new_nothrow, operator new(size, std::nothrow), operator delete(block, std::nothrow), 1, 37, 60)    \
	X(new_array_nothrow, operator new[](size, std::nothrow), operator delete[](block, std::nothrow),     \
	  1, 37, 60)                                                                                         \
	X(new_aligned, operator new(size, line), operator delete(block, line), 64, 64, 40)                   \
	X(new_aligned_sized, operator new(size, line), operator delete(block, size, line), 64, 64, 40)       \
	X(new_array_aligned, operator new[](size, line), operator delete[](block, line), 64, 64, 40)         \
	X(new_array_aligned_sized, operator new[](size, line), operator delete[](block, size, line),         \
	  64, 64, 40)                                                                                        \
	X(new_aligned_nothrow, operator new(size, line, std::nothrow),                                       \
	  operator delete(block, line, std::nothrow), 64, 64, 40)                                            \
	X(new_array_aligned_nothrow, operator new[](size, line, std::nothrow),                               \
	  operator delete[](block, line, std::nothrow), 64, 64, 40)                                          \
	X(new_object, seen(new object), delete static_cast<object *>(block), sizeof(object), 0, 20)          \
	X(new_objects, seen(new object[7]), delete[] static_cast<object *>(block),                           \
	  7 * sizeof(object), 0, 20)                                                                         \
	X(new_wide_object, seen(new wide_object), delete static_cast<wide_object *>(block),                  \
	  sizeof(wide_object), 0, 20)                                                                        \
	X(new_wide_objects, seen(new wide_object[3]), delete[] static_cast<wide_object *>(block),            \
	  3 * sizeof(wide_object), 0, 20)                                                                    \
	X(new_counted_objects, seen(new counted_object[9]), delete[] static_cast<counted_object *>(block),   \
	  8 + 9 * sizeof(counted_object), 0, 20)
/* clang-format on */

extern "C" {
#define DEFINE(NAME, NEW, DELETE, FIRST, STEP, BLOCKS)               \
	TRUTH(NAME)                                                  \
	SITE struct block NAME(size_t size);                         \
	SITE struct block NAME(size_t size) {                        \
		return truth_allocated(&truth_of_##NAME, NEW, size); \
	} static void end_of_##NAME(void *block, size_t size)        \
	{                                                            \
		(void)size;                                          \
		DELETE;                                              \
	}
OPERATORS(DEFINE)

/* The exception is allocated in the site's stack, and gone: only that nothing is in use is known. */
TRUTH(new_failing)
SITE bool new_failing();
SITE bool new_failing()
{
	truth_of_new_failing.alloc_is_unknown = true;
	if (seen(operator new(huge_bytes, std::nothrow)) != nullptr)
		return false;
	if (mi_version != nullptr)
		return true;
	try {
		(void)seen(operator new[](huge_bytes));
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

/* libstdc++ doubles: 1, 2, 4, ... 1024 elements. */
TRUTH(vector_growth)
SITE void vector_growth();
SITE void vector_growth()
{
	std::vector<long> numbers;

	for (long number = 0; number < 1000; number++)
		numbers.push_back(number);
	for (size_t count = 1; count <= 1024; count *= 2) {
		const struct block grown =
			truth_allocated(&truth_of_vector_growth, numbers.data(), count * sizeof(long));

		truth_freed(&grown);
	}
}
}

static const struct row {
	struct block (*allocate)(size_t size);
	void (*end)(void *block, size_t size);
	size_t first_bytes;
	size_t step_bytes;
	unsigned int block_count;
} rows[] = {
#define ROW(NAME, NEW, DELETE, FIRST, STEP, BLOCKS) { NAME, end_of_##NAME, FIRST, STEP, BLOCKS },
	OPERATORS(ROW)
};

int main()
{
	for (const struct row &row : rows) {
		for (unsigned int index = 0; index < row.block_count; index++) {
			const struct block block = row.allocate(row.first_bytes + index * row.step_bytes);

			if (index % 2 == 0)
				continue;
			row.end(block.address, block.size_bytes);
			truth_freed(&block);
		}
	}
	for (int index = 0; index < 5; index++)
		say("new that fails: %s", new_failing() ? "bad_alloc, NULL" : "does not");
	vector_growth();
	truth_print();
	return 0;
}
