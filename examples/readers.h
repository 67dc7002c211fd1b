// SPDX-License-Identifier: Apache-2.0
/*
 * Readers that take no lock: liburcu (read-copy-update), with what the thread sanitizer must be told of it.
 *
 *	a reader                                   a writer
 *	readers_begin();                           new = build();
 *	thing = atomic_load(acquire) of a pointer  old = atomic_exchange(acq_rel) of the pointer
 *	... uses it ...                            readers_wait();
 *	readers_end();                             free(old);
 *
 * readers_wait returns when every reader that had begun before it was called has ended: none of them can hold
 * the old thing any more, and those that began since hold the new one.  Readers never wait and never retry.
 *
 * The flavour of liburcu is "memb": a reader costs two plain stores and no barrier, since the writer has the
 * kernel (membarrier) put the barriers into all threads.  The pointer itself is a C11 atomic and not
 * rcu_xchg_pointer, which is a call of a library that was built without the thread sanitizer: it would not
 * see the order that the exchange establishes.
 */
#ifndef EXAMPLES_READERS_H
#define EXAMPLES_READERS_H

/* Each thread, before it reads for the first time, and before it ends. */
void readers_join(void);
void readers_leave(void);

/* Around each use.  May be nested.  What lies between keeps writers waiting: no locks, no sleep. */
void readers_begin(void);
void readers_end(void);

/* By a thread that is not between readers_begin and readers_end. */
void readers_wait(void);

#endif
