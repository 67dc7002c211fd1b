// SPDX-License-Identifier: Apache-2.0
/* The frames of C in plugin_unwind, compiled with -fexceptions. */
void call_through_c(void (*function)(void *), void *argument, int depth);

void call_through_c(void (*function)(void *), void *argument, int depth)
{
	if (depth > 0)
		call_through_c(function, argument, depth - 1);
	else
		function(argument);
	__asm__ volatile("" ::: "memory"); /* no jump in place of the calls */
}
