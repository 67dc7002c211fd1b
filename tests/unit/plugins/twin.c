// SPDX-License-Identifier: Apache-2.0
/*
 * Built twice, with TWIN 1 and 2: two plug-ins of one layout, which the loader puts in one place when they
 * take turns.
 */
#include "tests/unit/plugins/twin.h"

int twin_number(void)
{
	return TWIN;
}

int twin_call(int (*called)(void *), void *argument)
{
	return called(argument) + TWIN;
}
