// SPDX-License-Identifier: Apache-2.0
#include "examples/alternatives_case.hh"

#include "examples/alternatives_structures.hh"
#include "preload/heapmark.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <stdexcept>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace
{

using Clock = std::chrono::steady_clock;

/*
 * An array that is not in the heap: what the profile shows is the structure, not how it was measured.
 */
class Times
{
      public:
	explicit Times(size_t count) : count_(count)
	{
		void *mapping = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (mapping == MAP_FAILED)
			throw std::bad_alloc();
		ns_ = static_cast<uint32_t *>(mapping);
	}

	~Times()
	{
		munmap(ns_, bytes());
	}

	Times(const Times &) = delete;
	Times &operator=(const Times &) = delete;

	uint32_t *begin()
	{
		return ns_;
	}

	uint32_t *end()
	{
		return ns_ + count_;
	}

      private:
	size_t bytes() const
	{
		return std::max(count_, size_t{ 1 }) * sizeof(uint32_t);
	}

	size_t count_;
	uint32_t *ns_; /* owned */
};

/* One-to-one on 64 bits: the keys of different numbers differ, and have no pattern.  (As in hmap.c.) */
uint64_t scramble(uint64_t bits)
{
	bits = (bits ^ (bits >> 32)) * 0x9e3779b97f4a7c15;
	bits = (bits ^ (bits >> 29)) * 0x6a09e667f3bcc909;
	return bits ^ (bits >> 32);
}

/* Up to 4.29 s; what takes longer counts as that. */
uint32_t nanoseconds_since(Clock::time_point start)
{
	const auto ns = std::chrono::nanoseconds(Clock::now() - start).count();

	return static_cast<uint32_t>(std::clamp<int64_t>(ns, 0, UINT32_MAX));
}

/* The nearest rank, of sorted times. */
uint64_t percentile(Times &sorted, double share)
{
	const auto count = static_cast<double>(sorted.end() - sorted.begin());
	const auto rank = static_cast<size_t>(share * count + 0.999999);

	return sorted.begin()[std::max(rank, size_t{ 1 }) - 1];
}

uint64_t clock_cost_ns()
{
	enum { ASKED = 10001 };
	Times times(ASKED);

	for (uint32_t &time : times)
		time = nanoseconds_since(Clock::now());
	std::nth_element(times.begin(), times.begin() + ASKED / 2, times.end());
	return times.begin()[ASKED / 2];
}

struct Load {
	uint64_t n;
	unsigned thread_count;
	bool timed;

	uint64_t mixed_count() const
	{
		return n / 2;
	}

	/* The part of `count` things that a thread does: from share_begin(t) to share_begin(t + 1). */
	uint64_t share_begin(uint64_t count, unsigned thread_index) const
	{
		return count / thread_count * thread_index +
		       std::min<uint64_t>(thread_index, count % thread_count);
	}
};

/* Calls `operation`, and puts the time it takes to *ret_ns if operations are timed. */
template <typename Operation> void perform(bool timed, uint32_t *ret_ns, const Operation &operation)
{
	if (!timed) {
		operation();
		return;
	}
	const Clock::time_point start = Clock::now();
	operation();
	*ret_ns = nanoseconds_since(start);
}

template <typename Map> void write_first(Map &map, const Load &load, unsigned thread_index, uint32_t *times)
{
	const uint64_t end = load.share_begin(load.n, thread_index + 1);

	for (uint64_t i = load.share_begin(load.n, thread_index); i < end; i++)
		perform(load.timed, &times[i], [&] { map.write(scramble(i), i); });
}

template <typename Map>
void mix_reads_and_writes(Map &map, const Load &load, unsigned thread_index, uint32_t *times)
{
	const uint64_t end = load.share_begin(load.mixed_count(), thread_index + 1);

	for (uint64_t i = load.share_begin(load.mixed_count(), thread_index); i < end; i++) {
		const uint64_t chance = scramble(~i);
		const uint64_t written = scramble(load.n + i);
		const uint64_t read = (chance >> 1) % load.n;
		bool found = true;

		perform(load.timed, &times[load.n + i], [&] {
			uint64_t value = read;

			if (chance % 2 == 0)
				map.write(written, i);
			else
				found = map.read(scramble(read), &value) && value == read;
		});
		if (!found)
			throw std::runtime_error("an entry that was written is not there");
	}
}

/* Every thread of the load runs this; a barrier lies between the two parts.  A failure ends the process: the
 * others would wait at the barrier for ever. */
template <typename Map>
void run_thread(Map &map, const Load &load, unsigned thread_index, uint32_t *times,
		pthread_barrier_t *barrier)
{
	try {
		write_first(map, load, thread_index, times);
		pthread_barrier_wait(barrier);
		mix_reads_and_writes(map, load, thread_index, times);
	} catch (const std::exception &failure) {
		fprintf(stderr, "alternatives: %s: %s\n", Map::name, failure.what());
		_exit(EXIT_FAILURE);
	}
}

template <typename Map> void run_load(Map &map, const Load &load, uint32_t *times)
{
	std::vector<std::thread> threads;
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, nullptr, load.thread_count);
	for (unsigned i = 1; i < load.thread_count; i++)
		threads.emplace_back([&, i] { run_thread(map, load, i, times, &barrier); });
	run_thread(map, load, 0, times, &barrier);
	for (std::thread &thread : threads)
		thread.join();
	pthread_barrier_destroy(&barrier);
}

void write_profile(const std::string &path)
{
	const int error = heapmark_dump ? heapmark_dump(path.c_str()) : -ENOSYS;

	if (error == -ENOSYS)
		throw std::runtime_error(
			"the memory is measured by libheapmark.so, which is not here; preload it");
	if (error != 0)
		throw std::runtime_error(path + ": " + std::strerror(-error));
}

template <typename Map>
CaseResult run_one(const Load &load, Measure measure, const std::string &before_path,
		   const std::string &after_path)
{
	const uint64_t operations = load.n + load.mixed_count();
	Times times(load.timed ? operations : 0);

	if (measure == Measure::Memory)
		write_profile(before_path);
	Map map;
	const Clock::time_point start = Clock::now();
	run_load(map, load, times.begin());
	const std::chrono::duration<double> seconds = Clock::now() - start;
	if (measure == Measure::Memory)
		write_profile(after_path);

	CaseResult result = { map.size(), operations, seconds.count(), 0, 0, 0, 0 };
	if (load.timed) {
		std::sort(times.begin(), times.end());
		result.p50_ns = percentile(times, 0.50);
		result.p99_ns = percentile(times, 0.99);
		result.p999_ns = percentile(times, 0.999);
		result.clock_cost_ns = clock_cost_ns();
	}
	return result;
}

struct Row {
	Structure structure;
	CaseResult (*run)(const Load &load, Measure measure, const std::string &before_path,
			  const std::string &after_path);
};

template <typename Map> Row row()
{
	return { { Map::name, Map::title, Map::threads_max, Map::safety }, run_one<Map> };
}

const std::vector<Row> &rows()
{
	static const std::vector<Row> all = {
		row<RedBlackTree>(),       row<BTree>(), row<ShardedUnorderedMap>(),
		row<FlatHashMapInArena>(), row<GoMap>(), row<ShardedGoMap>()
	};
	return all;
}

} // namespace

const std::vector<Structure> &structures()
{
	static const std::vector<Structure> all = [] {
		std::vector<Structure> list;

		for (const Row &row : rows())
			list.push_back(row.structure);
		return list;
	}();
	return all;
}

CaseResult run_case(const std::string &name, uint64_t n, unsigned thread_count, Measure measure,
		    const std::string &before_path, const std::string &after_path)
{
	const Load load = { n, thread_count, measure == Measure::Latency };

	for (const Row &row : rows()) {
		if (name != row.structure.name)
			continue;
		if (thread_count > row.structure.threads_max)
			throw std::runtime_error(name + " is for one thread");
		return row.run(load, measure, before_path, after_path);
	}
	std::string message = "there is no structure '" + name + "'; type one of:";
	for (const Row &row : rows())
		message += std::string(" ") + row.structure.name;
	throw std::runtime_error(message);
}
