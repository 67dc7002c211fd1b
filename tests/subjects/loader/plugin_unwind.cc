// SPDX-License-Identifier: Apache-2.0
/* A plug-in whose exceptions cross frames of C, are thrown again, and destroy objects that allocate on their
 * way. */
#include "tests/subjects/truth.h"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" {
void call_through_c(void (*function)(void *), void *argument, int depth);
int unwind(int count);
}

namespace
{
int destroyed_count;

struct guard {
	std::string text = std::string(100, 'x');
	~guard()
	{
		const std::vector<std::string> copies(3,
						      text); /* allocates while an exception is on its way */

		destroyed_count += static_cast<int>(copies.size());
	}
};

void throw_text(void *number)
{
	const guard inner;

	throw std::runtime_error("number " + std::to_string(*static_cast<int *>(number)) +
				 " of those to come");
}

void throw_again(void *number)
{
	try {
		const guard outer;

		call_through_c(throw_text, number, 3);
	} catch (const std::exception &) {
		throw;
	}
}

void throw_nested(void *number)
{
	try {
		throw_again(number);
	} catch (const std::exception &) {
		std::throw_with_nested(std::logic_error("another one around it"));
	}
}

bool is_caught(int number)
{
	try {
		call_through_c(throw_nested, &number, 5);
	} catch (const std::logic_error &outer) {
		try {
			std::rethrow_if_nested(outer);
		} catch (const std::runtime_error &inner) {
			return inner.what() == "number " + std::to_string(number) + " of those to come";
		}
	}
	return false;
}
} // namespace

int unwind(int count)
{
	int caught_count = 0;

	destroyed_count = 0;
	for (int number = 0; number < count; number++)
		caught_count += is_caught(number) ? 1 : 0;
	return caught_count * 1000 + destroyed_count / count;
}
