// SPDX-License-Identifier: Apache-2.0
#include "tools/thread_names.h"

#include "tools/remote_elf.h"
#include "tools/thread_stop.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a;
	const uint64_t right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static int collect(const struct hm_threads *threads, struct hm_thread_names *names)
{
	size_t room = 0;
	uint32_t kept = 0;

	for (size_t i = 0; i < threads->count; i++)
		room += threads->entries[i].frame_count;
	names->addresses = hm_arena_allocate_array(&names->arena, room + 1, sizeof(names->addresses[0]));
	names->names = hm_arena_allocate_array(&names->arena, room + 1, sizeof(names->names[0]));
	if (names->addresses == NULL || names->names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < threads->count; i++)
		for (uint32_t k = 0; k < threads->entries[i].frame_count; k++)
			names->addresses[names->count++] = threads->entries[i].frames[k];
	qsort(names->addresses, names->count, sizeof(names->addresses[0]), compare_numbers);
	for (uint32_t i = 0; i < names->count; i++)
		if (kept == 0 || names->addresses[kept - 1] != names->addresses[i])
			names->addresses[kept++] = names->addresses[i];
	names->count = kept;
	for (uint32_t i = 0; i < names->count; i++)
		names->names[i] = (struct hm_thread_name){ .path = "", .file_offset = names->addresses[i] };
	return 0;
}

/* The path as the process sees it, without what the kernel adds to one that is deleted. */
static const char *path_of(struct hm_arena *arena, const struct hm_mapping *mapping)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(mapping->name);

	if (length > strlen(deleted) && strcmp(mapping->name + length - strlen(deleted), deleted) == 0)
		length -= strlen(deleted);

	char *const path = hm_arena_allocate_array(arena, length + 1, 1);

	if (path != NULL) {
		memcpy(path, mapping->name, length);
		path[length] = '\0';
	}
	return path;
}

static bool is_executable_of(pid_t pid, const char *path)
{
	char link[64];
	char target[PATH_MAX];

	(void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);

	const ssize_t length = readlink(link, target, sizeof(target) - 1);

	if (length < 0)
		return false;
	target[length] = '\0';
	return strcmp(target, path) == 0;
}

static bool read_process(void *context, uint64_t address, void *ret_bytes, size_t size_bytes)
{
	const pid_t *const pid = context;

	return hm_thread_read_memory(*pid, address, ret_bytes, size_bytes) == size_bytes;
}

/* By the head of the object in memory, where it can be read; else as most objects are laid out. */
static struct hm_snapshot_module module_of(pid_t pid, const struct hm_mappings *mappings,
					   const struct hm_mapping *mapping, const char *path)
{
	const struct hm_mapping *const head = hm_mappings_head_of(mappings, mapping);
	struct hm_snapshot_module module = {
		.flags = is_executable_of(pid, path) ? HM_MODULE_MAIN : 0,
		.start_address = mapping->start_address,
		.end_address = mapping->end_address,
		.file_offset = mapping->file_offset,
		.load_bias = mapping->start_address - mapping->file_offset,
		.path = path,
	};
	struct hm_remote_elf elf;

	if (head == NULL || !hm_remote_elf_read(read_process, &pid, head->start_address, &elf))
		return module;
	module.load_bias = elf.load_bias;
	module.build_id_size = elf.build_id_size;
	memcpy(module.build_id, elf.build_id, elf.build_id_size);
	return module;
}

/* Names `count` addresses from `first` on, which lie in one mapping of a file. */
static int name_mapping(pid_t pid, const struct hm_mappings *mappings, const struct hm_mapping *mapping,
			const struct hm_resolver *resolver, struct hm_thread_names *names, uint32_t first,
			uint32_t count)
{
	const char *const path = path_of(&names->arena, mapping);
	struct hm_location_name *const found =
		hm_arena_allocate_array(&names->arena, count, sizeof(found[0]));
	enum hm_names_outcome outcome = HM_NAMES_NO_FILE;

	if (path == NULL || found == NULL)
		return -ENOMEM;

	const struct hm_snapshot_module module = module_of(pid, mappings, mapping, path);
	const int error = resolver->resolve(resolver->context, &names->arena, &module,
					    names->addresses + first, count, found, &outcome);

	for (uint32_t i = 0; i < count && error == 0; i++)
		names->names[first + i] = (struct hm_thread_name){
			.name = found[i],
			.path = path,
			.file_offset =
				names->addresses[first + i] - mapping->start_address + mapping->file_offset,
		};
	return error;
}

/* Code made at run time: as far as the program has told. */
static int name_elsewhere(const struct hm_resolver *resolver, struct hm_thread_names *names, uint32_t first,
			  uint32_t count)
{
	struct hm_location_name *const found =
		hm_arena_allocate_array(&names->arena, count, sizeof(found[0]));

	if (found == NULL)
		return -ENOMEM;
	memset(found, 0, count * sizeof(found[0]));

	const int error = resolver->resolve_elsewhere != NULL
				  ? resolver->resolve_elsewhere(resolver->context, &names->arena,
								names->addresses + first, count, found)
				  : 0;

	for (uint32_t i = 0; i < count && error == 0; i++)
		names->names[first + i].name = found[i];
	return error;
}

static int name_all(pid_t pid, const struct hm_mappings *mappings, const struct hm_resolver *resolver,
		    struct hm_thread_names *names)
{
	int error = 0;

	for (uint32_t first = 0, end = 0; first < names->count && error == 0; first = end) {
		const struct hm_mapping *const mapping = hm_mappings_find(mappings, names->addresses[first]);

		for (end = first + 1; end < names->count; end++)
			if (hm_mappings_find(mappings, names->addresses[end]) != mapping)
				break;
		error = mapping != NULL && mapping->name[0] == '/'
				? name_mapping(pid, mappings, mapping, resolver, names, first, end - first)
				: name_elsewhere(resolver, names, first, end - first);
	}
	return error;
}

int hm_thread_names_init(pid_t pid, const struct hm_mappings *mappings, const struct hm_threads *threads,
			 struct hm_symbols *symbols, struct hm_thread_names *ret_names)
{
	struct hm_perf_map_process process = { .pid = pid, .inner_pid = pid, .owner = geteuid() };
	struct hm_thread_names names = { 0 };
	struct stat status;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &status) == 0)
		process.owner = status.st_uid;
	hm_symbols_begin(symbols, &process);

	hm_arena_init(&names.arena, SIZE_MAX);

	const struct hm_resolver resolver = hm_symbols_resolver(symbols);
	int error = collect(threads, &names);

	if (error == 0)
		error = name_all(pid, mappings, &resolver, &names);
	if (error != 0)
		hm_thread_names_done(&names);
	else
		*ret_names = names;
	return error;
}

void hm_thread_names_done(struct hm_thread_names *names)
{
	hm_arena_done(&names->arena);
	*names = (struct hm_thread_names){ 0 };
}

const struct hm_thread_name *hm_thread_names_find(const struct hm_thread_names *names, uint64_t address)
{
	const uint64_t *const found = names->count == 0
					      ? NULL
					      : bsearch(&address, names->addresses, names->count,
							sizeof(names->addresses[0]), compare_numbers);

	return found != NULL ? &names->names[found - names->addresses] : NULL;
}
