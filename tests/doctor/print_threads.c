// SPDX-License-Identifier: Apache-2.0
/* print_threads PID: the page of threads, as the server shows it. */
#include "tools/mappings.h"
#include "tools/symbols.h"
#include "tools/thread_names.h"
#include "tools/thread_report.h"
#include "tools/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const pid_t pid = argc == 2 ? atoi(argv[1]) : 0;
	struct hm_mappings mappings = { 0 };
	struct hm_threads threads = { 0 };
	struct hm_thread_names names = { 0 };
	struct hm_symbols symbols;
	const bool has_mappings = hm_mappings_read(pid, false, &mappings) == 0;
	int error = hm_threads_read(pid, has_mappings ? &mappings : NULL, &threads);

	hm_symbols_init(&symbols);
	if (error == 0)
		error = hm_thread_names_init(pid, &mappings, &threads, &symbols, &names);
	if (error == 0)
		hm_threads_print(stdout, &threads, &names);
	else
		fprintf(stderr, "%s\n", strerror(-error));
	hm_thread_names_done(&names);
	hm_symbols_done(&symbols);
	hm_threads_done(&threads);
	hm_mappings_done(&mappings);
	return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
