// SPDX-License-Identifier: Apache-2.0
/*
 * Looks at a program before it is started: whether LD_PRELOAD can reach it.
 */
#ifndef HM_TOOLS_PROGRAM_H
#define HM_TOOLS_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

enum hm_program_verdict {
	HM_PROGRAM_FINE,
	HM_PROGRAM_NOT_FOUND,
	HM_PROGRAM_NOT_EXECUTABLE, /* also: an ELF file that was cut off, or that is no program */
	HM_PROGRAM_NO_INTERPRETER, /* the script's interpreter or the executable's loader is missing:
				      `missing` */
	HM_PROGRAM_OTHER_MACHINE,  /* 32-bit, or of another processor */
	HM_PROGRAM_STATIC,         /* has no loader that would read LD_PRELOAD */
	HM_PROGRAM_OTHER_LIBC,     /* its loader is not that of glibc */
	HM_PROGRAM_PRIVILEGED,     /* set-user-ID and the like: the loader ignores LD_PRELOAD */
};

struct hm_program {
	enum hm_program_verdict verdict;
	/* The file the command names, as it was found; with HM_PROGRAM_NOT_EXECUTABLE the one of which that
	 * is true, which may be a script's interpreter. */
	char path[PATH_MAX];
	char binary[PATH_MAX];  /* the ELF file that will run: path, or the interpreter of that script */
	char missing[PATH_MAX]; /* with HM_PROGRAM_NO_INTERPRETER */
	bool has_own_malloc;    /* binary defines malloc, so that its calls do not reach the library */
};

/*
 * Looks for `command` as execvp does, in PATH where it has no slash, and follows scripts to what interprets
 * them.  A file that cannot be read is taken to be fine: executing it will tell.
 */
void hm_program_examine(const char *command, struct hm_program *ret_program);

#endif
