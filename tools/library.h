// SPDX-License-Identifier: Apache-2.0
/* Where libheapmark.so is. */
#ifndef HM_TOOLS_LIBRARY_H
#define HM_TOOLS_LIBRARY_H

#include <limits.h>

/* Its file name, by which a process that has it loaded is told. */
#define HM_LIBRARY_NAME "libheapmark.so"

/*
 * Finds the library: what the environment variable HEAPMARK_LIBRARY names, else where it lies beside this
 * executable in a build tree or in an installation.  ret_path receives an absolute path.
 * Returns -ENOENT where there is none, -EINVAL where the path has a blank or a colon, which LD_PRELOAD
 * cannot hold (ret_path is set then too), or another negative errno.
 */
int hm_library_find(char ret_path[PATH_MAX]);

#endif
