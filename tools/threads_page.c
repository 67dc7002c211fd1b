// SPDX-License-Identifier: Apache-2.0
#include "tools/threads_page.h"

#include "tools/mappings.h"
#include "tools/thread_names.h"
#include "tools/thread_report.h"
#include "tools/threads.h"

int hm_threads_page_print(pid_t pid, struct hm_symbols *symbols, FILE *stream)
{
	struct hm_mappings mappings = { 0 };
	struct hm_threads threads = { 0 };
	struct hm_thread_names names = { 0 };
	/* Without the right to look at its memory there are names and states, and the page says so. */
	const bool has_mappings = hm_mappings_read(pid, false, &mappings) == 0;
	int error = hm_threads_read(pid, has_mappings ? &mappings : NULL, &threads);

	if (error == 0)
		error = hm_thread_names_init(pid, &mappings, &threads, symbols, &names);
	if (error == 0)
		hm_threads_print(stream, &threads, &names);
	hm_thread_names_done(&names);
	hm_threads_done(&threads);
	hm_mappings_done(&mappings);
	return error;
}
