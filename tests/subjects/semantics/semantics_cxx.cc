// SPDX-License-Identifier: Apache-2.0
/* What the operators return and throw, in edge cases above all; compared with a run without the library. */
#include "tests/subjects/truth.h"

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

/* Of mimalloc, whose new cannot throw: it is compiled as C, and aborts instead. */
extern "C" int mi_version(void) __attribute__((weak));

static volatile size_t none = 0;
static volatile size_t size_max = SIZE_MAX;
static volatile size_t ptrdiff_max = PTRDIFF_MAX;

template <typename T> static T *seen(T *pointer)
{
	asm volatile("" : "+r"(pointer) : : "memory");
	return pointer;
}

/* What a call that may throw came to. */
template <typename Call> static const char *outcome(Call call)
{
	try {
		return seen(call()) == nullptr ? "NULL" : "block";
	} catch (const std::bad_array_new_length &) {
		return "bad_array_new_length";
	} catch (const std::bad_alloc &) {
		return "bad_alloc";
	} catch (const std::exception &error) {
		return error.what();
	}
}

static int handler_calls;

static void give_up_after_three()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

static void throw_something_else()
{
	throw std::runtime_error("thrown by the new handler");
}

constexpr std::align_val_t line{ 64 };

static void show_failures()
{
	say("new(PTRDIFF_MAX, nothrow): %s", outcome([] { return operator new(ptrdiff_max, std::nothrow); }));
	say("new[](PTRDIFF_MAX, nothrow): %s",
	    outcome([] { return operator new[](ptrdiff_max, std::nothrow); }));
	say("new(PTRDIFF_MAX - 63, 64, nothrow): %s",
	    outcome([] { return operator new(ptrdiff_max - 63, line, std::nothrow); }));
}

static void show_exceptions()
{
	say("new(SIZE_MAX): %s", outcome([] { return operator new(size_max); }));
	say("new(PTRDIFF_MAX): %s", outcome([] { return operator new(ptrdiff_max); }));
	say("new[](PTRDIFF_MAX): %s", outcome([] { return operator new[](ptrdiff_max); }));
	say("new(PTRDIFF_MAX - 63, 64): %s", outcome([] { return operator new(ptrdiff_max - 63, line); }));
	say("new long[SIZE_MAX]: %s", outcome([] { return new long[size_max]; }));
	say("new long[SIZE_MAX / 4]: %s", outcome([] { return new long[size_max / 4]; }));
}

static void show_handlers()
{
	std::set_new_handler(give_up_after_three);
	say("new with a handler: %s", outcome([] { return operator new(ptrdiff_max); }));
	say("the handler was called %d times", handler_calls);
	handler_calls = 0;
	std::set_new_handler(give_up_after_three);
	say("new nothrow with a handler: %s",
	    outcome([] { return operator new(ptrdiff_max, std::nothrow); }));
	say("the handler was called %d times", handler_calls);
	std::set_new_handler(throw_something_else);
	say("new with a handler that throws: %s", outcome([] { return operator new(ptrdiff_max); }));
	say("new again: %s", outcome([] { return operator new(ptrdiff_max); }));
	std::set_new_handler(nullptr);
}

static void show_empty()
{
	void *const first = operator new(none);
	void *const second = operator new[](none);

	say("two empty blocks: %s",
	    first != nullptr && second != nullptr && first != second ? "differ" : "do not");
	operator delete(first);
	operator delete[](second);
	operator delete(seen(static_cast<void *>(nullptr)));
	operator delete[](seen(static_cast<void *>(nullptr)));
}

static void show_alignments()
{
	for (size_t alignment = 16; alignment <= 65536; alignment *= 4) {
		void *const block = operator new (alignment * 3, std::align_val_t{ alignment });

		say("new(%zu, %zu): %s", alignment * 3, alignment,
		    reinterpret_cast<uintptr_t>(block) % alignment == 0 ? "aligned" : "misaligned");
		operator delete (block, std::align_val_t{ alignment });
	}
}

/* Exceptions and containers, through many frames. */
static int sum_by_exception(int depth)
{
	const std::vector<std::string> texts(3, std::string(static_cast<size_t>(depth) + 100, 'x'));

	if (depth == 0)
		throw std::runtime_error(texts[1].substr(0, 3));
	try {
		return 1 + sum_by_exception(depth - 1);
	} catch (const std::runtime_error &error) {
		if (depth < 20)
			throw std::runtime_error(error.what() + std::to_string(depth % 10));
		say("caught: %s", error.what());
		return 0;
	}
}

int main()
{
	show_failures();
	if (mi_version == nullptr) {
		show_exceptions();
		show_handlers();
	}
	show_empty();
	show_alignments();
	say("sum: %d", sum_by_exception(30));
	return 0;
}
