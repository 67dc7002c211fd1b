// SPDX-License-Identifier: Apache-2.0
/*
 * The environment by which the library inside a program learns what to do: HEAPMARK_* and LD_PRELOAD.
 */
#ifndef HM_TOOLS_RUN_ENVIRONMENT_H
#define HM_TOOLS_RUN_ENVIRONMENT_H

#include <limits.h>
#include <stdint.h>

/* Mean bytes between samples: unless somebody says otherwise, and the most that the library accepts. */
#define HM_RATE_DEFAULT_BYTES (UINT64_C(512) << 10)
#define HM_RATE_MAX_BYTES     (UINT64_C(1) << 40)

/*
 * Where ledgers go if nothing is changed: HEAPMARK_DIR, else "dir=" in HEAPMARK, else ".".  The caller owns
 * the text, and frees it.
 */
char *hm_environment_directory(void);

/* The rate that will be in force: HEAPMARK_RATE, else "rate=" in HEAPMARK, else the default. */
uint64_t hm_environment_rate(void);

/* Sets a variable to a number. */
void hm_environment_set_number(const char *name, uint64_t number);

/* Puts the library in front of what LD_PRELOAD holds. */
void hm_environment_preload(const char *library_path);

#endif
