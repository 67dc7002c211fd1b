// SPDX-License-Identifier: Apache-2.0
/*
 * alternatives: structures that could stand in the place of a Go map, under one load.
 *
 * Each measurement is a process of its own, this program again: speed without heapmark, memory under it.  The
 * rounds are interleaved, so that what disturbs the machine for a while disturbs all of them.
 */
#include "examples/alternatives_case.hh"
#include "examples/alternatives_report.hh"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <getopt.h>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace
{

enum { EXIT_USAGE = 2 };

using Figures = std::map<std::string, std::string>;
using Command = std::vector<std::string>;

struct Options {
	uint64_t n = 1000000;
	unsigned rounds = 3;
	std::string output; /* empty: standard output */
	std::string library;
	std::string heapmark;
};

struct UsageError : std::runtime_error {
	using std::runtime_error::runtime_error;
};

/* Runs the command with `environment` added to ours and returns what it writes to standard output. */
std::string output_of(const Command &command, const Figures &environment)
{
	std::vector<char *> arguments;
	int ends[2];

	for (const std::string &argument : command)
		arguments.push_back(const_cast<char *>(argument.c_str()));
	arguments.push_back(nullptr);
	if (pipe2(ends, O_CLOEXEC) != 0)
		throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));

	const pid_t child = fork();
	if (child < 0)
		throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
	if (child == 0) {
		for (const auto &[name, value] : environment)
			setenv(name.c_str(), value.c_str(), 1);
		dup2(ends[1], STDOUT_FILENO);
		execv(arguments[0], arguments.data());
		fprintf(stderr, "alternatives: %s: %s\n", arguments[0], std::strerror(errno));
		_exit(127);
	}
	close(ends[1]);

	std::string output;
	char buffer[4096];
	ssize_t count;
	while ((count = read(ends[0], buffer, sizeof(buffer))) > 0)
		output.append(buffer, static_cast<size_t>(count));
	close(ends[0]);

	int status = 0;
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		throw std::runtime_error(command[0] + " " + command[1] + " has failed; see above");
	return output;
}

/* "a=1 b=2" */
Figures parse_figures(const std::string &line)
{
	std::istringstream words(line);
	std::string word;
	Figures figures;

	while (words >> word) {
		const size_t equals = word.find('=');

		if (equals != std::string::npos)
			figures[word.substr(0, equals)] = word.substr(equals + 1);
	}
	return figures;
}

Figures run_child(const Options &options, const Structure &structure, unsigned thread_count,
		  const std::string &measure, const Command &profiles, const Figures &environment)
{
	Command command = {
		"/proc/self/exe",         "--case", structure.name, measure, std::to_string(thread_count),
		std::to_string(options.n)
	};

	command.insert(command.end(), profiles.begin(), profiles.end());
	if (isatty(STDERR_FILENO) != 0)
		fprintf(stderr, "\r\033[Kalternatives: %s, %u threads, %s", structure.name, thread_count,
			measure.c_str());
	return parse_figures(output_of(command, environment));
}

template <typename Value> Value median(std::vector<Value> values)
{
	std::sort(values.begin(), values.end());
	return values[values.size() / 2];
}

struct Samples {
	std::vector<double> operations_per_second;
	std::vector<uint64_t> p50_ns, p99_ns, p999_ns;
};

void measure_speed(const Options &options, Report *report)
{
	std::map<std::pair<size_t, unsigned>, Samples> samples;
	std::vector<uint64_t> clock_costs;

	for (unsigned round = 0; round < options.rounds; round++) {
		for (size_t i = 0; i < structures().size(); i++) {
			for (const unsigned thread_count : { 1U, 2U, 4U }) {
				const Structure &structure = structures()[i];

				if (thread_count > structure.threads_max)
					continue;
				Figures whole =
					run_child(options, structure, thread_count, "throughput", {}, {});
				Figures each = run_child(options, structure, thread_count, "latency", {}, {});
				Samples &own = samples[{ i, thread_count }];

				own.operations_per_second.push_back(
					std::stod(whole["operations_per_second"]));
				own.p50_ns.push_back(std::stoull(each["p50_ns"]));
				own.p99_ns.push_back(std::stoull(each["p99_ns"]));
				own.p999_ns.push_back(std::stoull(each["p999_ns"]));
				clock_costs.push_back(std::stoull(each["clock_cost_ns"]));
			}
		}
	}
	for (const auto &[key, own] : samples) {
		report->speed.push_back({ structures()[key.first], key.second,
					  median(own.operations_per_second), median(own.p50_ns),
					  median(own.p99_ns), median(own.p999_ns) });
	}
	report->clock_cost_ns = median(clock_costs);
}

/* The sums of a profile by name, as `heapmark check` has them: "  inuse_space   2773600 bytes (2.6 MiB)".  A
 * profile that has lost samples is none to measure by. */
std::map<std::string, uint64_t> sums_of_profile(const Options &options, const std::string &path)
{
	const std::string text = output_of({ options.heapmark, "check", path }, {});
	std::istringstream lines(text);
	std::map<std::string, uint64_t> sums;
	std::string line;

	if (text.find("#heapmark.loss.") != std::string::npos)
		throw std::runtime_error(
			"heapmark had no room for all samples, so the memory would be told wrong; "
			"try a smaller N");
	while (std::getline(lines, line)) {
		std::istringstream words(line);
		std::string name;
		uint64_t value = 0;

		if (words >> name && words >> value)
			sums[name] = value;
	}
	if (sums.count("inuse_space") == 0 || sums.count("alloc_space") == 0)
		throw std::runtime_error(path + ": heapmark check tells no sums");
	return sums;
}

void measure_memory(const Options &options, const std::string &folder, Report *report)
{
	/* Up to two million samples, all live. */
	const Figures environment = { { "LD_PRELOAD", options.library },
				      { "HEAPMARK", "" },
				      { "HEAPMARK_RATE", "1" },
				      { "HEAPMARK_MAX", "2G" },
				      { "HEAPMARK_DIR", folder } };

	for (const Structure &structure : structures()) {
		const std::string before = folder + "/" + structure.name + ".before.pb.gz";
		const std::string after = folder + "/" + structure.name + ".after.pb.gz";
		Figures figures = run_child(options, structure, 1, "memory", { before, after }, environment);
		std::map<std::string, uint64_t> empty = sums_of_profile(options, before);
		std::map<std::string, uint64_t> full = sums_of_profile(options, after);

		report->memory.push_back({ structure, std::stoull(figures["entries"]),
					   full["inuse_space"] - empty["inuse_space"],
					   full["alloc_space"] - empty["alloc_space"] });
	}
}

void check_parts(const Options &options)
{
	for (const std::string &path : { options.library, options.heapmark }) {
		if (access(path.c_str(), R_OK) != 0)
			throw UsageError(path +
					 " is not there, and the memory cannot be measured without it; "
					 "build heapmark, or name it with --library or --heapmark");
	}
}

void write_all(const Options &options)
{
	char folder[] = "/tmp/alternatives.XXXXXX";
	Report report = { options.n, options.rounds, std::thread::hardware_concurrency(), 0, {}, {} };

	check_parts(options);
	if (mkdtemp(folder) == nullptr)
		throw std::runtime_error(std::string(folder) + ": " + std::strerror(errno));
	try {
		measure_memory(options, folder, &report);
		measure_speed(options, &report);
	} catch (...) {
		std::filesystem::remove_all(folder);
		throw;
	}
	std::filesystem::remove_all(folder);
	if (isatty(STDERR_FILENO) != 0)
		fprintf(stderr, "\r\033[K");

	if (options.output.empty()) {
		write_report(std::cout, report);
		std::cout.flush();
	} else {
		std::ofstream file(options.output);
		write_report(file, report);
		file.close();
		if (!file)
			throw std::runtime_error(options.output + ": cannot be written");
	}
	if (!std::cout)
		throw std::runtime_error("standard output cannot be written");
}

uint64_t parse_number(const char *what, const std::string &text, uint64_t max)
{
	const bool digits_only =
		!text.empty() && text.size() < 19 &&
		std::all_of(text.begin(), text.end(), [](unsigned char c) { return isdigit(c); });
	const uint64_t value = digits_only ? std::stoull(text) : 0;

	if (value == 0 || value > max)
		throw UsageError(std::string(what) + " is '" + text +
				 "', which is not a whole number from 1 to " + std::to_string(max));
	return value;
}

/* --case STRUCTURE MEASURE THREADS N [BEFORE AFTER] */
void print_case(const Command &operands)
{
	static const std::map<std::string, Measure> measures = { { "throughput", Measure::Throughput },
								 { "latency", Measure::Latency },
								 { "memory", Measure::Memory } };
	const auto measure = operands.size() >= 4 ? measures.find(operands[1]) : measures.end();

	if (measure == measures.end() || operands.size() != (measure->second == Measure::Memory ? 6U : 4U))
		throw UsageError(
			"--case takes STRUCTURE throughput|latency THREADS N, or STRUCTURE memory THREADS N "
			"BEFORE AFTER");
	const auto thread_count = static_cast<unsigned>(parse_number("THREADS", operands[2], 64));
	const uint64_t n = parse_number("N", operands[3], 1000000000);
	const bool memory = measure->second == Measure::Memory;
	const CaseResult result = run_case(operands[0], n, thread_count, measure->second,
					   memory ? operands[4] : "", memory ? operands[5] : "");

	printf("structure=%s threads=%u entries=%llu operations=%llu operations_per_second=%.0f p50_ns=%llu "
	       "p99_ns=%llu p999_ns=%llu clock_cost_ns=%llu\n",
	       operands[0].c_str(), thread_count, (unsigned long long)result.entries,
	       (unsigned long long)result.operations, static_cast<double>(result.operations) / result.seconds,
	       (unsigned long long)result.p50_ns, (unsigned long long)result.p99_ns,
	       (unsigned long long)result.p999_ns, (unsigned long long)result.clock_cost_ns);
}

void print_help()
{
	printf("Usage: alternatives [-n N] [-r ROUNDS] [-o FILE] [--library LIBHEAPMARK] [--heapmark "
	       "HEAPMARK]\n"
	       "       alternatives --case STRUCTURE throughput|latency THREADS N\n"
	       "\n"
	       "Measures structures that could stand in the place of a Go map, under one load: N random keys "
	       "(1000000\n"
	       "by default), then N/2 reads and writes.  Writes a document with the operations a second, "
	       "percentiles of\n"
	       "all their times (medians of 3 rounds), and the memory as heapmark has it.  Takes some "
	       "minutes.\n"
	       "\n"
	       "--case: one measurement, as a line of figures.  STRUCTURE is one of");
	for (const Structure &structure : structures())
		printf(" %s", structure.name);
	printf(".\n");
}

/* The build lays them out so; an installed alternatives has to be told. */
Options default_options()
{
	const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
	const std::filesystem::path here = self.parent_path();
	Options options;

	options.library = (here.parent_path() / "preload/libheapmark.so").string();
	options.heapmark = (here.parent_path() / "tools/heapmark").string();
	return options;
}

void run(int argc, char **argv)
{
	enum { LIBRARY = 256, HEAPMARK, CASE };
	static const struct option long_options[] = { { "help", no_argument, nullptr, 'h' },
						      { "library", required_argument, nullptr, LIBRARY },
						      { "heapmark", required_argument, nullptr, HEAPMARK },
						      { "case", no_argument, nullptr, CASE },
						      { nullptr, 0, nullptr, 0 } };
	Options options = default_options();
	bool one_case = false;

	for (int option; (option = getopt_long(argc, argv, "n:r:o:h", long_options, nullptr)) != -1;) {
		switch (option) {
		case 'n':
			options.n = parse_number("N", optarg, 100000000);
			break;
		case 'r':
			options.rounds = static_cast<unsigned>(parse_number("ROUNDS", optarg, 1000));
			break;
		case 'o':
			options.output = optarg;
			break;
		case LIBRARY:
			options.library = std::filesystem::absolute(optarg).string();
			break;
		case HEAPMARK:
			options.heapmark = std::filesystem::absolute(optarg).string();
			break;
		case CASE:
			one_case = true;
			break;
		case 'h':
			print_help();
			return;
		default:
			throw UsageError("alternatives --help tells what can be typed");
		}
	}
	const Command operands(argv + optind, argv + argc);
	if (one_case)
		print_case(operands);
	else if (!operands.empty())
		throw UsageError("'" + operands[0] +
				 "' is one operand too many; alternatives --help tells what can be typed");
	else
		write_all(options);
}

} // namespace

int main(int argc, char **argv)
{
	try {
		run(argc, argv);
		return EXIT_SUCCESS;
	} catch (const UsageError &error) {
		fprintf(stderr, "alternatives: %s\n", error.what());
		return EXIT_USAGE;
	} catch (const std::exception &error) {
		fprintf(stderr, "alternatives: %s\n", error.what());
		return EXIT_FAILURE;
	}
}
