// SPDX-License-Identifier: Apache-2.0
#include "tools/process_usage.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROC_PATH_MAX = 64, COMMAND_BYTES_MAX = 4 << 20 }; /* arguments are at most 1/4 of the stack, 2 MiB */

static FILE *open_of(pid_t pid, const char *name)
{
	char path[PROC_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* The fields of /proc/PID/stat from the third on, which follow the name and its ')'. */
struct stat_fields {
	char state;
	unsigned long long user_ticks;
	unsigned long long system_ticks;
	unsigned long long thread_count;
	unsigned long long start_ticks;
	unsigned long long virtual_bytes;
	unsigned long long resident_pages;
};

static int read_stat(pid_t pid, struct stat_fields *ret_fields)
{
	char text[1024];
	FILE *const stream = open_of(pid, "stat");
	const char *place = NULL;

	if (stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	if (fgets(text, sizeof(text), stream) != NULL)
		place = strrchr(text, ')');
	(void)fclose(stream);
	if (place == NULL)
		return -ESRCH; /* it ended while we looked */

	/* 3 state, 14 utime, 15 stime, 20 threads, 22 start, 23 size, 24 resident: proc(5) */
	const int count = sscanf(place + 1,
				 " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %llu "
				 "%*d %llu %llu %llu",
				 &ret_fields->state, &ret_fields->user_ticks, &ret_fields->system_ticks,
				 &ret_fields->thread_count, &ret_fields->start_ticks,
				 &ret_fields->virtual_bytes, &ret_fields->resident_pages);

	return count == 7 ? 0 : -EBADMSG;
}

/* A process whose first thread has ended and others run shows as a zombie, with its threads. */
static bool has_ended(const struct stat_fields *fields)
{
	return fields->state == 'X' || (fields->state == 'Z' && fields->thread_count <= 1);
}

/* The number behind `key` in /proc/PID/NAME, or in /proc/NAME where pid is 0.  False: not there. */
static bool read_number(pid_t pid, const char *name, const char *key, uint64_t *ret_number)
{
	char line[512];
	FILE *const stream = pid != 0 ? open_of(pid, name) : fopen(name, "re");
	bool found = false;

	while (!found && stream != NULL && fgets(line, sizeof(line), stream) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0) {
			const char *const value = line + strlen(key) + strspn(line + strlen(key), " \t");

			found = isdigit((unsigned char)value[0]) != 0;
			*ret_number = strtoull(value, NULL, 10);
		}
	}
	if (stream != NULL)
		(void)fclose(stream);
	return found;
}

static bool count_files(pid_t pid, uint64_t *ret_count)
{
	char path[PROC_PATH_MAX];
	uint64_t count = 0;
	const struct dirent *entry = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *const stream = opendir(path);

	if (stream == NULL)
		return false;
	while ((entry = readdir(stream)) != NULL)
		count += isdigit((unsigned char)entry->d_name[0]) != 0;
	(void)closedir(stream);
	*ret_count = count;
	return true;
}

/* Mappings that the library has named. */
static uint64_t sum_profiler(pid_t pid)
{
	char *line = NULL;
	size_t line_room = 0;
	uint64_t sum = 0;
	FILE *const stream = open_of(pid, "maps");

	while (stream != NULL && getline(&line, &line_room, stream) >= 0) {
		unsigned long long start = 0;
		unsigned long long end = 0;

		if (strstr(line, "[anon:heapmark") != NULL && sscanf(line, "%llx-%llx", &start, &end) == 2)
			sum += end - start;
	}
	free(line);
	if (stream != NULL)
		(void)fclose(stream);
	return sum;
}

int hm_process_read_usage(pid_t pid, struct hm_process_usage *ret_usage)
{
	const double ticks_per_second = (double)sysconf(_SC_CLK_TCK);
	struct hm_process_usage usage = { 0 };
	struct stat_fields fields = { 0 };
	uint64_t kib = 0;
	uint64_t boot_seconds = 0;
	const int error = read_stat(pid, &fields);

	if (error != 0)
		return error;
	if (has_ended(&fields))
		return -ESRCH;
	usage.resident_bytes = fields.resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
	usage.virtual_bytes = fields.virtual_bytes;
	usage.cpu_seconds = (double)(fields.user_ticks + fields.system_ticks) / ticks_per_second;
	usage.start_ticks = fields.start_ticks;
	usage.thread_count = (uint32_t)fields.thread_count;
	/* VmRSS is exact where the one in stat may lag behind by some pages for each thread */
	if (read_number(pid, "status", "VmRSS:", &kib))
		usage.resident_bytes = kib << 10;
	if (read_number(pid, "status", "VmData:", &kib))
		usage.data_bytes = kib << 10;
	if (read_number(0, "/proc/stat", "btime", &boot_seconds))
		usage.start_seconds = (double)boot_seconds + (double)fields.start_ticks / ticks_per_second;
	usage.profiler_bytes = sum_profiler(pid);
	usage.has_files = count_files(pid, &usage.file_count) &&
			  read_number(pid, "limits", "Max open files", &usage.file_count_max);
	*ret_usage = usage;
	return 0;
}

uint64_t hm_process_start_ticks(pid_t pid)
{
	struct stat_fields fields = { 0 };

	return read_stat(pid, &fields) == 0 && !has_ended(&fields) ? fields.start_ticks : 0;
}

int hm_process_read_command(pid_t pid, char **ret_text, size_t *ret_size_bytes)
{
	FILE *const stream = open_of(pid, "cmdline");
	char *text = NULL;
	size_t size_bytes = 0;
	size_t got = 1;

	if (stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	while (got > 0 && size_bytes < COMMAND_BYTES_MAX) {
		enum { PIECE_BYTES = 4096 };
		char *const more = realloc(text, size_bytes + PIECE_BYTES);

		if (more == NULL)
			break;
		text = more;
		got = fread(text + size_bytes, 1, PIECE_BYTES, stream);
		size_bytes += got;
	}
	(void)fclose(stream);
	if (text == NULL)
		return -ENOMEM;
	while (size_bytes > 0 && text[size_bytes - 1] == '\0')
		size_bytes--;
	*ret_text = text;
	*ret_size_bytes = size_bytes;
	return 0;
}
