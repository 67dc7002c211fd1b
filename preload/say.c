// SPDX-License-Identifier: Apache-2.0
#include "preload/say.h"

#include "preload/sandbox.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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
	if (hm_may(HM_MAY_SAY))
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
