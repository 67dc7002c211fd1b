// SPDX-License-Identifier: Apache-2.0
#include "tools/perf_map.h"

#include "proto/sort.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	NS_PER_SECOND = 1000000000,
	FILE_BYTES_MAX = 256 << 20,
	LINE_BYTES_MAX = 4096, /* what is longer is a line and its rest, which is none */
	/* Addresses that lines may cover in all; each normally has a few lines in the life of a process. */
	COVERED_MAX = 64 << 20,
};

/* The text for an address, as far as was read. */
struct found {
	long offset; /* of the line in the file, and one more; 0: none */
};

static bool is_the_processs(int descriptor, const struct hm_perf_map_process *process)
{
	struct stat status;

	return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) &&
	       (status.st_uid == process->owner || status.st_uid == 0) &&
	       (uint64_t)status.st_mtim.tv_sec + 1 >= process->start_ns / NS_PER_SECOND;
}

/* In the temporary directory as the process sees it, where it still runs. */
static FILE *open_map(const struct hm_perf_map_process *process)
{
	char path[PATH_MAX];
	int descriptor = -1;

	if (process->pid != 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/root/tmp/perf-%d.map", (int)process->pid,
			       (int)process->inner_pid);
		descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	}
	if (descriptor < 0) {
		(void)snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)process->inner_pid);
		descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	}
	if (descriptor < 0)
		return NULL;

	FILE *const stream = is_the_processs(descriptor, process) ? fdopen(descriptor, "r") : NULL;

	if (stream == NULL)
		(void)close(descriptor);
	return stream;
}

/* "3fe0a1c2e40 120 LazyCompile:~main /app.js:1".  False where it is not such a line. */
static bool parse(char *line, uint64_t *ret_start, uint64_t *ret_end, const char **ret_name)
{
	char *rest = NULL;
	uint64_t size_bytes = 0;

	line[strcspn(line, "\r\n")] = '\0';
	errno = 0;
	*ret_start = strtoull(line, &rest, 16);
	if (rest == line || *rest != ' ')
		return false;
	line = rest + 1;
	size_bytes = strtoull(line, &rest, 16);
	if (rest == line || *rest != ' ' || errno != 0 ||
	    __builtin_add_overflow(*ret_start, size_bytes, ret_end))
		return false;
	*ret_name = rest + 1;
	return rest[1] != '\0';
}

/* One pass; what the lines are called is fetched afterwards, only for those that hold. */
static void find_lines(FILE *stream, const uint64_t *addresses, uint32_t count, struct found *found)
{
	char line[LINE_BYTES_MAX];
	const char *name = NULL;
	uint64_t start = 0;
	uint64_t end = 0;
	uint32_t covered = 0;

	for (long offset = 0; offset < FILE_BYTES_MAX && fgets(line, sizeof(line), stream) != NULL;
	     offset = ftell(stream)) {
		if (!parse(line, &start, &end, &name))
			continue;
		for (uint32_t i = hm_first_from_u64(addresses, count, start); i < count && addresses[i] < end;
		     i++) {
			found[i].offset = offset + 1;
			if (++covered == COVERED_MAX)
				return;
		}
	}
}

static int fetch_name(FILE *stream, struct hm_arena *arena, long offset, struct hm_location_name *ret_name)
{
	char text[LINE_BYTES_MAX];
	const char *name = NULL;
	uint64_t start = 0;
	uint64_t end = 0;

	/* Whoever writes the file may have changed it meanwhile. */
	if (fseek(stream, offset, SEEK_SET) != 0 || fgets(text, sizeof(text), stream) == NULL ||
	    !parse(text, &start, &end, &name))
		return 0;

	struct hm_line *const line = hm_arena_allocate(arena, sizeof(*line));

	if (line == NULL || (line->name = hm_arena_copy_text(arena, name, strlen(name))) == NULL)
		return -ENOMEM;
	line->system_name = line->name;
	*ret_name = (struct hm_location_name){ line, 1, false };
	return 0;
}

int hm_perf_map_name(const struct hm_perf_map_process *process, struct hm_arena *arena,
		     const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names)
{
	FILE *const stream = count > 0 ? open_map(process) : NULL;
	struct found *const found = stream != NULL ? calloc(count, sizeof(*found)) : NULL;
	int error = 0;

	if (stream == NULL)
		return 0;
	if (found == NULL)
		error = -ENOMEM;
	else
		find_lines(stream, addresses, count, found);
	for (uint32_t i = 0; i < count && error == 0; i++) {
		if (found[i].offset == 0)
			continue;
		if (i > 0 && found[i].offset == found[i - 1].offset)
			ret_names[i] = ret_names[i - 1];
		else
			error = fetch_name(stream, arena, found[i].offset - 1, &ret_names[i]);
	}
	free(found);
	(void)fclose(stream);
	return error;
}
