// SPDX-License-Identifier: Apache-2.0
#include "tools/mappings.h"

#include "tools/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	PAGE_BYTES = 4096,
	PROC_PATH_MAX = 64,
	OBJECT_MAPPINGS_MAX = 32, /* of one object, from its first one on */
};

/* The whole file, terminated.  The caller frees.  A file of /proc has no length, so it is read to its end. */
static int read_all(const char *path, char **ret_text)
{
	FILE *const stream = fopen(path, "re");
	char *text = NULL;
	size_t room_bytes = 0;
	int error = 0;

	if (stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	errno = 0;
	/* No byte of it is 0, so this is all of it. */
	if (getdelim(&text, &room_bytes, '\0', stream) < 0)
		error = errno != 0 ? -errno : -ESRCH;
	(void)fclose(stream);
	if (error != 0)
		free(text);
	else
		*ret_text = text;
	return error;
}

/* "start-end perms offset major:minor inode   name" */
static bool parse_head(char *line, struct hm_mapping *ret_mapping)
{
	char permissions[5];
	int name_at = 0;
	struct hm_mapping mapping = { 0 };

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64 " %n", &mapping.start_address,
		   &mapping.end_address, permissions, &mapping.file_offset, &mapping.inode, &name_at) != 5 ||
	    name_at == 0 || mapping.start_address >= mapping.end_address)
		return false;
	mapping.readable = permissions[0] == 'r';
	mapping.writable = permissions[1] == 'w';
	mapping.executable = permissions[2] == 'x';
	mapping.name = line + name_at;
	*ret_mapping = mapping;
	return true;
}

/* "Rss:      8 kB"; false where the line is of another key. */
static bool parse_size(const char *line, const char *key, uint64_t *ret_bytes)
{
	const size_t length = strlen(key);

	if (strncmp(line, key, length) != 0)
		return false;
	*ret_bytes = strtoull(line + length, NULL, 10) << 10;
	return true;
}

/* Any other line of smaps. */
static void parse_detail(const char *line, struct hm_mapping *mapping)
{
	if (parse_size(line, "Rss:", &mapping->resident_bytes) ||
	    parse_size(line, "Swap:", &mapping->swapped_bytes) ||
	    parse_size(line, "AnonHugePages:", &mapping->huge_bytes) ||
	    strncmp(line, "VmFlags:", strlen("VmFlags:")) != 0)
		return;
	mapping->no_reserve = strstr(line, " nr ") != NULL;
	mapping->is_locked = strstr(line, " lo ") != NULL;
}

static void add(struct hm_mappings *mappings, size_t *room, const struct hm_mapping *mapping)
{
	if (mappings->count == *room) {
		*room = *room != 0 ? 2 * *room : 256;
		mappings->entries = reallocarray(mappings->entries, *room, sizeof(mappings->entries[0]));
		if (mappings->entries == NULL)
			abort();
	}
	mappings->entries[mappings->count++] = *mapping;
}

void hm_mappings_parse(char *text, struct hm_mappings *ret_mappings)
{
	struct hm_mappings mappings = { .text = text };
	size_t room = 0;
	char *rest = text;
	char *line = NULL;

	while ((line = strsep(&rest, "\n")) != NULL) {
		struct hm_mapping head;
		struct hm_mapping *const last =
			mappings.count != 0 ? &mappings.entries[mappings.count - 1] : NULL;

		if (parse_head(line, &head)) {
			/* One that changed while the file was read may be told of twice. */
			if (last == NULL || head.start_address >= last->end_address)
				add(&mappings, &room, &head);
		} else if (last != NULL) {
			parse_detail(line, last);
		}
	}
	for (size_t i = 0; i < mappings.count; i++) {
		mappings.resident_bytes += mappings.entries[i].resident_bytes;
		mappings.swapped_bytes += mappings.entries[i].swapped_bytes;
	}
	*ret_mappings = mappings;
}

int hm_mappings_read(pid_t pid, bool with_residency, struct hm_mappings *ret_mappings)
{
	char path[PROC_PATH_MAX];
	char *text = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)hm_process_running_thread(pid),
		       with_residency ? "smaps" : "maps");

	const int error = read_all(path, &text);

	if (error == 0)
		hm_mappings_parse(text, ret_mappings);
	return error;
}

void hm_mappings_done(struct hm_mappings *mappings)
{
	free(mappings->entries);
	free(mappings->text);
	*mappings = (struct hm_mappings){ 0 };
}

const struct hm_mapping *hm_mappings_find(const struct hm_mappings *mappings, uint64_t address)
{
	size_t low = 0;
	size_t high = mappings->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (mappings->entries[middle].end_address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < mappings->count && mappings->entries[low].start_address <= address
		       ? &mappings->entries[low]
		       : NULL;
}

const struct hm_mapping *hm_mappings_head_of(const struct hm_mappings *mappings,
					     const struct hm_mapping *mapping)
{
	/* Anonymous memory of the object may lie in between, and what was mapped over a part of it. */
	for (const struct hm_mapping *head = mapping;; head--) {
		if (head->file_offset == 0 && head->inode == mapping->inode &&
		    strcmp(head->name, mapping->name) == 0)
			return head;
		if (head == mappings->entries || mapping - head >= OBJECT_MAPPINGS_MAX)
			return NULL;
	}
}

bool hm_mapping_is_anonymous(const struct hm_mapping *mapping)
{
	return mapping->inode == 0 &&
	       (mapping->name[0] == '\0' || strncmp(mapping->name, "[anon", strlen("[anon")) == 0);
}

bool hm_mapping_is_accessible(const struct hm_mapping *mapping)
{
	return mapping->readable || mapping->writable || mapping->executable;
}

int hm_pages_open(pid_t pid, struct hm_pages *ret_pages)
{
	char path[PROC_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)hm_process_running_thread(pid));
	ret_pages->descriptor = open(path, O_RDONLY | O_CLOEXEC);
	return ret_pages->descriptor >= 0 ? 0 : -errno;
}

void hm_pages_close(struct hm_pages *pages)
{
	if (pages->descriptor >= 0)
		(void)close(pages->descriptor);
	pages->descriptor = -1;
}

uint64_t hm_pages_resident(const struct hm_pages *pages, uint64_t start_address, uint64_t end_address)
{
	enum { ENTRIES = 4096 };
	const uint64_t present = UINT64_C(1) << 63; /* Documentation/admin-guide/mm/pagemap.rst */
	uint64_t entries[ENTRIES];
	uint64_t page = start_address / PAGE_BYTES;
	const uint64_t end = end_address / PAGE_BYTES + (end_address % PAGE_BYTES != 0);
	uint64_t count = 0;

	while (page < end) {
		const uint64_t rest = end - page;
		const size_t bytes = (rest < ENTRIES ? (size_t)rest : ENTRIES) * sizeof(entries[0]);
		const ssize_t size =
			pread(pages->descriptor, entries, bytes, (off_t)(page * sizeof(entries[0])));

		if (size < (ssize_t)sizeof(entries[0]))
			break;
		for (size_t i = 0; i < (size_t)size / sizeof(entries[0]); i++)
			count += (entries[i] & present) != 0;
		page += (uint64_t)size / sizeof(entries[0]);
	}
	return count * PAGE_BYTES;
}
