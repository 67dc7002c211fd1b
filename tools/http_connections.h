// SPDX-License-Identifier: Apache-2.0
/*
 * The connections of an HTTP server, watched from beside the library that serves them.  It sees to two things
 * that the library does not:
 *
 *	A client has a time for what it does, however often it moves a byte: one that sends its request drop
 *	by drop, or takes its answer so, is cut off.  The library's own timeout is for silence alone.
 *
 *	A client that goes away while its connection is suspended is noticed: the library then looks at it
 *	only when it is resumed.  As in Go, who closes but the half it sends on counts as gone.
 *
 * A thread of its own waits for both.  A descriptor is only used under the lock, and the library tells us that
 * a connection ends (hm_connections_close) before it closes the descriptor: so under the lock a descriptor of
 * an open connection is that connection's, and not another's that was given the same number.  An event that
 * was fetched before the lock was had may be late: it names its connection by its place and by how often the
 * place was taken, and is dropped where that no longer fits.
 */
#ifndef HM_TOOLS_HTTP_CONNECTIONS_H
#define HM_TOOLS_HTTP_CONNECTIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hm_connection {
	int descriptor;       /* borrowed; -1: the place is free */
	uint32_t generation;  /* how often the place was taken */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	bool is_gone;         /* its client */
	void *waiter;         /* borrowed; NULL: nobody is to be told when the client goes away */
};

struct hm_connections {
	pthread_t thread;
	pthread_mutex_t lock; /* over the connections */
	int events;           /* owned: an epoll; -1: none */
	int timer;            /* owned: ticks while there are connections; -1: none */
	bool is_ending;
	/*
	 * Called with the lock held, at most once for each wait, from the thread or from hm_connections_wait.
	 * It may take other locks, under which no function of this file may be called then.
	 */
	void (*gone)(void *waiter);
	struct hm_connection *places; /* owned */
	size_t place_count;
	size_t open_count;
};

/*
 * Begins to watch at most count_max connections.  Returns 0 or a negative errno; hm_connections_done is right
 * after either.
 */
int hm_connections_start(struct hm_connections *connections, size_t count_max, void (*gone)(void *waiter));

/* From now on nobody is told and nobody is cut off.  The functions below are right until hm_connections_done.
 */
void hm_connections_stop(struct hm_connections *connections);
void hm_connections_done(struct hm_connections *connections);

/*
 * A connection begins, and ends, before its descriptor is closed.  NULL where there are count_max already: it
 * is shut down, since nobody could watch it.  The other functions accept NULL.
 */
struct hm_connection *hm_connections_open(struct hm_connections *connections, int descriptor);
void hm_connections_close(struct hm_connections *connections, struct hm_connection *connection);

/* Gives the client so many seconds from now on, in place of what it had; 0: any time. */
void hm_connections_allow(struct hm_connections *connections, struct hm_connection *connection,
			  unsigned int seconds);

/* `waiter` is to be told when the client goes away, or has gone already; and no longer. */
void hm_connections_wait(struct hm_connections *connections, struct hm_connection *connection, void *waiter);
void hm_connections_leave(struct hm_connections *connections, struct hm_connection *connection);

/* Shuts down those whose time is over at now_ns; the library then finds them ended.  Returns how many. */
size_t hm_connections_expire(struct hm_connections *connections, uint64_t now_ns);

#endif
