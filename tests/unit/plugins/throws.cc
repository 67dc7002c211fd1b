// SPDX-License-Identifier: Apache-2.0
// Calls `visit` while a C++ exception is on its way: before the throw, in a destructor that it runs, in the
// handler, and after an exception that crossed the frames of a C function.
#include <cstdlib>

typedef void visit_function(void *argument);
extern "C" int throws_run(visit_function *visit, void *argument);

namespace
{

struct visit_call {
	visit_function *visit;
	void *argument;

	void operator()() const
	{
		visit(argument);
		__asm__ volatile("" ::: "memory");
	}
};

struct visiting_destructor {
	const visit_call &call;

	~visiting_destructor()
	{
		call();
	}
};

__attribute__((noinline)) void throw_through(const visit_call &call, int depth)
{
	const visiting_destructor destructor = { call };

	if (depth == 0) {
		call();
		throw depth;
	}
	throw_through(call, depth - 1);
}

const visit_call *compare_call;

int throwing_compare(const void *, const void *)
{
	(*compare_call)();
	throw 1;
}

} // namespace

// Returns how often `visit` was called, or -1 where an exception did not arrive.
int throws_run(visit_function *visit, void *argument)
{
	const visit_call call = { visit, argument };
	int arrived = 0;

	try {
		throw_through(call, 2); // 1, and 3 destructors
	} catch (int) {
		call();
		arrived++;
	}
	compare_call = &call;
	try {
		int numbers[2] = { 2, 1 };

		std::qsort(numbers, 2, sizeof(numbers[0]), throwing_compare);
	} catch (int) {
		call();
		arrived++;
	}
	compare_call = nullptr; // `call` ends here
	return arrived == 2 ? 7 : -1;
}
