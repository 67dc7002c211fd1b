// SPDX-License-Identifier: Apache-2.0
#include "proto/output_file.h"

#include "proto/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MODE_PRIVATE = 0600,
	/* Names that a killed predecessor with our pid may have left behind. */
	TEMPORARY_NAMES_MAX = 100,
};

static int write_all(int descriptor, const void *data, size_t size_bytes)
{
	const uint8_t *rest = data;

	while (size_bytes > 0) {
		const ssize_t count = write(descriptor, rest, size_bytes);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		if (count == 0)
			return -EIO;
		rest += count;
		size_bytes -= (size_t)count;
	}
	return 0;
}

static int write_descriptor(void *context, const void *data, size_t size_bytes)
{
	return write_all(*(const int *)context, data, size_bytes);
}

struct hm_sink hm_descriptor_sink(int *descriptor)
{
	return (struct hm_sink){ .write = write_descriptor, .context = descriptor };
}

/* Asked each time: other threads may change the limit, and the signal is the program's. */
static bool is_within_limit(uint64_t size_bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	       size_bytes <= limit.rlim_cur;
}

static int write_file(void *context, const void *data, size_t size_bytes)
{
	struct hm_output_file *const file = context;

	if (file->is_regular && !is_within_limit(file->size_bytes + size_bytes))
		return -EFBIG;
	const int error = write_all(file->descriptor, data, size_bytes);
	if (error == 0)
		file->size_bytes += size_bytes;
	return error;
}

struct hm_sink hm_output_sink(struct hm_output_file *file)
{
	return (struct hm_sink){ .write = write_file, .context = file };
}

/* ".heapmark.PID.N.tmp" beside `path`.  False where that is too long. */
static bool make_temporary_path(struct hm_output_file *file, uint32_t number)
{
	const char *const slash = strrchr(file->path, '/');
	const size_t directory_bytes = slash == NULL ? 0 : (size_t)(slash - file->path) + 1;
	struct hm_text text = hm_text_begin(file->temporary_path, sizeof(file->temporary_path));

	memcpy(file->temporary_path, file->path, directory_bytes);
	file->temporary_path[directory_bytes] = '\0';
	text.length_bytes = directory_bytes;
	hm_text_add(&text, ".heapmark.");
	hm_text_add_number(&text, (uint64_t)getpid());
	hm_text_add(&text, ".");
	hm_text_add_number(&text, number);
	hm_text_add(&text, ".tmp");
	return text.length_bytes < sizeof(file->temporary_path) - 1;
}

static int open_temporary(struct hm_output_file *file)
{
	for (uint32_t number = 0; number < TEMPORARY_NAMES_MAX; number++) {
		if (!make_temporary_path(file, number))
			return -ENAMETOOLONG;
		file->descriptor = open(file->temporary_path,
					O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE_PRIVATE);
		if (file->descriptor >= 0) {
			fchmod(file->descriptor,
			       MODE_PRIVATE); /* whatever the umask; if it fails, so be it */
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int hm_output_open(const char *path, enum hm_output_mode mode, struct hm_output_file *ret_file)
{
	const size_t path_bytes = strlen(path) + 1;
	struct stat status;

	if (path_bytes > sizeof(ret_file->path))
		return -ENAMETOOLONG;
	memcpy(ret_file->path, path, path_bytes);
	ret_file->mode = mode;
	ret_file->size_bytes = 0;
	ret_file->in_place = false;
	ret_file->is_regular = true;
	const bool exists = lstat(path, &status) == 0;
	if (exists && mode == HM_OUTPUT_NEW)
		return -EEXIST;
	if (!exists || S_ISREG(status.st_mode))
		return open_temporary(ret_file);

	ret_file->in_place = true;
	ret_file->descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE_PRIVATE);
	if (ret_file->descriptor < 0)
		return -errno;
	ret_file->is_regular = fstat(ret_file->descriptor, &status) == 0 && S_ISREG(status.st_mode);
	return 0;
}

/* Gives the temporary file its name without taking anybody's. */
static int name_new(const struct hm_output_file *file)
{
	if (renameat2(AT_FDCWD, file->temporary_path, AT_FDCWD, file->path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return -EEXIST;
	/* Not every file system knows RENAME_NOREPLACE, not every seccomp filter the call; link never
	 * replaces. */
	if (link(file->temporary_path, file->path) != 0)
		return -errno;
	unlink(file->temporary_path);
	return 0;
}

/* Whether everything that was written is there: some file systems say so only now. */
static int close_checked(const struct hm_output_file *file)
{
	struct stat status;
	int error = 0;

	if (fstat(file->descriptor, &status) != 0)
		error = -errno;
	else if (file->is_regular && (uint64_t)status.st_size != file->size_bytes)
		error = -EIO;
	if (close(file->descriptor) != 0 && error == 0)
		error = -errno;
	return error;
}

int hm_output_commit(struct hm_output_file *file)
{
	int error = close_checked(file);

	if (file->in_place)
		return error;
	if (error == 0 && file->mode == HM_OUTPUT_NEW)
		error = name_new(file);
	else if (error == 0 && rename(file->temporary_path, file->path) != 0)
		error = -errno;
	if (error != 0)
		unlink(file->temporary_path);
	return error;
}

void hm_output_abandon(struct hm_output_file *file)
{
	close(file->descriptor);
	if (!file->in_place)
		unlink(file->temporary_path);
}
