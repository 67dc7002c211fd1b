// SPDX-License-Identifier: Apache-2.0
#ifndef HM_TESTS_TWIN_H
#define HM_TESTS_TWIN_H

int twin_number(void);

/* Returns what `called` does, plus the number. */
int twin_call(int (*called)(void *), void *argument);

#endif
