// SPDX-License-Identifier: Apache-2.0
#include "tools/process_names.h"

#include "proto/elf_symbols.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

enum way { WAY_ROOT, WAY_EXE, WAY_MAP_FILES, WAY_PLAIN, WAYS };

/* False where there is no such way to the module's file. */
static bool make_path(enum way way, pid_t pid, const struct hm_snapshot_module *module,
		      char path[HM_PROCESS_PATH_BYTES])
{
	switch (way) {
	case WAY_ROOT:
		(void)snprintf(path, HM_PROCESS_PATH_BYTES, "/proc/%d/root%s", (int)pid, module->path);
		return pid != 0 && module->path[0] == '/';
	case WAY_EXE:
		(void)snprintf(path, HM_PROCESS_PATH_BYTES, "/proc/%d/exe", (int)pid);
		return pid != 0 && (module->flags & HM_MODULE_MAIN) != 0;
	case WAY_MAP_FILES:
		(void)snprintf(path, HM_PROCESS_PATH_BYTES, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64,
			       (int)pid, module->start_address, module->end_address);
		return pid != 0 && module->path[0] == '/';
	default:
		(void)snprintf(path, HM_PROCESS_PATH_BYTES, "%s", module->path);
		return true;
	}
}

/* Each try names every address anew, with placeholders at least; the last one stands. */
int hm_process_names(pid_t pid, struct hm_arena *arena, const struct hm_snapshot_module *module,
		     const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		     enum hm_names_outcome *ret_outcome, char ret_path[HM_PROCESS_PATH_BYTES])
{
	/* That a file was replaced says more than that another way led nowhere. */
	enum hm_names_outcome told = HM_NAMES_NO_FILE;
	int error = 0;

	for (enum way way = WAY_ROOT; way < WAYS && error == 0; way++) {
		if (!make_path(way, pid, module, ret_path))
			continue;
		error = hm_elf_resolve_at(ret_path, arena, module, addresses, count, ret_names, ret_outcome);
		if (error == 0 && *ret_outcome == HM_NAMES_FOUND)
			return 0;
		if (*ret_outcome != HM_NAMES_NO_FILE)
			told = *ret_outcome;
	}
	ret_path[0] = '\0';
	*ret_outcome = told;
	return error;
}
