// SPDX-License-Identifier: Apache-2.0
#include "preload/image.h"

#include "preload/say.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Reads the beginning of a file; returns the number of bytes, 0 where it cannot be read. */
static size_t read_file(const char *path, char *buffer, size_t buffer_bytes)
{
	/* Not blocking: somebody may have made a FIFO of such a name, and opening that waits for a writer. */
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t used = 0;

	if (descriptor < 0)
		return 0;
	while (used < buffer_bytes) {
		const ssize_t count = read(descriptor, buffer + used, buffer_bytes - used);

		if (count <= 0)
			break;
		used += (size_t)count;
	}
	(void)close(descriptor);
	return used;
}

static bool is_safe_in_a_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

static void set_comm(const char *path, char ret_comm[HM_COMM_MAX])
{
	const char *const slash = strrchr(path, '/');
	const char *const name = slash != NULL ? slash + 1 : path;
	size_t length = 0;

	while (length < HM_COMM_MAX - 1 && name[length] != '\0') {
		ret_comm[length] = name[length];
		if (!is_safe_in_a_name(name[length]))
			ret_comm[length] = '_';
		length++;
	}
	ret_comm[length] = '\0';
	if (length == 0)
		memcpy(ret_comm, "unknown", sizeof("unknown"));
}

/*
 * The name by which the program was executed, not the file behind a symbolic link: Debian's redis-server is a
 * link to redis-check-rdb.  fexecve shows a descriptor; then the file.
 */
static void read_names(struct hm_image *image)
{
	const ssize_t length = readlink("/proc/self/exe", image->executable, sizeof(image->executable) - 1);
	const char *executed = (const char *)getauxval(AT_EXECFN);

	image->executable[length > 0 ? length : 0] = '\0';
	if (executed == NULL || strncmp(executed, "/dev/fd/", strlen("/dev/fd/")) == 0)
		executed = image->executable;
	if (image->executable[0] == '\0' && executed[0] == '/' &&
	    strlen(executed) < sizeof(image->executable))
		memcpy(image->executable, executed, strlen(executed) + 1);
	set_comm(executed, image->comm);
}

static void read_command(struct hm_image *image)
{
	size_t length = read_file("/proc/self/cmdline", image->command, sizeof(image->command));

	while (length > 0 && image->command[length - 1] == '\0')
		length--;
	for (size_t index = 0; index < length; index++) {
		if (image->command[index] == '\0')
			image->command[index] = ' ';
	}
	image->command_length = length;
}

/* The kernel gives every image 16 random bytes; with the time, so that a clone of a machine differs. */
static uint64_t read_seed(uint64_t configured)
{
	const void *const random_bytes = (const void *)getauxval(AT_RANDOM);
	struct timespec now;
	uint64_t seed = 0;

	if (configured != 0)
		return configured;
	if (random_bytes != NULL)
		memcpy(&seed, random_bytes, sizeof(seed));
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return seed ^ (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec;
}

void hm_image_read(struct hm_image *ret_image)
{
	const int saved_errno = errno;

	hm_config_read(&ret_image->config);
	read_names(ret_image);
	read_command(ret_image);
	ret_image->seed = read_seed(ret_image->config.seed);
	errno = saved_errno;
}

/* The second field is the name in parentheses and may contain anything: count from the last one. */
static uint64_t start_ticks_in(const char *stat, size_t length)
{
	enum { FIELDS_BEFORE = 20 }; /* blanks from the parenthesis to field 22 */
	const char *place = memrchr(stat, ')', length);

	if (place == NULL)
		return 0;
	for (int field = 0; field < FIELDS_BEFORE; field++) {
		place = memchr(place + 1, ' ', length - (size_t)(place + 1 - stat));
		if (place == NULL)
			return 0;
	}
	return strtoull(place + 1, NULL, 10);
}

uint64_t hm_image_process_start_ticks(void)
{
	const int saved_errno = errno;
	char stat[1024];
	const size_t length = read_file("/proc/self/stat", stat, sizeof(stat) - 1);

	stat[length] = '\0';

	const uint64_t ticks = start_ticks_in(stat, length);

	errno = saved_errno;
	return ticks;
}

/* Whether a process has this library in memory. */
static bool has_library(long pid)
{
	static const char library[] = "/libheapmark.so\n";
	char path[64];
	char window[8192];
	size_t kept = 0;
	bool found = false;

	if (!hm_format(path, sizeof(path), "/proc/%ld/maps", pid))
		return false;

	const int descriptor = open(path, O_RDONLY | O_CLOEXEC);

	if (descriptor < 0)
		return false;
	while (!found) {
		const ssize_t count = read(descriptor, window + kept, sizeof(window) - kept);

		if (count <= 0)
			break;

		const size_t length = kept + (size_t)count;

		found = memmem(window, length, library, sizeof(library) - 1) != NULL;
		kept = length < sizeof(library) ? length
						: sizeof(library); /* a name may lie across two reads */
		memmove(window, window + length - kept, kept);
	}
	(void)close(descriptor);
	return found;
}

/* "heapmark.<comm>.<pid>.ledger" or "heapmark.<comm>.<pid>-2.ledger", with any comm */
static bool is_ledger_name_of(const char *name, uint32_t pid)
{
	static const char suffix[] = ".ledger";
	const size_t length = strlen(name);
	char *end;

	if (strncmp(name, "heapmark.", strlen("heapmark.")) != 0 || length < sizeof(suffix) ||
	    strcmp(name + length - (sizeof(suffix) - 1), suffix) != 0)
		return false;

	/* NULL: "heapmark.ledger", where both patterns share the dot */
	const char *const number = memrchr(name, '.', length - (sizeof(suffix) - 1));

	return number != NULL && strtoull(number + 1, &end, 10) == pid && (*end == '.' || *end == '-');
}

/* A ledger of this process, by its header; removed where nothing was ever sampled. */
static bool is_earlier_ledger(const char *path, uint64_t process_start_ticks)
{
	struct hm_ledger_header header;

	if (read_file(path, (char *)&header, sizeof(header)) != sizeof(header) ||
	    memcmp(header.magic, HM_LEDGER_MAGIC, sizeof(header.magic)) != 0 ||
	    header.process_start_ticks != process_start_ticks)
		return false;
	if (header.has_samples == 0)
		(void)unlink(path);
	return true;
}

bool hm_image_had_ledger(const struct hm_image *image, uint32_t pid, uint64_t process_start_ticks)
{
	enum { DIRECTORY_BYTES_MAX = 64 * 1024 }; /* ext4 has some 60 names in 4096 bytes */
	const int saved_errno = errno;
	struct stat status;
	bool found = false;

	if (process_start_ticks == 0 || stat(image->config.directory, &status) != 0 ||
	    status.st_size > DIRECTORY_BYTES_MAX)
		return false;

	DIR *const directory = opendir(image->config.directory);
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		char path[PATH_MAX];

		if (is_ledger_name_of(entry->d_name, pid) &&
		    hm_format(path, sizeof(path), "%s/%s", image->config.directory, entry->d_name))
			found = is_earlier_ledger(path, process_start_ticks) || found;
	}
	if (directory != NULL)
		(void)closedir(directory);
	errno = saved_errno;
	return found;
}

bool hm_image_parent_has_library(void)
{
	const int saved_errno = errno;
	const bool found = has_library(getppid());

	errno = saved_errno;
	return found;
}
