// SPDX-License-Identifier: Apache-2.0
#include "tools/process_names.h"

#include "proto/elf_symbols.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Each try names every address anew, with placeholders at least; the last one stands. */
static int resolve(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
		   const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		   enum hm_names_outcome *ret_outcome)
{
	const pid_t *const pid = context;
	char path[PATH_MAX + 32];
	int error = 0;

	*ret_outcome = HM_NAMES_NO_FILE;
	if (module->path[0] == '/') {
		(void)snprintf(path, sizeof(path), "/proc/%d/root%s", (int)*pid, module->path);
		error = hm_elf_resolve_at(path, arena, module, addresses, count, ret_names, ret_outcome);
	}
	if (error == 0 && *ret_outcome != HM_NAMES_FOUND && (module->flags & HM_MODULE_MAIN) != 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)*pid);
		error = hm_elf_resolve_at(path, arena, module, addresses, count, ret_names, ret_outcome);
	}
	if (error == 0 && *ret_outcome != HM_NAMES_FOUND)
		error = hm_elf_resolve_at(module->path, arena, module, addresses, count, ret_names,
					  ret_outcome);
	return error;
}

struct hm_resolver hm_process_resolver(pid_t *pid)
{
	return (struct hm_resolver){ .resolve = resolve, .context = pid };
}
