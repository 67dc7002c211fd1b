// SPDX-License-Identifier: Apache-2.0
/*
 * closing HOW: closes every descriptor, takes the numbers for files, pipes, sockets and whatever else there
 * is, and sends a stream of known bytes through each while it allocates so much that the tables grow many
 * times.  What comes out at the other ends must be what went in.
 *	closefrom, range   all from 3 on, by that call
 *	loop               close() of each number up to 65535
 *	dup2               no close: each number becomes another file's
 *	unshare            a thread gets a descriptor table of its own, and closes in that
 *	cloexec            all from 3 on are to be closed by exec; the program executes itself
 */
#include "tests/subjects/truth.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	NUMBERS = 1024,
	CHANNELS = 40, /* of each kind */
	ROUNDS = 400,
	CHUNK_BYTES = 100,
	BLOCKS_A_ROUND = 100,
};

TRUTH(while_streaming)
static SITE struct block while_streaming(size_t size)
{
	return truth_allocated(&truth_of_while_streaming, malloc(size), size);
}

/* Stacks of many kinds, so that all tables grow: one for each number of 14 bits. */
static SITE struct block one_way(int number, int bits);
static SITE struct block other_way(int number, int bits)
{
	struct block block = bits == 0         ? while_streaming(16)
			     : number % 2 == 0 ? one_way(number / 2, bits - 1)
					       : other_way(number / 2, bits - 1);

	__asm__ volatile("" : : : "memory");
	return block;
}

static SITE struct block one_way(int number, int bits)
{
	struct block block = bits == 0         ? while_streaming(16)
			     : number % 2 == 0 ? one_way(number / 2, bits - 1)
					       : other_way(number / 2, bits - 1);

	__asm__ volatile("" : : : "memory");
	return block;
}

/* Where bytes go in and come out again; a file has one number for both. */
struct channel {
	const char *kind;
	int in;
	int out;
	uint64_t sent; /* checksums */
	uint64_t received;
};

static struct channel channels[3 * CHANNELS];
static uint64_t seed;

static uint64_t add_to_checksum(uint64_t checksum, const unsigned char *bytes, size_t count)
{
	for (size_t index = 0; index < count; index++)
		checksum = (checksum ^ bytes[index]) * UINT64_C(0x100000001b3);
	return checksum;
}

static void open_channels(void)
{
	for (int index = 0; index < CHANNELS; index++) {
		char name[32];
		int pair[2];

		(void)snprintf(name, sizeof(name), "own.%d", index);

		const int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

		if (file < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
			abort();
		channels[3 * index] = (struct channel){ .kind = "file", .in = file, .out = file };
		channels[3 * index + 1] = (struct channel){ .kind = "socket", .in = pair[0], .out = pair[1] };
		if (pipe2(pair, O_CLOEXEC) != 0)
			abort();
		channels[3 * index + 2] = (struct channel){ .kind = "pipe", .in = pair[1], .out = pair[0] };
	}
}

static void send_chunk(struct channel *channel)
{
	unsigned char chunk[CHUNK_BYTES];

	for (int index = 0; index < CHUNK_BYTES; index++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		chunk[index] = (unsigned char)(seed >> 56);
	}
	if (write(channel->in, chunk, sizeof(chunk)) != sizeof(chunk))
		abort();
	channel->sent = add_to_checksum(channel->sent, chunk, sizeof(chunk));
}

static void receive_chunk(struct channel *channel, int round)
{
	unsigned char chunk[CHUNK_BYTES];
	const ssize_t count = channel->in == channel->out
				      ? pread(channel->out, chunk, sizeof(chunk), (off_t)round * CHUNK_BYTES)
				      : read(channel->out, chunk, sizeof(chunk));

	if (count != sizeof(chunk))
		abort();
	channel->received = add_to_checksum(channel->received, chunk, sizeof(chunk));
}

static void check_channel(const struct channel *channel)
{
	struct stat status;

	if (fstat(channel->in, &status) != 0)
		abort();
	if (channel->in == channel->out && status.st_size != (off_t)ROUNDS * CHUNK_BYTES)
		say("%d: a file of %ld bytes", channel->in, (long)status.st_size);
	say("%s from %d to %d: %" PRIx64 " %s", channel->kind, channel->in, channel->out, channel->sent,
	    channel->sent == channel->received ? "as sent" : "not as sent");
}

static void stream(void)
{
	const int count = sizeof(channels) / sizeof(channels[0]);
	int number = 0;

	open_channels();

	/* Numbers of other kinds; nobody writes to them. */
	const int epoll = epoll_create1(0);
	const int event = eventfd(7, 0);
	uint64_t value = 0;

	for (int round = 0; round < ROUNDS; round++) {
		for (int index = 0; index < count; index++)
			send_chunk(&channels[index]);
		for (int block = 0; block < BLOCKS_A_ROUND; block++)
			(void)one_way(number++ % 16384, 14);
		for (int index = 0; index < count; index++)
			receive_chunk(&channels[index], round);
	}
	for (int index = 0; index < count; index++)
		check_channel(&channels[index]);
	if (read(event, &value, sizeof(value)) != sizeof(value) || value != 7 ||
	    epoll_wait(epoll, &(struct epoll_event){ 0 }, 1, 0) != 0)
		say("an event nobody has sent");
	say("epoll is %d, the event %d", epoll, event);
}

static void say_open(void)
{
	for (int number = 0; number < NUMBERS; number++) {
		if (fcntl(number, F_GETFD) >= 0)
			say("%d is open", number);
	}
}

/* Takes all numbers, ours among them, without closing one first; then has the room it needs again. */
static void take_all(void)
{
	const int null = open("/dev/null", O_RDWR);

	for (int number = 3; number < NUMBERS; number++) {
		if (number != null && dup2(null, number) != number)
			abort();
	}
	(void)while_streaming(1);
	for (int number = 3; number < NUMBERS; number++) {
		struct stat status;

		if (fstat(number, &status) != 0 || !S_ISCHR(status.st_mode))
			say("%d is not what it was made to be", number);
		(void)close(number);
	}
}

static void *stream_in_thread(void *unused)
{
	if (close_range(3, ~0U, CLOSE_RANGE_UNSHARE) != 0)
		abort();
	stream();
	return unused;
}

static void run_unshared(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, stream_in_thread, NULL) != 0 || pthread_join(thread, NULL) != 0)
		abort();
}

static void execute_again(const char *program)
{
	for (int number = 0; number < 100; number++)
		(void)open("/dev/null", O_RDONLY); /* inherited, but for the next call */
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
		abort();
	for (int number = 0; number < 16384; number++)
		(void)one_way(number, 14); /* the ledger is there still */
	truth_print();
	(void)execl(program, program, "executed", NULL);
	abort();
}

int main(int argc, char **argv)
{
	const struct rlimit limit = { NUMBERS, NUMBERS };
	const char *const how = argc == 2 ? argv[1] : "";

	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 2;
	(void)while_streaming(1);
	if (strcmp(how, "closefrom") == 0)
		closefrom(3);
	else if (strcmp(how, "range") == 0)
		(void)close_range(3, ~0U, 0);
	else if (strcmp(how, "dup2") == 0)
		take_all();
	else if (strcmp(how, "loop") == 0)
		for (int number = 3; number < 65536; number++)
			(void)close(number);
	else if (strcmp(how, "unshare") == 0)
		run_unshared();
	else if (strcmp(how, "cloexec") == 0)
		execute_again(argv[0]);
	else if (strcmp(how, "executed") != 0)
		return 2;
	if (strcmp(how, "unshare") != 0) {
		if (strcmp(how, "executed") == 0)
			closefrom(NUMBERS - 100); /* ours; the rest is what was inherited */
		say_open();
		stream();
	}
	truth_print();
	return 0;
}
