// SPDX-License-Identifier: Apache-2.0
#include "examples/readers.h"

#include <urcu/urcu-memb.h>

/*
 * What the thread sanitizer is told.  It sees neither the stores of a reader, made inside liburcu, nor the
 * barriers, made by the kernel; so it is told what they amount to, as liburcu documents it: all that a reader
 * did up to readers_end happens before readers_wait returns.  (A little too much is told: of readers that
 * began after readers_wait did, too.)  It is not told to look away from anything: a reader that is still at
 * work when its map is freed is reported; tests/map/check_races makes one.
 */
#if defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_THREAD_SANITIZER 1
#endif
#endif

#if defined(HAS_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>

static char grace; /* its address stands for the order */

static void tell_reader_ends(void)
{
	__tsan_release(&grace);
}

static void tell_readers_have_ended(void)
{
	__tsan_acquire(&grace);
}
#else
static void tell_reader_ends(void)
{
}

static void tell_readers_have_ended(void)
{
}
#endif

void readers_join(void)
{
	urcu_memb_register_thread();
}

void readers_leave(void)
{
	urcu_memb_unregister_thread();
}

void readers_begin(void)
{
	urcu_memb_read_lock();
}

void readers_end(void)
{
	tell_reader_ends();
	urcu_memb_read_unlock();
}

void readers_wait(void)
{
	urcu_memb_synchronize_rcu();
	tell_readers_have_ended();
}
