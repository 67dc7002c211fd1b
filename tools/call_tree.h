// SPDX-License-Identifier: Apache-2.0
/*
 * The stacks of a view put together from their outermost frame on: each node is a function as called along
 * one path, with the figures of all samples whose stack begins with that path.  Inlined functions are nodes
 * as others are.
 *
 * Frames that the profile wants hidden are left out (prune.h); what is allocated there belongs to the caller.
 * Functions are told apart by their name alone, as a reader does.
 *
 * Real stacks have up to 128 frames, and some more by inlining; a file can hold any number.  A stack is
 * followed HM_CALL_DEPTH_MAX frames deep, and HM_CALL_NODES_MAX nodes are made; what goes beyond is counted
 * in `cut_count`, and its figures stay with the last node that was made.
 */
#ifndef HM_TOOLS_CALL_TREE_H
#define HM_TOOLS_CALL_TREE_H

#include "tools/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HM_CALL_DEPTH_MAX = 512,
	HM_CALL_NODES_MAX = 4 << 20,
	HM_CALL_ROOT = 0, /* its index: all samples, also those without a stack */
};

struct hm_call_node {
	uint32_t name;    /* index into names */
	uint32_t mapping; /* of the first location seen here, in the profile; HM_PROFILE_NONE: none */
	uint32_t parent;  /* the root's is itself */
	uint32_t depth;   /* the root's is 0 */
	uint32_t first_child;
	uint32_t child_count;           /* children[first_child ...] */
	struct hm_view_figures figures; /* with all that it called */
};

struct hm_call_tree {
	struct hm_call_node *nodes; /* owned, as are the next two; released by hm_call_tree_done */
	char **names;               /* each owned */
	uint32_t *children;         /* indexes of nodes, those of one parent in a row */
	uint32_t node_count;
	uint32_t name_count;
	uint64_t cut_count; /* samples that have frames beyond a limit */
};

/*
 * Siblings stand in descending order of what they allocated (by_alloc) or have in use, then alphabetically.
 * Returns 0; or -EINVAL where the profile's expression for hidden frames cannot be understood: then the tree
 * is made with none hidden.
 */
int hm_call_tree_build(const struct hm_view *view, bool by_alloc, struct hm_call_tree *ret_tree);

/* Accepts a zeroed tree. */
void hm_call_tree_done(struct hm_call_tree *tree);

#endif
