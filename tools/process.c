// SPDX-License-Identifier: Apache-2.0
#include "tools/process.h"

#include "proto/ledger.h"
#include "tools/library.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEDGER_SUFFIX  ".ledger"
#define DELETED_SUFFIX " (deleted)"

enum { PROC_PATH_MAX = 64 };

/* One line of /proc/PID/maps that has a file. */
struct mapping {
	char range[40]; /* "start-end", the name of its entry in map_files */
	uint64_t inode;
	char path[PATH_MAX]; /* DELETED_SUFFIX taken off */
};

struct map_reader {
	FILE *stream; /* owned */
	char *line;   /* owned; getline's */
	size_t line_room_bytes;
};

static bool ends_with(const char *text, const char *suffix)
{
	const size_t text_length = strlen(text);
	const size_t suffix_length = strlen(suffix);

	return text_length >= suffix_length && strcmp(text + text_length - suffix_length, suffix) == 0;
}

static const char *base_name(const char *path)
{
	const char *const slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static bool is_zombie(pid_t pid)
{
	char path[PROC_PATH_MAX];
	char text[512];
	const char *state = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *const stream = fopen(path, "re");

	if (stream == NULL)
		return false;
	if (fgets(text, sizeof(text), stream) != NULL)
		state = strrchr(text, ')'); /* "PID (NAME) STATE ...", and a name may hold anything */
	(void)fclose(stream);
	return state != NULL && (state[2] == 'Z' || state[2] == 'X');
}

pid_t hm_process_running_thread(pid_t pid)
{
	char path[PROC_PATH_MAX];
	const struct dirent *entry = NULL;
	pid_t thread = pid;

	if (!is_zombie(pid))
		return pid;
	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *const stream = opendir(path);

	while (stream != NULL && thread == pid && (entry = readdir(stream)) != NULL) {
		const pid_t candidate = atoi(entry->d_name);

		if (candidate > 0 && !is_zombie(candidate))
			thread = candidate;
	}
	if (stream != NULL)
		(void)closedir(stream);
	return thread;
}

static int maps_open(pid_t pid, struct map_reader *ret_reader)
{
	char path[PROC_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	*ret_reader = (struct map_reader){ .stream = fopen(path, "re") };
	if (ret_reader->stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	return 0;
}

static void maps_close(struct map_reader *reader)
{
	free(reader->line);
	(void)fclose(reader->stream);
}

/* A newline in a path is written "\012" by the kernel; nothing else is changed. */
static void unescape_newlines(char *path)
{
	char *to = path;

	for (const char *from = path; *from != '\0'; to++) {
		if (strncmp(from, "\\012", 4) == 0) {
			*to = '\n';
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool parse_mapping(char *line, struct mapping *ret_mapping)
{
	unsigned long long inode = 0;
	int path_at = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%39s %*s %*s %*s %llu %n", ret_mapping->range, &inode, &path_at) != 2 ||
	    path_at == 0 || line[path_at] != '/' || strlen(line + path_at) >= sizeof(ret_mapping->path))
		return false;
	ret_mapping->inode = inode;
	strcpy(ret_mapping->path, line + path_at);
	if (ends_with(ret_mapping->path, DELETED_SUFFIX))
		ret_mapping->path[strlen(ret_mapping->path) - strlen(DELETED_SUFFIX)] = '\0';
	unescape_newlines(ret_mapping->path);
	return true;
}

/* The next mapping of a file.  Returns 1, 0 at the end, or a negative errno. */
static int maps_next(struct map_reader *reader, struct mapping *ret_mapping)
{
	errno = 0;
	while (getline(&reader->line, &reader->line_room_bytes, reader->stream) >= 0)
		if (parse_mapping(reader->line, ret_mapping))
			return 1;
	return -errno; /* a process that ended reads as empty, one that is not ours to look at is refused
			  here or at open */
}

/* What follows `key` on its line of /proc/PID/status.  Returns 0 or a negative errno. */
static int read_status(pid_t pid, const char *key, char *ret_value, size_t value_bytes)
{
	char path[PROC_PATH_MAX];
	char line[256];
	int error = -ENODATA;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *const stream = fopen(path, "re");

	if (stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	while (error != 0 && fgets(line, sizeof(line), stream) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0) {
			(void)snprintf(ret_value, value_bytes, "%s", line + strlen(key));
			error = 0;
		}
	}
	(void)fclose(stream);
	return error;
}

/* The number of a process in its own pid namespace: the last on the line.  0: unknown. */
static pid_t inner_pid_of(pid_t pid)
{
	char value[128];

	return read_status(pid, "NSpid:", value, sizeof(value)) == 0 ? atoi(strrchr(value, '\t') + 1) : 0;
}

pid_t hm_process_parent(pid_t pid)
{
	char value[128];

	return read_status(pid, "PPid:", value, sizeof(value)) == 0 ? atoi(value) : 0;
}

int hm_process_read_memory(pid_t pid, struct hm_process_memory *ret_memory)
{
	char resident[128];
	char peak[128];
	int error = read_status(pid, "VmRSS:", resident, sizeof(resident));

	if (error == 0)
		error = read_status(pid, "VmHWM:", peak, sizeof(peak));
	if (error == 0)
		*ret_memory = (struct hm_process_memory){
			.resident_bytes = strtoull(resident, NULL, 10) << 10, /* the kernel says kB */
			.peak_bytes = strtoull(peak, NULL, 10) << 10,
		};
	return error;
}

/* Opens `path` where it is the mapped file and not one that has taken its place. */
static int open_if_mapped(const char *path, const struct mapping *mapping)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;

	if (descriptor < 0)
		return -errno;
	if (fstat(descriptor, &status) == 0 && status.st_ino == mapping->inode && S_ISREG(status.st_mode))
		return descriptor;
	(void)close(descriptor);
	return -ESTALE;
}

/* By a descriptor that the process still has: needs no path, and no privilege as map_files does. */
static int open_by_descriptor(pid_t pid, const struct mapping *mapping)
{
	char directory[PROC_PATH_MAX];
	char path[PROC_PATH_MAX + sizeof(((struct dirent *)NULL)->d_name)];
	const struct dirent *entry = NULL;
	int descriptor = -ENOENT;

	(void)snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)pid);
	DIR *const stream = opendir(directory);

	if (stream == NULL)
		return -errno;
	while (descriptor < 0 && (entry = readdir(stream)) != NULL) {
		struct stat status;

		(void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		/* stat before open: opening somebody's pipe or device could do something to him */
		if (isdigit((unsigned char)entry->d_name[0]) && stat(path, &status) == 0 &&
		    S_ISREG(status.st_mode) && status.st_ino == mapping->inode)
			descriptor = open_if_mapped(path, mapping);
	}
	(void)closedir(stream);
	return descriptor;
}

static bool is_refused(int error)
{
	return error == -EACCES || error == -EPERM;
}

/* That one way is refused is what the user has to know, whatever is said of the others. */
static int open_mapped(pid_t pid, const struct mapping *mapping)
{
	char path[PROC_PATH_MAX + PATH_MAX];
	bool was_refused = false;
	int descriptor = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, mapping->path);
	descriptor = open_if_mapped(path, mapping);
	was_refused |= is_refused(descriptor);
	if (descriptor < 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/map_files/%s", (int)pid, mapping->range);
		descriptor = open_if_mapped(path, mapping);
		was_refused |= is_refused(descriptor);
	}
	if (descriptor < 0)
		descriptor = open_by_descriptor(pid, mapping);
	if (descriptor >= 0)
		return descriptor;
	return was_refused || is_refused(descriptor) ? -EACCES : -ENODATA;
}

/* A fork child that has sampled nothing yet may still have its parent's ledger mapped. */
static bool is_ledger_of(int descriptor, pid_t inner_pid)
{
	char magic[sizeof(((struct hm_ledger_header *)NULL)->magic)];
	uint32_t pid = 0;

	return pread(descriptor, magic, sizeof(magic), offsetof(struct hm_ledger_header, magic)) ==
		       sizeof(magic) &&
	       memcmp(magic, HM_LEDGER_MAGIC, sizeof(magic)) == 0 &&
	       pread(descriptor, &pid, sizeof(pid), offsetof(struct hm_ledger_header, pid)) == sizeof(pid) &&
	       (pid_t)pid == inner_pid;
}

int hm_process_open_ledger(pid_t pid, struct hm_process_ledger *ret_ledger)
{
	struct map_reader reader;
	struct mapping mapping;
	bool has_library = false;
	bool has_files = false;
	int descriptor = -ENODATA;
	const pid_t inner_pid = inner_pid_of(pid);
	const pid_t thread = hm_process_running_thread(pid);
	int error = maps_open(thread, &reader);

	if (error != 0)
		return error;

	while (descriptor < 0 && (error = maps_next(&reader, &mapping)) > 0) {
		has_files = true;
		has_library |= strcmp(base_name(mapping.path), HM_LIBRARY_NAME) == 0;
		if (!ends_with(mapping.path, LEDGER_SUFFIX))
			continue;
		descriptor = open_mapped(thread, &mapping);
		if (descriptor >= 0 && !is_ledger_of(descriptor, inner_pid)) {
			(void)close(descriptor);
			descriptor = -ENODATA;
		}
	}
	maps_close(&reader);
	if (descriptor >= 0) {
		ret_ledger->descriptor = descriptor;
		strcpy(ret_ledger->path, mapping.path);
		return 0;
	}
	if (error < 0)
		return error;
	if (!has_files)
		return -ESRCH; /* a zombie, or a thread of the kernel */
	return has_library ? descriptor : -ENOENT;
}

static bool has_mapped(pid_t pid, const char *name, uint64_t inode)
{
	struct map_reader reader;
	struct mapping mapping = { 0 };
	bool found = false;

	if (maps_open(hm_process_running_thread(pid), &reader) != 0)
		return false;
	while (!found && maps_next(&reader, &mapping) > 0)
		found = mapping.inode == inode && strcmp(base_name(mapping.path), name) == 0;
	maps_close(&reader);
	return found;
}

static void list_add(struct hm_process_list *list, pid_t pid, pid_t inner_pid)
{
	struct hm_process_inner *const entries =
		realloc(list->entries, (list->count + 1) * sizeof(list->entries[0]));

	if (entries == NULL)
		abort();
	entries[list->count] = (struct hm_process_inner){ .pid = pid, .inner_pid = inner_pid };
	list->entries = entries;
	list->count++;
}

void hm_process_list_init(struct hm_process_list *ret_list)
{
	DIR *const stream = opendir("/proc");
	const struct dirent *entry = NULL;

	*ret_list = (struct hm_process_list){ 0 };
	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		const pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
		const pid_t inner_pid = pid != 0 ? inner_pid_of(pid) : 0;

		if (inner_pid != 0 && inner_pid != pid)
			list_add(ret_list, pid, inner_pid);
	}
	if (stream != NULL)
		(void)closedir(stream);
}

void hm_process_list_done(struct hm_process_list *list)
{
	free(list->entries);
	*list = (struct hm_process_list){ 0 };
}

pid_t hm_process_of_ledger(const struct hm_process_list *list, pid_t ledger_pid, const char *ledger_name,
			   uint64_t inode)
{
	if (inner_pid_of(ledger_pid) == ledger_pid && has_mapped(ledger_pid, ledger_name, inode))
		return ledger_pid;
	for (size_t i = 0; i < list->count; i++)
		if (list->entries[i].inner_pid == ledger_pid &&
		    has_mapped(list->entries[i].pid, ledger_name, inode))
			return list->entries[i].pid;
	return 0;
}
