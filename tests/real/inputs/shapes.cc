// SPDX-License-Identifier: Apache-2.0
// Allocations in inlined functions, templates, a lambda and a namespace without a name.  A mark is the line
// at which a frame must be found.
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct Point {
	std::string name;
	double x, y;
};

static void *volatile kept[1000];

namespace shapes
{
template <class T> struct Box {
	std::vector<T> items;
	void fill(int count)
	{
		for (int i = 0; i < count; i++)
			items.push_back(T()); // mark: Box
	}
};

namespace
{
inline void *make_inner(size_t size)
{
	return malloc(size); // mark: inner
}
} // namespace

static inline void *make_middle(size_t size)
{
	return make_inner(size + 1); // mark: middle
}
} // namespace shapes

__attribute__((noinline)) void make_outer(int count)
{
	for (int i = 0; i < count; i++)
		kept[i] = shapes::make_middle(999); // mark: outer
}

int main()
{
	shapes::Box<Point> box;
	std::map<std::string, std::unique_ptr<Point>> points;
	auto add = [&](int i) {
		points["the name of a point, number " + std::to_string(i)] = // mark: key
			std::make_unique<Point>();                           // mark: lambda
	};

	box.fill(1000);
	for (int i = 0; i < 1000; i++)
		add(i);
	make_outer(1000); // mark: main
	return points.size() != 1000;
}
