// SPDX-License-Identifier: Apache-2.0
/*
 * The block sizes of Go's allocator.
 *
 * Go hands out blocks in fixed sizes ("size classes"), and its heap profiler counts the size of the block,
 * not of the request.  A C map that is to show the same bytes as a Go map asks malloc for the size that Go
 * would have handed out, and puts the room to the same use.
 */
#ifndef EXAMPLES_GO_SIZE_CLASS_H
#define EXAMPLES_GO_SIZE_CLASS_H

#include <stddef.h>

/* Returns the size of the block that Go 1.19 hands out for `bytes`, which is 1 or more. */
size_t go_size_class(size_t bytes);

#endif
