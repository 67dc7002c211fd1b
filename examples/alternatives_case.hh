// SPDX-License-Identifier: Apache-2.0
/*
 * One structure under the load, in this process: what `alternatives` runs again and again.
 *
 * The load, for n: n random keys are written; then n / 2 operations follow of which half, by chance, read a
 * key that is there and half write one that is not.  Every thread does its share of both parts, and none
 * begins the second before all have ended the first.
 */
#ifndef EXAMPLES_ALTERNATIVES_CASE_HH
#define EXAMPLES_ALTERNATIVES_CASE_HH

#include <cstdint>
#include <string>
#include <vector>

/* What there is to measure. */
struct Structure {
	const char *name;  /* as it is typed */
	const char *title; /* as it is printed */
	unsigned threads_max;
	const char *safety;
};

const std::vector<Structure> &structures();

struct CaseResult {
	uint64_t entries;       /* at the end */
	uint64_t operations;    /* done */
	double seconds;         /* from the first operation of the first thread to the last of the last */
	uint64_t p50_ns;        /* of every operation; 0 where they were not timed */
	uint64_t p99_ns;        /* nearest rank: the smallest time that 99 % did not exceed */
	uint64_t p999_ns;       /* 99.9 % */
	uint64_t clock_cost_ns; /* what is in each of these for asking the clock, in the median */
};

/* What to measure besides the whole.  Both at once would measure each other. */
enum class Measure { Throughput, Latency, Memory };

/*
 * Runs the structure of this name.  Memory: writes two profiles, before the structure is made and with it
 * full, to before_path and after_path; the process then runs under libheapmark.so.
 *
 * Throws std::runtime_error with a message for people, or std::bad_alloc.
 */
CaseResult run_case(const std::string &name, uint64_t n, unsigned thread_count, Measure measure,
		    const std::string &before_path, const std::string &after_path);

#endif
