// SPDX-License-Identifier: Apache-2.0
/* What a frame is called where frames are shown. */
#ifndef HM_TOOLS_FRAME_NAME_H
#define HM_TOOLS_FRAME_NAME_H

#include "proto/profile_read.h"

#include <stdint.h>

/* Longer names are cut: proto/elf_symbols.c cuts them there too. */
enum { HM_FRAME_NAME_BYTES_MAX = 4096 };

/*
 * What stands for code of which no function is known: "[libfoo.so]", or "<unknown>" where the file is not
 * known either, as for HM_PROFILE_NONE.  The caller frees; never NULL.
 */
char *hm_frame_module_name(const struct hm_profile *profile, uint32_t mapping);

/* The last part of a path, which is borrowed.  A path too long to be one is not looked through. */
const char *hm_frame_base_name(const char *path);

#endif
