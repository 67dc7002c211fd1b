// SPDX-License-Identifier: Apache-2.0
/*
 * Names for the addresses of a profile that was read, of whatever producer.
 *
 * A mapping's file is known by its build id, and is looked for here, wherever the profile was made
 * (symbols.h).  What cannot be found again keeps the functions that it has; so does an address that has lines
 * where now only a symbol is found.
 */
#ifndef HM_TOOLS_SYMBOLIZE_H
#define HM_TOOLS_SYMBOLIZE_H

#include "proto/profile_read.h"
#include "proto/profile_write.h"
#include "tools/symbols.h"

struct hm_symbolized {
	const struct hm_location_name **names; /* of each location; NULL: it keeps what it has */
	uint32_t changed_count;                /* locations that have a name in `names` */
	uint32_t function_count;               /* locations that have a function now, old or new */
	uint32_t line_count;                   /* and of these, the ones that have a line of a source file */
	struct hm_profile_written unnamed; /* files that were not found, or are others: nothing else in it */
	struct hm_arena arena;             /* owns `names` */
};

/*
 * Looks up every location.  `symbols` is begun for it; what is in *ret_symbolized lasts as long as the
 * profile and until the next hm_symbols_begin.  Returns 0 or -ENOMEM; on success hm_symbolized_done releases
 * it.
 */
int hm_symbolize(const struct hm_profile *profile, struct hm_symbols *symbols,
		 struct hm_symbolized *ret_symbolized);
void hm_symbolized_done(struct hm_symbolized *symbolized);

/*
 * Writes the profile with these names in place of the file at `path`, or to a new file there: whole or not at
 * all.  A file that is replaced keeps its mode and, where we may, its owner.  "-" is standard output.
 * Returns 0, -EBADMSG where the profile refers to what it does not have, or another negative errno.
 */
int hm_symbolized_write(const struct hm_profile *profile, const struct hm_symbolized *symbolized,
			const char *path);

/*
 * Reads the profile at `path`, looks up its names and puts them into it.  A profile of which nothing better
 * is known than it says stays as it is.  Returns 0 or a negative errno; then it is what it was.
 */
int hm_symbolize_file(const char *path, struct hm_symbols *symbols);

#endif
