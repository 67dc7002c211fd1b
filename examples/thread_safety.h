// SPDX-License-Identifier: Apache-2.0
/*
 * Words for clang's thread-safety analysis (-Wthread-safety): which lock a function needs, takes or gives
 * back.  clang then refuses to compile a program that iterates a map without its lock, writes under a read
 * lock, or returns with a lock held.  Other compilers see nothing of it.
 *
 *	struct CAPABILITY("map") locked_map;
 *
 *	void locked_map_read_lock(struct locked_map *map) ACQUIRES_SHARED(map);
 *	bool locked_map_get(const struct locked_map *map, ...) REQUIRES_SHARED(map);
 *
 * The analysis sees one function at a time, and knows a lock by the expression that names it.
 *
 * GUARDED_BY is for variables only: in C, up to clang 19, a member of a struct cannot name another.  That is
 * why the locked map is a capability as a whole, and is reached through functions alone.
 */
#ifndef EXAMPLES_THREAD_SAFETY_H
#define EXAMPLES_THREAD_SAFETY_H

#if defined(__clang__)
#define THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define THREAD_SAFETY(attribute)
#endif

/* Of a struct: it is a lock; `name` is what the messages call it. */
#define CAPABILITY(name) THREAD_SAFETY(capability(name))

/* Of a function: it takes the lock, and returns with it. */
#define ACQUIRES(lock)        THREAD_SAFETY(acquire_capability(lock))
#define ACQUIRES_SHARED(lock) THREAD_SAFETY(acquire_shared_capability(lock))

/* Of a function: it gives back the lock that its caller holds. */
#define RELEASES(lock)        THREAD_SAFETY(release_capability(lock))
#define RELEASES_SHARED(lock) THREAD_SAFETY(release_shared_capability(lock))

/* Of a function: its caller holds the lock, alone or together with other readers; or does not hold it. */
#define REQUIRES(lock)        THREAD_SAFETY(requires_capability(lock))
#define REQUIRES_SHARED(lock) THREAD_SAFETY(requires_shared_capability(lock))
#define EXCLUDES(lock)        THREAD_SAFETY(locks_excluded(lock))

/* Of a variable: read with the lock held by anyone of us, written with it held alone.  PT_: what it points
 * at. */
#define GUARDED_BY(lock)    THREAD_SAFETY(guarded_by(lock))
#define PT_GUARDED_BY(lock) THREAD_SAFETY(pt_guarded_by(lock))

/* Of a function: what is annotated is built here, from what is not. */
#define NO_THREAD_SAFETY_ANALYSIS THREAD_SAFETY(no_thread_safety_analysis)

#endif
