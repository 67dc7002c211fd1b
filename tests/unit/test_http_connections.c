// SPDX-License-Identifier: Apache-2.0
/* Clients that take too long, and clients that go away: with a clock of the test's, and with work that waits. */
#include "tests/unit/check.h"
#include "tools/http_connections.h"
#include "tools/http_worker.h"

#include <semaphore.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const uint64_t second_ns = 1000000000;

static uint64_t clock_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * second_ns + (uint64_t)now.tv_nsec;
}

/* ---- deadlines ------------------------------------------------------------------------------------ */

static bool is_shut_down(int descriptor)
{
	char byte;

	return recv(descriptor, &byte, 1, MSG_DONTWAIT) == 0;
}

static void nobody(void *waiter)
{
	(void)waiter;
	CHECK(false);
}

static void test_deadlines(void)
{
	struct hm_connections connections;
	struct hm_connection *watched[3];
	int ends[4][2];

	CHECK_EQ(hm_connections_start(&connections, 3, nobody), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]), 0);
	for (int i = 0; i < 3; i++) {
		watched[i] = hm_connections_open(&connections, ends[i][0]);
		CHECK(watched[i] != NULL);
	}
	CHECK(hm_connections_open(&connections, ends[3][0]) == NULL);
	CHECK(is_shut_down(ends[3][1]));

	/* days: the thread's own clock is not to get there before the test's */
	const uint64_t before_ns = clock_ns();
	hm_connections_allow(&connections, watched[0], 100000);
	hm_connections_allow(&connections, watched[1], 200000);
	hm_connections_allow(&connections, watched[2], 100000);
	hm_connections_allow(&connections, watched[2], 0);
	const uint64_t after_ns = clock_ns();

	CHECK_EQ(hm_connections_expire(&connections, before_ns + 99999 * second_ns), 0);
	CHECK(!is_shut_down(ends[0][1]));
	CHECK_EQ(hm_connections_expire(&connections, after_ns + 100000 * second_ns), 1);
	CHECK(is_shut_down(ends[0][1]));
	CHECK(!is_shut_down(ends[1][1]));
	CHECK_EQ(hm_connections_expire(&connections, after_ns + 100000 * second_ns), 0);

	/* the place of one that was closed begins anew */
	hm_connections_close(&connections, watched[1]);
	watched[1] = hm_connections_open(&connections, ends[1][0]);
	CHECK_EQ(hm_connections_expire(&connections, UINT64_MAX), 0);
	CHECK(!is_shut_down(ends[2][1]));
	hm_connections_allow(&connections, NULL, 1);
	hm_connections_close(&connections, NULL);
	for (int i = 0; i < 3; i++)
		hm_connections_close(&connections, watched[i]);
	hm_connections_stop(&connections);
	hm_connections_done(&connections);
	for (int i = 0; i < 8; i++)
		(void)close(ends[i / 2][i % 2]);
}

/* ---- work that nobody wants any more -------------------------------------------------------------- */

struct delta {
	struct hm_work work; /* first */
	sem_t begun;
	sem_t may_go_on;
	sem_t ended;
	enum hm_work_end end;
	int run_count;
};

static struct hm_worker worker;

static uint64_t run_delta(struct hm_work *work)
{
	struct delta *const delta = (struct delta *)work;

	(void)sem_post(&delta->begun);
	(void)sem_wait(&delta->may_go_on);
	return ++delta->run_count == 1 ? 3600 * second_ns : 0;
}

static void end_delta(struct hm_work *work, enum hm_work_end end)
{
	struct delta *const delta = (struct delta *)work;

	delta->end = end;
	(void)sem_post(&delta->ended);
}

static void init_delta(struct delta *delta)
{
	*delta = (struct delta){ .work = { .run = run_delta, .done = end_delta } };
	(void)sem_init(&delta->begun, 0, 0);
	(void)sem_init(&delta->may_go_on, 0, 0);
	(void)sem_init(&delta->ended, 0, 0);
}

static void cancel(void *waiter)
{
	hm_worker_cancel(&worker, waiter);
}

/* The client goes away: before the work is added, while it runs, and while it waits. */
static void test_hang_up(int when)
{
	struct hm_connections connections;
	struct delta delta;
	int ends[2];

	init_delta(&delta);
	CHECK_EQ(hm_worker_start(&worker, 1), 0);
	CHECK_EQ(hm_connections_start(&connections, 2, cancel), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	struct hm_connection *const watched = hm_connections_open(&connections, ends[0]);

	if (when == 0)
		(void)close(ends[1]);
	CHECK(hm_worker_reserve(&worker));
	hm_connections_wait(&connections, watched, &delta.work);
	hm_worker_add(&worker, &delta.work);
	(void)sem_wait(&delta.begun);
	if (when == 1)
		(void)close(ends[1]);
	(void)sem_post(&delta.may_go_on);
	if (when == 2)
		(void)shutdown(ends[1], SHUT_WR); /* half of it is enough */
	(void)sem_wait(&delta.ended);
	CHECK_EQ(delta.end, HM_WORK_CANCELLED);
	CHECK_EQ(delta.run_count, 1);
	hm_connections_leave(&connections, watched);

	/* who comes later is told at once; who has left is not */
	struct delta other;
	init_delta(&other);
	hm_connections_wait(&connections, watched, &other.work);
	hm_connections_leave(&connections, watched);
	CHECK_EQ(other.work.is_cancelled, true);
	hm_connections_close(&connections, watched);
	hm_connections_stop(&connections);
	hm_worker_stop(&worker);
	hm_connections_done(&connections);
	(void)close(ends[0]);
	if (when == 2)
		(void)close(ends[1]);
}

/* Work that has not begun is done all the same, and what waits when the worker ends is abandoned. */
static void test_worker(void)
{
	struct delta first;
	struct delta second;

	init_delta(&first);
	init_delta(&second);
	CHECK_EQ(hm_worker_start(&worker, 2), 0);
	CHECK(hm_worker_reserve(&worker));
	hm_worker_add(&worker, &first.work);
	CHECK(hm_worker_reserve(&worker));
	CHECK(!hm_worker_reserve(&worker));
	second.run_count = 1; /* done with one run */
	hm_worker_add(&worker, &second.work);
	hm_worker_cancel(&worker, &second.work);
	(void)sem_post(&second.may_go_on);
	(void)sem_post(&first.may_go_on);
	(void)sem_wait(&second.ended);
	CHECK_EQ(second.end, HM_WORK_DONE);
	hm_worker_stop(&worker);
	CHECK_EQ(first.end, HM_WORK_ABANDONED);
	CHECK_EQ(first.run_count, 1);
}

int main(void)
{
	test_deadlines();
	for (int when = 0; when < 3; when++)
		test_hang_up(when);
	test_worker();
	return check_result();
}
