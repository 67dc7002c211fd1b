// SPDX-License-Identifier: Apache-2.0
/*
 * The document that `alternatives` writes.
 */
#ifndef EXAMPLES_ALTERNATIVES_REPORT_HH
#define EXAMPLES_ALTERNATIVES_REPORT_HH

#include "examples/alternatives_case.hh"

#include <cstdint>
#include <ostream>
#include <vector>

/* What was measured of a structure with so many threads: medians over the rounds. */
struct SpeedRow {
	Structure structure;
	unsigned thread_count;
	double operations_per_second;
	uint64_t p50_ns;
	uint64_t p99_ns;
	uint64_t p999_ns;
};

/* As heapmark has it, every allocation recorded. */
struct MemoryRow {
	Structure structure;
	uint64_t entries;
	uint64_t inuse_bytes;
	uint64_t alloc_bytes;
};

struct Report {
	uint64_t n;
	unsigned rounds;
	unsigned cpu_count;
	uint64_t clock_cost_ns;
	std::vector<SpeedRow> speed;
	std::vector<MemoryRow> memory;
};

/* In Markdown. */
void write_report(std::ostream &out, const Report &report);

#endif
