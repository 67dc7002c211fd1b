// SPDX-License-Identifier: Apache-2.0
/*
 * Work that would be too much for the stack of whoever happened to call malloc, which may be the 16 KiB of a
 * small thread, or what a coroutine has left.  Compiling a rule takes 2 KiB, starting a ledger 7, writing a
 * profile 11.
 *
 *	the caller's stack          ours
 *	+-----------------+         +----------------------+ top
 *	| ...             |         | function(argument)   |
 *	| return address  |   .---->| ...                  |
 *	| FP  <-----------+---'     |                      |
 *	+-----------------+         +----------------------+
 *
 * The frame that switches keeps a frame pointer and says so in its call-frame information, so debuggers,
 * exceptions and our own walk pass through it.  The function runs in the calling thread, with its
 * thread-local storage.
 *
 * Signals have to be held off meanwhile (signals.h).  A handler could leave by longjmp; and collectors of
 * garbage stop threads by a signal and then read each stack from where its SP was to where the thread's own
 * ends.
 */
#ifndef HM_PRELOAD_OWN_STACK_H
#define HM_PRELOAD_OWN_STACK_H

#include <stddef.h>

/*
 * Calls function(argument) on `stack`, which the caller owns and nobody else uses meanwhile; its address and
 * its length are multiples of 16 bytes.  The caller holds signals off.  Any thread, any signal handler.
 */
void hm_own_stack_call_on(void *stack, size_t stack_bytes, void (*function)(void *argument), void *argument);

/*
 * The same on a stack that is mapped for the call, or on the caller's own where there is no memory, with
 * signals held off, and with them thread cancellation: malloc is no cancellation point, but open() and the
 * like, which the function may call, are.  Keeps errno.
 */
void hm_own_stack_call(void (*function)(void *argument), void *argument);

#endif
