// SPDX-License-Identifier: Apache-2.0
#include "examples/alternatives_report.hh"

#include <algorithm>
#include <cstdio>
#include <string>

namespace
{

enum { PAYLOAD_BYTES = 16 }; /* a key and a value */

std::string number(double value, int digits)
{
	char text[64];

	snprintf(text, sizeof(text), "%.*f", digits, value);
	return text;
}

/* In groups of three: 1,000,000. */
std::string grouped(uint64_t value)
{
	std::string text = std::to_string(value);

	for (size_t i = text.size(); i > 3; i -= 3)
		text.insert(i - 3, ",");
	return text;
}

std::string mib(uint64_t bytes)
{
	return number(static_cast<double>(bytes) / (1 << 20), 1) + " MiB";
}

double amplification(const MemoryRow &row)
{
	return static_cast<double>(row.inuse_bytes) / static_cast<double>(row.entries * PAYLOAD_BYTES);
}

void write_speed(std::ostream &out, const Report &report)
{
	out << "| structure | threads | ops/s | p50 | p99 | p99.9 |\n"
	       "|---|--:|--:|--:|--:|--:|\n";
	for (const SpeedRow &row : report.speed) {
		out << "| " << row.structure.title << " | " << row.thread_count << " | "
		    << number(row.operations_per_second / 1e6, 2) << " M | " << grouped(row.p50_ns)
		    << " ns | " << grouped(row.p99_ns) << " ns | " << grouped(row.p999_ns) << " ns |\n";
	}
}

void write_memory(std::ostream &out, const Report &report)
{
	out << "| structure | entries | in use | allocated | amplification | kept of what was allocated | "
	       "safe for threads |\n"
	       "|---|--:|--:|--:|--:|--:|---|\n";
	for (const MemoryRow &row : report.memory) {
		out << "| " << row.structure.title << " | " << grouped(row.entries) << " | "
		    << mib(row.inuse_bytes) << " | " << mib(row.alloc_bytes) << " | "
		    << number(amplification(row), 2) << " | "
		    << number(100.0 * static_cast<double>(row.inuse_bytes) /
				      static_cast<double>(row.alloc_bytes),
			      0)
		    << " % | " << row.structure.safety << " |\n";
	}
}

/* "* what: best, ..., worst": the rows by a figure of theirs, the smallest first. */
template <typename Row, typename Figure>
void write_order(std::ostream &out, const char *what, std::vector<Row> rows, const Figure &figure)
{
	std::stable_sort(rows.begin(), rows.end(),
			 [&](const Row &left, const Row &right) { return figure(left) < figure(right); });
	out << "* " << what << ": ";
	for (size_t i = 0; i < rows.size(); i++)
		out << (i > 0 ? ", " : "") << rows[i].structure.title;
	out << "\n";
}

void write_orders(std::ostream &out, const Report &report)
{
	std::vector<SpeedRow> alone;

	for (const SpeedRow &row : report.speed) {
		if (row.thread_count == 1)
			alone.push_back(row);
	}
	write_order(out, "most operations, one thread", alone,
		    [](const SpeedRow &row) { return -row.operations_per_second; });
	write_order(out, "smallest p50, one thread", alone, [](const SpeedRow &row) { return row.p50_ns; });
	write_order(out, "smallest p99.9, one thread", alone,
		    [](const SpeedRow &row) { return row.p999_ns; });
	write_order(out, "least memory in use", report.memory,
		    [](const MemoryRow &row) { return row.inuse_bytes; });
	write_order(out, "least memory allocated", report.memory,
		    [](const MemoryRow &row) { return row.alloc_bytes; });
}

} // namespace

void write_report(std::ostream &out, const Report &report)
{
	out << "# Other structures in the place of a Go map\n"
	       "\n"
	       "Written by `build/examples/alternatives -o docs/alternatives.md`, which measures it all "
	       "again.\n"
	       "\n"
	       "The load: "
	    << grouped(report.n) << " random keys are written, then " << grouped(report.n / 2)
	    << " operations follow, half of them reads of keys that\n"
	       "are there, half of them writes of new keys. Keys and values have 8 bytes each. "
	    << report.cpu_count
	    << " CPUs; with more threads than that they take turns.\n"
	       "\n"
	       "## Speed\n"
	       "\n"
	       "Medians of "
	    << report.rounds
	    << " rounds, in each of which every row has its turn. ops/s comes from runs in which the clock "
	       "is asked "
	       "twice; the\n"
	       "percentiles come from runs of their own, in which every operation is timed, and are exact: "
	       "nearest "
	       "rank, of all of\n"
	       "them, and with the "
	    << report.clock_cost_ns
	    << " ns that asking the clock takes.\n"
	       "\n";
	write_speed(out, report);
	out << "\n"
	       "## Memory\n"
	       "\n"
	       "As heapmark has it, every allocation recorded: two profiles of one process, from before the "
	       "structure "
	       "was made and\n"
	       "with it full, and their difference. Amplification: bytes in use for a byte of key or value.\n"
	       "\n";
	write_memory(out, report);
	out << "\n"
	       "## In order\n"
	       "\n"
	       "Best first.\n"
	       "\n";
	write_orders(out, report);
	out << "\n"
	       "## The article's figures\n"
	       "\n"
	       "The article puts four structures (red-black tree, B-tree, shards with locks, a hash map in "
	       "an arena) "
	       "into one order.\n"
	       "Neither its order nor its figures have come down to this repository, so none stand beside "
	       "these. "
	       "What can be judged is whether\n"
	       "there is one order: [map-retention.md](map-retention.md) does.\n";
}
