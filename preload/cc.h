// SPDX-License-Identifier: Apache-2.0
/* What the compiler is told about functions and branches; the only macros of this folder. */
#ifndef HM_PRELOAD_CC_H
#define HM_PRELOAD_CC_H

#define HM_EXPORT \
	__attribute__((visibility("default"))) /* seen by the program; preload/exports.map lists them */
#define HM_HOT_EXPORT          HM_EXPORT __attribute__((aligned(64))) /* one cache line, whatever else is linked */
#define HM_HIDDEN              __attribute__((visibility("hidden"))) /* of ours: reached without the global offset table */
#define HM_COLD                __attribute__((cold, noinline)) /* kept away from the fast path's cache lines */
#define HM_NOINLINE            __attribute__((noinline))
#define HM_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define HM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
