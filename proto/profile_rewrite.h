// SPDX-License-Identifier: Apache-2.0
/*
 * A profile that was read -> the same profile with other names for its addresses.
 *
 * Samples, values, labels, mappings, locations, comments, their order and their numbers stay as they are; so
 * does the text table, to which new text is added at its end.  Functions are numbered anew: first those that
 * are still in use, in their order, then the new ones.  What has_functions and its like say of a mapping is
 * found out anew where one of its addresses was named.  Fields that the format does not have are left out.
 *
 * For the outside of a process (tools).  No malloc; does not keep errno.
 */
#ifndef HM_PROTO_PROFILE_REWRITE_H
#define HM_PROTO_PROFILE_REWRITE_H

#include "proto/gzip.h"
#include "proto/names.h"
#include "proto/profile_read.h"

/*
 * Writes `profile` into `sink`.  names[i] is for location i; NULL: it keeps the functions and lines it has.
 * Placeholders count as no functions.  Text that is not valid UTF-8 is written as \xNN.
 * Returns 0, -ENOMEM, -EBADMSG where the profile refers to what it does not have, or what the sink said.
 */
int hm_profile_rewrite(const struct hm_profile *profile, const struct hm_location_name *const *names,
		       const struct hm_sink *sink);

#endif
