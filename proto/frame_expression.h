// SPDX-License-Identifier: Apache-2.0
/*
 * drop_frames and keep_frames: expressions for names of functions, matched from end to end.
 *
 * They are POSIX extended ones here and RE2 in pprof; they mean the same for what producers write.  The C
 * library's take as much time, memory and stack as an expression can ask for, so that a few letters of a
 * hostile file would be enough; therefore one is understood only if it is short
 * (HM_FRAME_EXPRESSION_BYTES_MAX), has no counted repetition ("{"), no reference back ("\\1"), no RE2 group
 * ("(?") and no more than PARENTHESES_MAX inside one another.  A name of more than
 * HM_FRAME_NAME_MATCHED_BYTES matches nothing.
 *
 * For the outside of a process: calls malloc.
 */
#ifndef HM_PROTO_FRAME_EXPRESSION_H
#define HM_PROTO_FRAME_EXPRESSION_H

#include <regex.h>
#include <stdbool.h>

enum {
	HM_FRAME_EXPRESSION_BYTES_MAX = 4096, /* ours has some 200, Go's of other profiles up to 900 */
	HM_FRAME_NAME_MATCHED_BYTES = 4096,   /* proto/elf_symbols.c cuts names there */
};

struct hm_frame_expression {
	regex_t compiled;
	bool none; /* matches nothing */
};

/*
 * Returns 0; -EINVAL where it is no expression, -ENOTSUP where it may be one that is not understood here (see
 * above).  Then, and where the text is empty, it matches nothing.
 */
int hm_frame_expression_init(const char *text, struct hm_frame_expression *ret_expression);
void hm_frame_expression_done(struct hm_frame_expression *expression);

/*
 * Whether a function's name matches, with its arguments taken off as pprof does.  An empty name does not.
 */
bool hm_frame_expression_matches(const struct hm_frame_expression *expression, const char *name);

#endif
