// SPDX-License-Identifier: Apache-2.0
/*
 * A library for LD_PRELOAD, behind ours: dlclose takes its time after the plug-in is gone, as it does where
 * the thread loses its processor.  Others load the next one to the same place meanwhile.
 */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

int dlclose(void *handle)
{
	enum { WHILE_MICROSECONDS = 2000 };
	void *const function = dlsym(RTLD_NEXT, "dlclose");
	int (*next_dlclose)(void *);

	memcpy(&next_dlclose, &function, sizeof(next_dlclose));

	const int result = next_dlclose(handle);

	(void)usleep(WHILE_MICROSECONDS);
	return result;
}
