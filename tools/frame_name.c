// SPDX-License-Identifier: Apache-2.0
#include "tools/frame_name.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hm_frame_base_name(const char *path)
{
	const char *const slash = memrchr(path, '/', strnlen(path, PATH_MAX));

	return slash != NULL ? slash + 1 : path;
}

char *hm_frame_module_name(const struct hm_profile *profile, uint32_t mapping)
{
	const char *const file =
		mapping != HM_PROFILE_NONE
			? hm_frame_base_name(hm_profile_string(profile, profile->mappings[mapping].file))
			: "";
	char *name = NULL;

	if (file[0] == '\0' || file[0] == '[')
		name = strndup(file[0] == '\0' ? "<unknown>" : file, HM_FRAME_NAME_BYTES_MAX);
	else if (asprintf(&name, "[%.*s]", HM_FRAME_NAME_BYTES_MAX, file) < 0)
		name = NULL;
	if (name == NULL)
		abort();
	return name;
}
