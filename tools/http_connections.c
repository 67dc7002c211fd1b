// SPDX-License-Identifier: Apache-2.0
#include "tools/http_connections.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_SECOND = 1000000000 };

/* What an event of the timer has in place of a connection; no place is so far back. */
static const uint64_t timer_mark = UINT64_MAX;

static uint64_t clock_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* ---- the thread ----------------------------------------------------------------------------------- */

/* Called with the lock held. */
static void tell(struct hm_connections *connections, struct hm_connection *connection)
{
	void *const waiter = connection->waiter;

	connection->waiter = NULL;
	if (waiter != NULL)
		connections->gone(waiter);
}

static void note_gone(struct hm_connections *connections, uint64_t mark)
{
	struct hm_connection *const connection = &connections->places[mark & UINT32_MAX];

	(void)pthread_mutex_lock(&connections->lock);
	if (connection->descriptor >= 0 && connection->generation == mark >> 32) {
		connection->is_gone = true;
		tell(connections, connection);
	}
	(void)pthread_mutex_unlock(&connections->lock);
}

static bool take_tick(struct hm_connections *connections)
{
	uint64_t ticks = 0;
	bool is_ending = false;

	(void)!read(connections->timer, &ticks, sizeof(ticks));
	(void)pthread_mutex_lock(&connections->lock);
	is_ending = connections->is_ending;
	(void)pthread_mutex_unlock(&connections->lock);
	if (!is_ending)
		(void)hm_connections_expire(connections, clock_ns());
	return !is_ending;
}

static void *watch(void *context)
{
	enum { EVENTS = 64 };
	struct hm_connections *const connections = context;
	struct epoll_event events[EVENTS];
	bool goes_on = true;

	while (goes_on) {
		const int count = epoll_wait(connections->events, events, EVENTS, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.u64 == timer_mark)
				goes_on = take_tick(connections);
			else
				note_gone(connections, events[i].data.u64);
	}
	return NULL;
}

/* Every second, as long as there are connections; once, at once, to have the thread look at is_ending. */
static void set_timer(const struct hm_connections *connections)
{
	const bool ticks = connections->open_count > 0 || connections->is_ending;
	const struct itimerspec time = {
		.it_value = { .tv_sec = ticks && !connections->is_ending, .tv_nsec = ticks },
		.it_interval = { .tv_sec = ticks },
	};

	(void)timerfd_settime(connections->timer, 0, &time, NULL);
}

/* ---- begin and end -------------------------------------------------------------------------------- */

static int begin(struct hm_connections *connections)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = timer_mark };

	connections->events = epoll_create1(EPOLL_CLOEXEC);
	connections->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (connections->places == NULL)
		return -ENOMEM;
	if (connections->events < 0 || connections->timer < 0 ||
	    epoll_ctl(connections->events, EPOLL_CTL_ADD, connections->timer, &event) != 0)
		return -errno;
	return -pthread_create(&connections->thread, NULL, watch, connections);
}

int hm_connections_start(struct hm_connections *connections, size_t count_max, void (*gone)(void *waiter))
{
	*connections = (struct hm_connections){
		.gone = gone,
		.places = calloc(count_max, sizeof(*connections->places)),
		.place_count = count_max,
	};
	(void)pthread_mutex_init(&connections->lock, NULL);
	for (size_t i = 0; connections->places != NULL && i < count_max; i++)
		connections->places[i].descriptor = -1;
	return begin(connections);
}

void hm_connections_stop(struct hm_connections *connections)
{
	(void)pthread_mutex_lock(&connections->lock);
	connections->is_ending = true;
	set_timer(connections);
	(void)pthread_mutex_unlock(&connections->lock);
	(void)pthread_join(connections->thread, NULL);
}

void hm_connections_done(struct hm_connections *connections)
{
	if (connections->events >= 0)
		(void)close(connections->events);
	if (connections->timer >= 0)
		(void)close(connections->timer);
	(void)pthread_mutex_destroy(&connections->lock);
	free(connections->places);
}

/* ---- connections ---------------------------------------------------------------------------------- */

static struct hm_connection *free_place(struct hm_connections *connections)
{
	for (size_t i = 0; i < connections->place_count; i++)
		if (connections->places[i].descriptor < 0)
			return &connections->places[i];
	return NULL;
}

/*
 * Watches the connection until it is closed.  Once: a client that has gone does not come back, and an event
 * that stays would be reported again and again.
 */
static void add_events(const struct hm_connections *connections, const struct hm_connection *connection)
{
	const uint64_t place = (uint64_t)(connection - connections->places);
	struct epoll_event event = {
		.events = EPOLLRDHUP | EPOLLONESHOT, /* errors and hang-ups are always reported */
		.data.u64 = (uint64_t)connection->generation << 32 | place,
	};

	(void)epoll_ctl(connections->events, EPOLL_CTL_ADD, connection->descriptor, &event);
}

struct hm_connection *hm_connections_open(struct hm_connections *connections, int descriptor)
{
	struct hm_connection *connection = NULL;

	(void)pthread_mutex_lock(&connections->lock);
	connection = free_place(connections);
	if (connection != NULL) {
		*connection = (struct hm_connection){
			.descriptor = descriptor,
			.generation = connection->generation + 1,
		};
		add_events(connections, connection);
		if (connections->open_count++ == 0)
			set_timer(connections);
	} else {
		(void)shutdown(descriptor, SHUT_RDWR);
	}
	(void)pthread_mutex_unlock(&connections->lock);
	return connection;
}

void hm_connections_close(struct hm_connections *connections, struct hm_connection *connection)
{
	if (connection == NULL)
		return;
	(void)pthread_mutex_lock(&connections->lock);
	(void)epoll_ctl(connections->events, EPOLL_CTL_DEL, connection->descriptor, NULL);
	connection->descriptor = -1;
	if (--connections->open_count == 0)
		set_timer(connections);
	(void)pthread_mutex_unlock(&connections->lock);
}

void hm_connections_allow(struct hm_connections *connections, struct hm_connection *connection,
			  unsigned int seconds)
{
	if (connection == NULL)
		return;
	(void)pthread_mutex_lock(&connections->lock);
	connection->deadline_ns = seconds > 0 ? clock_ns() + (uint64_t)seconds * NS_PER_SECOND : 0;
	(void)pthread_mutex_unlock(&connections->lock);
}

void hm_connections_wait(struct hm_connections *connections, struct hm_connection *connection, void *waiter)
{
	if (connection == NULL)
		return;
	(void)pthread_mutex_lock(&connections->lock);
	connection->waiter = waiter;
	if (connection->is_gone)
		tell(connections, connection);
	(void)pthread_mutex_unlock(&connections->lock);
}

void hm_connections_leave(struct hm_connections *connections, struct hm_connection *connection)
{
	if (connection == NULL)
		return;
	(void)pthread_mutex_lock(&connections->lock);
	connection->waiter = NULL;
	(void)pthread_mutex_unlock(&connections->lock);
}

size_t hm_connections_expire(struct hm_connections *connections, uint64_t now_ns)
{
	size_t count = 0;

	(void)pthread_mutex_lock(&connections->lock);
	for (size_t i = 0; i < connections->place_count; i++) {
		struct hm_connection *const connection = &connections->places[i];

		if (connection->descriptor < 0 || connection->deadline_ns == 0 ||
		    now_ns < connection->deadline_ns)
			continue;
		connection->deadline_ns = 0; /* once is enough */
		(void)shutdown(connection->descriptor, SHUT_RDWR);
		count++;
	}
	(void)pthread_mutex_unlock(&connections->lock);
	return count;
}
