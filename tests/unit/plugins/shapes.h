// SPDX-License-Identifier: Apache-2.0
#ifndef HM_TESTS_SHAPES_H
#define HM_TESTS_SHAPES_H

typedef void visit_function(void *argument);

enum { SHAPES_COUNT = 6 };

/* Calls `visit` SHAPES_COUNT times. */
void shapes_run(visit_function *visit, void *argument);
void shapes_through_plt(void);

/* Calls `visit` once. */
void shapes_call(visit_function *visit, void *argument);

#endif
