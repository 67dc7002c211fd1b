// SPDX-License-Identifier: Apache-2.0
// A C++ program that knows what it allocates: containers, exceptions, threads.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define NOIPA __attribute__((noipa))

struct Part {
	char bytes[200];
};

static std::map<int, int> *kept_map;
static std::vector<std::unique_ptr<Part>> *kept_parts;

// COUNT nodes of 40 bytes: a colour, three pointers, two ints.
extern "C" NOIPA void fill_map(int count)
{
	for (int i = 0; i < count; i++)
		kept_map->emplace(i, i);
}

// COUNT arrays of 100 bytes, all given back.
extern "C" NOIPA void churn_arrays(int count)
{
	for (int i = 0; i < count; i++) {
		const std::unique_ptr<char[]> array(new char[100]);
		asm volatile("" : : "r"(array.get()) : "memory");
	}
}

// COUNT blocks of nothing, which are blocks all the same.  (The operator new would ask for a byte.)
extern "C" NOIPA void churn_nothing(int count)
{
	for (int i = 0; i < count; i++) {
		void *const block = std::malloc(0);
		asm volatile("" : : "r"(block) : "memory");
		std::free(block);
	}
}

// COUNT parts of 200 bytes, every other one given back.
extern "C" NOIPA void keep_half(int count)
{
	for (int i = 0; i < count; i++) {
		auto part = std::make_unique<Part>();
		if (i % 2 == 0)
			kept_parts->push_back(std::move(part));
	}
}

struct Refusal {
	int why;
	char text[60];
};

// An exception of 64 bytes, and before it what the runtime keeps about it.
extern "C" NOIPA void refuse(int why)
{
	throw Refusal{ why, "no" };
}

extern "C" NOIPA int count_refusals(int count)
{
	int caught = 0;

	for (int i = 0; i < count; i++) {
		try {
			refuse(i);
		} catch (const Refusal &refusal) {
			caught += refusal.why == i;
		}
	}
	return caught;
}

// In a thread: COUNT blocks of 300 bytes, all given back by the thread that waits for it.
extern "C" NOIPA void make_in_thread(int count, std::vector<std::unique_ptr<char[]>> &made)
{
	for (int i = 0; i < count; i++)
		made.emplace_back(new char[300]);
}

int main()
{
	std::vector<std::unique_ptr<char[]>> made[4];
	std::vector<std::thread> threads;

	kept_map = new std::map<int, int>; // never given back
	kept_parts = new std::vector<std::unique_ptr<Part>>;
	kept_parts->reserve(5000);
	fill_map(3000);
	churn_arrays(20000);
	churn_nothing(500);
	keep_half(10000);
	const int caught = count_refusals(2000);

	for (auto &of_thread : made)
		of_thread.reserve(4000);
	for (auto &of_thread : made)
		threads.emplace_back([&of_thread] { make_in_thread(4000, of_thread); });
	for (auto &thread : threads)
		thread.join();
	for (auto &of_thread : made)
		of_thread.clear();

	std::printf("%zu %zu %d\n", kept_map->size(), kept_parts->size(), caught);
	try {
		throw std::runtime_error("the last one");
	} catch (const std::exception &error) {
		std::fprintf(stderr, "%s\n", error.what());
	}
	return 3;
}
