// SPDX-License-Identifier: Apache-2.0
#include "preload/say.h"

#include "preload/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What standard error was when the image began; not known: a tool, a test. */
static struct {
	bool is_known;
	dev_t device;
	ino_t inode;
} at_begin;

void hm_say_begin(void)
{
	const int saved_errno = errno;
	struct stat status;

	at_begin.is_known = true;
	if (fstat(STDERR_FILENO, &status) == 0) {
		at_begin.device = status.st_dev;
		at_begin.inode = status.st_ino;
	}
	errno = saved_errno;
}

/* Whether a write to this file would bring SIGXFSZ. */
static bool is_beyond_limit(const struct stat *status, size_t length_bytes)
{
	struct rlimit limit;
	uint64_t end = (uint64_t)status->st_size;

	if (!S_ISREG(status->st_mode) || getrlimit(RLIMIT_FSIZE, &limit) != 0 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return false;

	const off_t place = lseek(STDERR_FILENO, 0, SEEK_CUR);

	if (place > status->st_size)
		end = (uint64_t)place;
	return end + length_bytes > limit.rlim_cur;
}

/*
 * Whether the line goes to standard error, as it was, and at once.  Descriptor 2 may have become a file or a
 * connection of the program's; a pipe may be broken, which sends SIGPIPE, or full and never be read, and then
 * the program would not end.
 */
static bool takes_a_line(size_t length_bytes)
{
	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	struct stat status;

	if (!hm_may(HM_MAY_LOOK_BEFORE_SAYING))
		return true; /* a filter forbids it: the line matters more than what is unlikely */
	if (fstat(STDERR_FILENO, &status) != 0 ||
	    (at_begin.is_known && (status.st_dev != at_begin.device || status.st_ino != at_begin.inode)) ||
	    is_beyond_limit(&status, length_bytes))
		return false;
	/* Raw: poll() is a cancellation point. */
	return syscall(SYS_poll, &ready, 1, 0) == 1 && ready.revents == POLLOUT;
}

void hm_say(const char *format, ...)
{
	static const char prefix[] = "heapmark: ";
	enum { TEXT_BYTES = 1000 };
	const int saved_errno = errno;
	char line[sizeof(prefix) + TEXT_BYTES + 1];
	size_t length = sizeof(prefix) - 1;
	va_list arguments;

	memcpy(line, prefix, length);
	va_start(arguments, format);

	const int text_length = vsnprintf(line + length, TEXT_BYTES, format, arguments);

	va_end(arguments);
	if (text_length > 0)
		length += (size_t)text_length < TEXT_BYTES ? (size_t)text_length : TEXT_BYTES - 1;
	for (size_t index = 0; index < length; index++) { /* one line, whatever a path or a value contains */
		if ((unsigned char)line[index] < ' ')
			line[index] = '?';
	}
	line[length++] = '\n';
	/* Raw: write() is a cancellation point. */
	if (hm_may(HM_MAY_SAY) && takes_a_line(length))
		(void)syscall(SYS_write, STDERR_FILENO, line, length);
	errno = saved_errno;
}

bool hm_format(char *buffer, size_t buffer_bytes, const char *format, ...)
{
	const int saved_errno = errno;
	va_list arguments;

	va_start(arguments, format);

	const int length = vsnprintf(buffer, buffer_bytes, format, arguments);

	va_end(arguments);
	errno = saved_errno;
	return length >= 0 && (size_t)length < buffer_bytes;
}

const char *hm_error_text(int error)
{
	const char *const text = strerrordesc_np(error);

	return text != NULL ? text : "unknown error";
}
