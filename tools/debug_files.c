// SPDX-License-Identifier: Apache-2.0
#include "tools/debug_files.h"

#include <assert.h>
#include <dlfcn.h>
#include <elfutils/debuginfod.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WAITING_SECONDS_MAX = 15, /* for a server that sends nothing */
	PATH_BYTES = PATH_MAX + 64,
};

static const char debug_root[] = "/usr/lib/debug";

/*
 * libdebuginfod, where it is installed: it brings curl and all that hangs on it, which nobody without servers
 * needs.
 */
struct client_library {
	debuginfod_client *(*begin)(void);
	void (*end)(debuginfod_client *client);
	int (*find_debuginfo)(debuginfod_client *client, const unsigned char *build_id, int build_id_bytes,
			      char **path);
	void (*set_progress)(debuginfod_client *client, debuginfod_progressfn_t function);
	void (*set_user_data)(debuginfod_client *client, void *data);
	void *(*get_user_data)(debuginfod_client *client);
};

static struct client_library library; /* filled at the first download of the process */

static bool load_library(void)
{
	static const char *const names[] = { "debuginfod_begin",          "debuginfod_end",
					     "debuginfod_find_debuginfo", "debuginfod_set_progressfn",
					     "debuginfod_set_user_data",  "debuginfod_get_user_data" };
	void *functions[sizeof(names) / sizeof(names[0])];
	void *const handle = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);

	static_assert(sizeof(library) == sizeof(functions), "one name for each function");
	if (handle == NULL)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		functions[i] = dlsym(handle, names[i]);
		if (functions[i] == NULL)
			return false;
	}
	memcpy(&library, functions, sizeof(library));
	return true;
}

static time_t now_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/*
 * Called once a second at least.  Returns 0 to go on.  A server that keeps us waiting longer than anybody
 * wants to sit there is given up; one that sends is not, however slow: it is shown how far it is.
 */
static int progress(debuginfod_client *client, long done, long total)
{
	struct hm_debug_files *const files = library.get_user_data(client);
	/* Without a total, `done` counts nothing but the calls. */
	const uint64_t total_bytes = total > 0 ? (uint64_t)total : 0;
	const uint64_t done_bytes = total > 0 && done > 0 ? (uint64_t)done : 0;

	if (done_bytes > files->last_done_bytes)
		files->waiting_since = now_seconds();
	files->last_done_bytes = done_bytes;
	if (files->wanted->downloading != NULL)
		files->wanted->downloading(files->wanted->context, done_bytes, total_bytes);
	/* The library then says that there is no such file. */
	files->server_failed = now_seconds() - files->waiting_since > WAITING_SECONDS_MAX;
	return files->server_failed;
}

/* Returns a descriptor, and the path in *ret_path (to be freed), or a negative errno. */
static int download(struct hm_debug_files *files, char **ret_path)
{
	const struct hm_debug_wanted *const wanted = files->wanted;
	int descriptor = -ENOENT;

	if (!wanted->may_download || wanted->build_id_bytes == 0 || files->server_failed)
		return -ENOENT;
	if (library.begin == NULL && !load_library())
		return -ENOSYS;

	debuginfod_client *const client = library.begin();

	if (client == NULL)
		return -ENOMEM;
	library.set_user_data(client, files);
	library.set_progress(client, progress);
	files->waiting_since = now_seconds();
	files->last_done_bytes = 0;
	descriptor = library.find_debuginfo(client, wanted->build_id, (int)wanted->build_id_bytes, ret_path);
	library.end(client);
	/* A server that has never heard of the file has answered. */
	files->server_failed |= descriptor < 0 && descriptor != -ENOENT;
	return descriptor;
}

/* Without the servers: elfutils would ask them in its own way, out of our sight. */
static int find_locally(Dwfl_Module *module, void **user_data, const char *module_name, Dwarf_Addr base,
			const char *file_name, const char *link_file, GElf_Word link_checksum,
			char **ret_path)
{
	static const char variable[] = "DEBUGINFOD_URLS";
	const char *const value = getenv(variable);
	char *const urls = value != NULL ? strdup(value) : NULL;

	(void)unsetenv(variable);
	const int descriptor = dwfl_standard_find_debuginfo(module, user_data, module_name, base, file_name,
							    link_file, link_checksum, ret_path);
	if (urls != NULL)
		(void)setenv(variable, urls, 1);
	free(urls);
	return descriptor;
}

static int find_debuginfo(Dwfl_Module *module, void **user_data, const char *module_name, Dwarf_Addr base,
			  const char *file_name, const char *link_file, GElf_Word link_checksum,
			  char **ret_path)
{
	struct hm_debug_files *const files = *user_data;
	/* What dwz has split off is asked for under a build id that only elfutils knows. */
	const bool is_alternate = link_file != NULL && link_checksum == 0;

	if (files == NULL || (is_alternate && files->wanted->may_download && !files->server_failed))
		return dwfl_standard_find_debuginfo(module, user_data, module_name, base, file_name,
						    link_file, link_checksum, ret_path);
	const int descriptor = find_locally(module, user_data, module_name, base, file_name, link_file,
					    link_checksum, ret_path);
	if (descriptor >= 0 || is_alternate)
		return descriptor;

	const int downloaded = download(files, ret_path);

	return downloaded >= 0 ? downloaded : -1;
}

/* "/usr/lib/debug/.build-id/ab/cdef.debug" below a root.  False where that is no path. */
static bool make_build_id_path(const struct hm_debug_wanted *wanted, const char *root, char path[PATH_BYTES])
{
	int length = snprintf(path, PATH_BYTES, "%s%s/.build-id/", root, debug_root);

	if (wanted->build_id_bytes < 2 || length < 0 ||
	    (size_t)length + 2 * wanted->build_id_bytes + sizeof("/.debug") > PATH_BYTES)
		return false;
	for (size_t i = 0; i < wanted->build_id_bytes; i++)
		length += snprintf(path + length, PATH_BYTES - (size_t)length, "%02x%s", wanted->build_id[i],
				   i == 0 ? "/" : "");
	(void)snprintf(path + length, PATH_BYTES - (size_t)length, ".debug");
	return true;
}

/* Returns a descriptor of a regular file, or -1.  Whatever has the name now may be a pipe. */
static int open_regular(const char *path)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;

	if (descriptor >= 0 && (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode))) {
		(void)close(descriptor);
		return -1;
	}
	return descriptor;
}

static bool has_build_id(Dwfl_Module *module, const struct hm_debug_wanted *wanted)
{
	const unsigned char *build_id = NULL;
	GElf_Addr address = 0;
	int size_bytes = 0;

	if (wanted->build_id_bytes == 0)
		return true;
	size_bytes = dwfl_module_build_id(module, &build_id, &address);
	return size_bytes == (int)wanted->build_id_bytes &&
	       memcmp(build_id, wanted->build_id, wanted->build_id_bytes) == 0;
}

/* Makes the file behind `descriptor`, which is taken, the module.  False where it is not what is wanted. */
static bool report(struct hm_debug_files *files, const char *path, int descriptor)
{
	void **user_data = NULL;

	if (descriptor < 0)
		return false;
	dwfl_report_begin(files->dwfl);
	files->module = dwfl_report_elf(files->dwfl, path, path, descriptor, 0, true);
	if (files->module == NULL) {
		(void)close(descriptor);
		return false;
	}
	files->descriptor = descriptor;
	(void)dwfl_report_end(files->dwfl, NULL, NULL);
	(void)dwfl_module_info(files->module, &user_data, NULL, NULL, NULL, NULL, NULL, NULL);
	*user_data = files;
	return has_build_id(files->module, files->wanted);
}

/* The program file, or one that stands for it. */
static bool open_program(struct hm_debug_files *files)
{
	const struct hm_debug_wanted *const wanted = files->wanted;
	const char *const roots[] = { "", wanted->root };
	char path[PATH_BYTES];
	char *downloaded = NULL;

	if (wanted->path != NULL) {
		(void)snprintf(path, sizeof(path), "%s%s", wanted->root, wanted->name);
		if (report(files, path, open_regular(wanted->path)))
			return true;
	}
	for (size_t i = 0; i < 2; i++) {
		if (i == 1 && wanted->root[0] == '\0')
			break;
		if (make_build_id_path(wanted, roots[i], path) && report(files, path, open_regular(path)))
			return true;
	}
	const int descriptor = download(files, &downloaded);
	const bool opened = descriptor >= 0 && report(files, downloaded, descriptor);

	free(downloaded);
	return opened;
}

bool hm_debug_files_open(const struct hm_debug_wanted *wanted, struct hm_debug_files *files)
{
	static char search_path[PATH_BYTES];
	static char *search_path_pointer = search_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf,
		.find_debuginfo = find_debuginfo,
		.section_address = dwfl_offline_section_address,
		.debuginfo_path = &search_path_pointer,
	};

	*files = (struct hm_debug_files){ .wanted = wanted };
	(void)snprintf(search_path, sizeof(search_path), ":.debug:%s", debug_root);
	if (wanted->root[0] != '\0')
		(void)snprintf(search_path, sizeof(search_path), ":.debug:%s:%s%s", debug_root, wanted->root,
			       debug_root);
	files->dwfl = dwfl_begin(&callbacks);
	if (files->dwfl == NULL || !open_program(files)) {
		hm_debug_files_close(files);
		return false;
	}
	files->dwarf = dwfl_module_getdwarf(files->module, &files->dwarf_bias);
	return true;
}

void hm_debug_files_close(struct hm_debug_files *files)
{
	if (files->dwfl != NULL)
		dwfl_end(files->dwfl);
	files->dwfl = NULL;
	files->module = NULL;
	files->dwarf = NULL;
}
