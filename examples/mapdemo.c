// SPDX-License-Identifier: Apache-2.0
/*
 * mapdemo: a hash map under one of several loads, to be looked at with a heap profiler.
 *
 * Each scenario is a row of the table below and a function of scenarios.h.
 */
#include "examples/gauges.h"
#include "examples/scenarios.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

static const uint64_t operand_max = 1000000000000000000; /* 10^18: more is a typing error */

/* The operand after N.  One that is left out is N divided by n_share, or where that is 0, default_value. */
struct second_operand {
	const char *name; /* as the user types it; NULL: there is none */
	const char *key;  /* as it is printed */
	uint64_t n_share;
	uint64_t default_value;
	uint64_t max; /* 0: N */
};

static const struct second_operand none = { NULL, "window", 0, 0, 0 };
static const struct second_operand some_stay = { "WINDOW", "window", 100, 0, 0 };
static const struct second_operand all_stay = { "WINDOW", "window", 1, 0, 0 };
static const struct second_operand kept = { "KEPT", "kept", 100, 0, 0 };
static const struct second_operand shards = { "SHARDS", "shards", 0, 4, 65536 };

static const struct scenario {
	const char *name;
	const char *summary;
	uint64_t default_n;
	const struct second_operand *second;
	int (*run)(const struct request *request, struct figures *ret_figures);
} scenarios[] = {
	{ "fill", "N distinct keys go in", 1000000, &none, run_fill },
	{ "drain", "N distinct keys go in, then all come out", 1000000, &none, run_drain },
	{ "window", "N keys go in, only the last WINDOW of them stay", 10000000, &some_stay, run_window },
	{ "rebuild", "as drain, but KEPT stay, and a compact copy replaces the map under its readers",
	  1000000, &kept, run_rebuild },
	{ "syncmap", "N new keys go through a map like sync.Map, the last WINDOW stay", 1000000, &all_stay,
	  run_syncmap },
	{ "sharded", "four threads put N keys into a map of SHARDS maps", 1000000, &shards, run_sharded },
};
enum { SCENARIO_COUNT = sizeof(scenarios) / sizeof(scenarios[0]) };

static void print_operands(FILE *file, const struct scenario *scenario)
{
	if (scenario->second->name != NULL)
		fprintf(file, "[N [%s]]", scenario->second->name);
	else
		fprintf(file, "[N]");
}

static void print_help(void)
{
	printf("Usage: mapdemo SCENARIO [N [WINDOW|KEPT|SHARDS]]\n"
	       "Puts a hash map built like Go's under a load, prints its figures, and ends with the map "
	       "alive.\n"
	       "\n");
	for (size_t i = 0; i < SCENARIO_COUNT; i++) {
		const struct scenario *scenario = &scenarios[i];
		const struct second_operand *second = scenario->second;

		printf("  %s ", scenario->name);
		print_operands(stdout, scenario);
		printf("\n      %s;\n      N is %llu by default", scenario->summary,
		       (unsigned long long)scenario->default_n);
		if (second->n_share > 1)
			printf(", %s N/%llu", second->name, (unsigned long long)second->n_share);
		else if (second->n_share == 1)
			printf(", %s N", second->name);
		else if (second->name != NULL)
			printf(", %s %llu", second->name, (unsigned long long)second->default_value);
		printf("\n");
	}
	printf("\n"
	       "To see what was allocated, and what of it is still in use:\n"
	       "  LD_PRELOAD=libheapmark.so mapdemo drain\n"
	       "  go tool pprof -top -sample_index=alloc_space heapmark.mapdemo.*.pb.gz\n"
	       "  go tool pprof -top -sample_index=inuse_space heapmark.mapdemo.*.pb.gz\n");
}

static const struct scenario *find_scenario(const char *name)
{
	for (size_t i = 0; i < SCENARIO_COUNT; i++) {
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	}
	fprintf(stderr, "mapdemo: there is no scenario '%s'; type one of:", name);
	for (size_t i = 0; i < SCENARIO_COUNT; i++)
		fprintf(stderr, " %s", scenarios[i].name);
	fprintf(stderr, "\n");
	return NULL;
}

static int parse_operand(const char *name, const char *text, uint64_t *ret_value)
{
	const bool digits_only = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
	errno = 0;
	const unsigned long long value = strtoull(text, NULL, 10);

	if (!digits_only || errno != 0 || value == 0 || value > operand_max) {
		fprintf(stderr,
			"mapdemo: %s is '%s', which is not a whole number from 1 to 10^18; "
			"type it in digits, such as 1000000\n",
			name, text);
		return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

static uint64_t default_of(const struct second_operand *second, uint64_t n)
{
	if (second->n_share == 0)
		return second->default_value;
	return n >= second->n_share ? n / second->n_share : 1;
}

/* Speaks on stderr where it fails. */
static int parse_request(const struct scenario *scenario, int operand_count, char **operands,
			 struct request *ret_request)
{
	const struct second_operand *second = scenario->second;
	const int operands_max = second->name != NULL ? 2 : 1;
	struct request request = { .n = scenario->default_n };

	if (operand_count > operands_max) {
		fprintf(stderr, "mapdemo: '%s' is one operand too many; type: mapdemo %s ",
			operands[operands_max], scenario->name);
		print_operands(stderr, scenario);
		fprintf(stderr, "\n");
		return -EINVAL;
	}
	if (operand_count > 0 && parse_operand("N", operands[0], &request.n) != 0)
		return -EINVAL;
	request.second = default_of(second, request.n);
	if (operand_count > 1 && parse_operand(second->name, operands[1], &request.second) != 0)
		return -EINVAL;
	if (second->max != 0 && request.second > second->max) {
		fprintf(stderr, "mapdemo: %s is %s; the most is %llu\n", second->name, operands[1],
			(unsigned long long)second->max);
		return -EINVAL;
	}
	if (second->max == 0 && request.second > request.n) {
		fprintf(stderr, "mapdemo: %s is %s, which is more than N; type a smaller one\n", second->name,
			operands[1]);
		return -EINVAL;
	}
	*ret_request = request;
	return 0;
}

static void print_figures(const struct scenario *scenario, const struct request *request,
			  const struct figures *figures)
{
	const struct hmap_stats *map = &figures->map;

	printf("scenario=%s n=%llu %s=%llu len=%llu bucket_count=%llu overflow_count=%llu "
	       "overflow_ratio=%.4f grows=%llu same_size_grows=%llu bytes=%llu allocated_bytes=%llu%s\n",
	       scenario->name, (unsigned long long)request->n, scenario->second->key,
	       (unsigned long long)request->second, (unsigned long long)map->len,
	       (unsigned long long)map->bucket_count, (unsigned long long)map->overflow_count,
	       overflow_ratio(map), (unsigned long long)map->grows, (unsigned long long)map->same_size_grows,
	       (unsigned long long)map->bytes, (unsigned long long)map->allocated_bytes, figures->own);
}

/* Says why a scenario has no figures. */
static void report(const struct scenario *scenario, const struct request *request, int error)
{
	fprintf(stderr, "mapdemo: %s %llu: ", scenario->name, (unsigned long long)request->n);
	if (error == -EBADMSG)
		fprintf(stderr, "a reader has missed an entry that is in the map: this is a bug\n");
	else
		fprintf(stderr, "%s; try a smaller N\n", strerror(-error));
}

int main(int argc, char **argv)
{
	struct request request;
	struct figures figures;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (argc < 2) {
		fprintf(stderr, "mapdemo: no SCENARIO is given; mapdemo --help lists them\n");
		return EXIT_USAGE;
	}

	const struct scenario *scenario = find_scenario(argv[1]);
	if (scenario == NULL || parse_request(scenario, argc - 2, argv + 2, &request) != 0)
		return EXIT_USAGE;

	const int error = scenario->run(&request, &figures);
	if (error != 0) {
		report(scenario, &request, error);
		return EXIT_FAILURE;
	}
	gauges_publish(&figures.map);
	print_figures(scenario, &request, &figures);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "mapdemo: cannot write the figures: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
