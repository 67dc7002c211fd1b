// SPDX-License-Identifier: Apache-2.0
/* /debug/pprof/symbol: names for addresses, "0x401196+0x4011ee", as Go's. */
#include "tools/profile_file.h"
#include "tools/serve.h"

#include "proto/sort.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Addresses that lie in one module, with their names. */
struct symbols {
	struct hm_arena arena; /* owns the rest */
	uint64_t *addresses;   /* ascending, each once */
	struct hm_location_name *names;
	uint32_t count;
};

/* Reads the numbers; what is none is left out, as in Go. */
static int read_addresses(const char *text, struct symbols *symbols)
{
	const size_t room = strlen(text) / 2 + 1; /* a digit and a '+' each */
	uint64_t *const addresses = hm_arena_allocate_array(&symbols->arena, 2 * room, sizeof(*addresses));
	uint32_t count = 0;

	symbols->names = hm_arena_allocate_array(&symbols->arena, room, sizeof(*symbols->names));
	if (addresses == NULL || symbols->names == NULL)
		return -ENOMEM;
	while (*text != '\0') {
		char *end = NULL;
		const size_t length = strcspn(text, "+");
		const uint64_t address = *text != '-' ? strtoull(text, &end, 0) : 0;

		if (address != 0 && end == text + length)
			addresses[count++] = address;
		text += length + (text[length] == '+');
	}
	hm_sort(addresses, addresses + room, count, sizeof(*addresses), hm_compare_u64, NULL);
	symbols->addresses = addresses;
	for (uint32_t i = 0; i < count; i++)
		if (i == 0 || addresses[i] != addresses[i - 1])
			addresses[symbols->count++] = addresses[i];
	return 0;
}

static int name_addresses(struct symbols *symbols, const struct hm_snapshot *snapshot,
			  const struct hm_resolver *resolver)
{
	for (uint32_t i = 0; i < snapshot->module_count; i++) {
		const struct hm_snapshot_module *const module = &snapshot->modules[i];
		enum hm_names_outcome outcome = HM_NAMES_FOUND;
		uint32_t first = 0;
		uint32_t end = 0;
		int error = 0;

		while (first < symbols->count && symbols->addresses[first] < module->start_address)
			first++;
		for (end = first; end < symbols->count && symbols->addresses[end] < module->end_address;)
			end++;
		if (end > first)
			error = resolver->resolve(resolver->context, &symbols->arena, module,
						  symbols->addresses + first, end - first,
						  symbols->names + first, &outcome);
		if (error != 0)
			return error;
	}
	return 0;
}

static int print_names(const struct symbols *symbols, char **ret_text, size_t *ret_text_bytes)
{
	FILE *const stream = open_memstream(ret_text, ret_text_bytes);

	if (stream == NULL)
		return -ENOMEM;
	/* Only that there are symbols at all; nobody reads the number. */
	(void)fprintf(stream, "num_symbols: 1\n");
	for (uint32_t i = 0; i < symbols->count; i++) {
		const struct hm_location_name *const name = &symbols->names[i];

		if (name->line_count > 0) /* the function that really exists, last */
			(void)fprintf(stream, "%#" PRIx64 " %s\n", symbols->addresses[i],
				      name->lines[name->line_count - 1].name);
	}
	return fclose(stream) == 0 ? 0 : -ENOMEM;
}

static int look_up(struct hm_serve *serve, const struct hm_target *target, const struct hm_snapshot *snapshot,
		   struct symbols *symbols)
{
	struct hm_profile_plan plan;

	hm_profile_plan(&plan, &serve->symbols, snapshot, target->descriptor,
			target->is_running ? target->pid : 0);
	return name_addresses(symbols, snapshot, &plan.options.resolver);
}

/* Go's form has no key, "?0x401196+0x4011ee"; ours may have a process before it, "?pid=1&0x401196". */
static const char *last_of_query(const char *query)
{
	const char *const mark = strrchr(query, '&');

	return mark != NULL ? mark + 1 : query;
}

uint64_t hm_serve_symbol(void *context, struct hm_http_job *job)
{
	struct hm_serve *const serve = context;
	const bool is_post = job->request.method == HM_HTTP_POST;
	struct symbols symbols = { .count = 0 };
	struct hm_snapshot snapshot = { 0 };
	struct hm_target target;
	char *text = NULL;
	size_t text_bytes = 0;

	if (!hm_serve_open(serve, job, &target))
		return 0;
	if (!hm_serve_snapshot(job, &target, &snapshot)) {
		hm_target_close(&target);
		return 0;
	}
	hm_arena_init(&symbols.arena, SIZE_MAX);
	int error = read_addresses(is_post ? job->request.body : last_of_query(job->request.query), &symbols);
	if (error == 0)
		error = look_up(serve, &target, &snapshot, &symbols);
	if (error == 0)
		error = print_names(&symbols, &text, &text_bytes);
	if (error == 0)
		hm_http_give(&job->answer, "text/plain; charset=utf-8", text, text_bytes);
	else
		hm_http_say(&job->answer, 503, "%s", strerror(-error));
	serve->symbols.note_count = 0;
	hm_arena_done(&symbols.arena);
	hm_snapshot_done(&snapshot);
	hm_target_close(&target);
	return 0;
}
