// SPDX-License-Identifier: Apache-2.0
/*
 * unwinding PLUGIN: a program of C that knows no C++ runtime.  Its plug-in throws; backtrace finds the same
 * frames; and the names that stand for unwinding belong to the same libraries as ever, though another
 * unwinder is in the process.
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>
#include <execinfo.h>

enum { FRAMES = 32, DEPTH = 5 };

static void tell_library(const char *name)
{
	void *const function = dlsym(RTLD_DEFAULT, name);
	Dl_info information;

	if (function == NULL || dladdr(function, &information) == 0)
		say("%s: none", name);
	else
		say("%s: %s", name, information.dli_fname);
}

static void tell_libraries(void)
{
	static const char *const names[] = {
		"backtrace",
		"backtrace_symbols_fd",
		"_Unwind_RaiseException",
		"_Unwind_Resume",
		"_Unwind_Backtrace",
		"_Unwind_GetIP",
		"_Unwind_Find_FDE",
		"__register_frame",
		"__gxx_personality_v0",
		"__cxa_throw",
		"unw_backtrace",
		"unw_step",
		"_Ux86_64_step",
		"lzma_code",
		"dlopen",
		"pthread_create",
	};

	for (size_t index = 0; index < sizeof(names) / sizeof(names[0]); index++)
		tell_library(names[index]);
}

/* Addresses differ from run to run; the symbols and the distances from them do not. */
SITE void tell_frames(int depth);
SITE void tell_frames(int depth)
{
	void *frames[FRAMES];
	int frame_count;

	if (depth > 0) {
		tell_frames(depth - 1);
		__asm__ volatile("" ::: "memory"); /* no jump in place of the call */
		return;
	}
	frame_count = backtrace(frames, FRAMES);
	for (int index = 0; index < frame_count; index++) {
		Dl_info information = { 0 };

		(void)dladdr(frames[index], &information);
		say("frame %d: %s+%zx of %s", index,
		    information.dli_sname != NULL ? information.dli_sname : "?",
		    (size_t)((char *)frames[index] - (char *)information.dli_fbase), information.dli_fname);
	}
}

TRUTH(meanwhile)
static SITE struct block meanwhile(size_t size)
{
	return truth_allocated(&truth_of_meanwhile, malloc(size), size);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	tell_libraries();
	tell_frames(DEPTH);
	for (int round = 0; round < 3; round++) {
		void *const plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
		void *const function = plugin == NULL ? NULL : dlsym(plugin, "unwind");
		int (*unwind)(int);

		if (function == NULL) {
			say("%s", dlerror());
			return 2;
		}
		memcpy(&unwind, &function, sizeof(unwind));
		say("caught and destroyed: %d", unwind(1000));
		(void)meanwhile(77);
		(void)dlclose(plugin);
	}
	tell_libraries();
	tell_frames(DEPTH);
	truth_print();
	return 0;
}
