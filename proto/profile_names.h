// SPDX-License-Identifier: Apache-2.0
/*
 * Names for all locations of a profile: those of modules and of code made at run time from a resolver
 * (proto/names.h), those of our own making from here.
 *
 * Usable inside the target at exit: memory from the layout's arena only.  One file is open at a time.
 */
#ifndef HM_PROTO_PROFILE_NAMES_H
#define HM_PROTO_PROFILE_NAMES_H

#include "proto/names.h"
#include "proto/profile_comments.h"
#include "proto/profile_layout.h"

#include <stdint.h>

enum {
	HM_UNNAMED_COMMENTS_MAX = 9, /* that hm_profile_name_locations adds */
};

/* Modules without names, by enum hm_names_outcome; those with a path only. */
struct hm_unnamed_modules {
	uint32_t no_file;
	uint32_t other_file;
	uint32_t not_elf;
};

/*
 * Names every location of `layout`, in its order, into a list that the layout's arena owns, and fills what
 * the mappings say of their locations' names.  `resolver` may lack either function.  A comment is added for
 * each of the first few modules that have no names.  Returns 0, -ENOMEM, or what the resolver said.
 */
int hm_profile_name_locations(struct hm_profile_layout *layout, const struct hm_resolver *resolver,
			      hm_comment_add *add, void *context, struct hm_location_name **ret_names,
			      struct hm_unnamed_modules *ret_unnamed);

#endif
