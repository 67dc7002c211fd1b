// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that wait in many ways, each in a function of its own.  Says "ready", and when its standard input
 * ends how often a call has returned: whoever looks at the threads must not wake them.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define SITE __attribute__((noinline))
#else
#define SITE __attribute__((noipa)) /* neither inlined, nor cloned under another name */
#endif

static _Atomic int return_count;
static _Atomic int begun_count;
static int pipe_ends[2];
static int socket_ends[2];
static int semaphores; /* of System V: removed in the end */

/* Room on the stack, so that each has a frame; and no jump in place of the call. */
#define WAIT(name, set_up, call)                                      \
	SITE static void wait_in_##name(void)                         \
	{                                                             \
		volatile char room[256] = { 0 };                      \
		set_up;                                               \
		atomic_fetch_add(&begun_count, 1);                    \
		for (;;) {                                            \
			(void)(call);                                 \
			atomic_fetch_add(&return_count, room[0] + 1); \
		}                                                     \
	}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

WAIT(epoll, int epoll = epoll_create1(0); struct epoll_event event, epoll_wait(epoll, &event, 1, -1))
WAIT(epoll_timeout, int epoll = epoll_create1(0);
     struct epoll_event event, epoll_wait(epoll, &event, 1, 1000000))
WAIT(condition, pthread_mutex_lock(&mutex), pthread_cond_wait(&condition, &mutex))
WAIT(semaphore, sem_t semaphore; sem_init(&semaphore, 0, 0), sem_wait(&semaphore))
WAIT(sleep, struct timespec time = { .tv_sec = 1000000 }, nanosleep(&time, NULL))
WAIT(poll, struct pollfd input = { .fd = pipe_ends[0] }, poll(&input, 1, -1))
WAIT(select, fd_set set; FD_ZERO(&set);
     FD_SET(pipe_ends[0], &set), select(pipe_ends[0] + 1, &set, NULL, NULL, NULL))
WAIT(read, char byte, read(pipe_ends[0], &byte, 1))
WAIT(receive, struct timeval time = { .tv_sec = 1000000 }; char byte;
     setsockopt(socket_ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)),
     recv(socket_ends[0], &byte, 1, 0))
WAIT(socket_read, char byte, read(socket_ends[0], &byte, 1))
WAIT(signal, sigset_t set; sigemptyset(&set); sigaddset(&set, SIGUSR2), sigwaitinfo(&set, NULL))
WAIT(semop, struct sembuf take = { .sem_op = -1 }, semop(semaphores, &take, 1))
WAIT(pause, , pause())

static void (*const waits[])(void) = {
	wait_in_epoll,  wait_in_epoll_timeout, wait_in_condition, wait_in_semaphore, wait_in_sleep,
	wait_in_poll,   wait_in_select,        wait_in_read,      wait_in_receive,   wait_in_socket_read,
	wait_in_signal, wait_in_semop,         wait_in_pause,
};

enum { WAIT_COUNT = sizeof(waits) / sizeof(waits[0]) };

static void *run(void *argument)
{
	const size_t index = (size_t)argument;
	char name[16];

	snprintf(name, sizeof(name), "wait-%zu", index);
	prctl(PR_SET_NAME, name);
	waits[index]();
	return argument;
}

/* One that never waits; its frame is found by a register that only a stop tells. */
SITE static void spin(size_t count)
{
	volatile char *const room = __builtin_alloca(count);

	atomic_fetch_add(&begun_count, 1);
	for (;;)
		room[count - 1]++;
}

static void *run_spin(void *argument)
{
	spin((size_t)argument);
	return argument;
}

int main(void)
{
	pthread_t thread;
	char byte;

	semaphores = semget(IPC_PRIVATE, 1, 0600);
	if (pipe(pipe_ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, socket_ends) != 0)
		abort();
	for (size_t i = 0; i < WAIT_COUNT; i++)
		if (pthread_create(&thread, NULL, run, (void *)i) != 0)
			abort();
	if (pthread_create(&thread, NULL, run_spin, (void *)(size_t)100) != 0)
		abort();
	while (atomic_load(&begun_count) < WAIT_COUNT + 1)
		usleep(1000);
	usleep(100000); /* from having begun to waiting is a step */
	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	printf("%d\n", atomic_load(&return_count));
	fflush(stdout);
	(void)semctl(semaphores, 0, IPC_RMID);
	_exit(0);
}
