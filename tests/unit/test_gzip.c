// SPDX-License-Identifier: Apache-2.0
/* What is packed comes out again; what is damaged is refused; equal input gives equal bytes. */
#include "proto/gzip.h"
#include "proto/output_file.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct buffer {
	uint8_t *bytes;
	size_t size_bytes;
	size_t capacity_bytes;
	size_t fail_at_bytes; /* -ENOSPC from here on; 0: never */
};

static int append(void *context, const void *data, size_t size_bytes)
{
	struct buffer *const buffer = context;

	if (buffer->fail_at_bytes != 0 && buffer->size_bytes + size_bytes > buffer->fail_at_bytes)
		return -ENOSPC;
	if (buffer->size_bytes + size_bytes > buffer->capacity_bytes) {
		buffer->capacity_bytes = 2 * (buffer->size_bytes + size_bytes);
		buffer->bytes = realloc(buffer->bytes, buffer->capacity_bytes);
	}
	memcpy(buffer->bytes + buffer->size_bytes, data, size_bytes);
	buffer->size_bytes += size_bytes;
	return 0;
}

static int pack(const uint8_t *data, size_t size_bytes, size_t piece_bytes, struct buffer *buffer)
{
	const struct hm_sink sink = { append, buffer };
	struct hm_arena arena;

	hm_arena_init(&arena, SIZE_MAX);
	struct hm_gzip *const gzip = hm_gzip_open(&arena, &sink);
	int error = 0;
	for (size_t at = 0; at < size_bytes && error == 0; at += piece_bytes)
		error = hm_gzip_write(gzip, data + at,
				      size_bytes - at < piece_bytes ? size_bytes - at : piece_bytes);
	const int finished = hm_gzip_finish(gzip);
	CHECK(error == 0 || finished == error); /* the first error stays */
	hm_arena_done(&arena);
	return finished;
}

static int unpack(const void *data, size_t size_bytes, size_t size_bytes_max, struct hm_arena *arena,
		  uint8_t **ret_unpacked, size_t *ret_unpacked_bytes, size_t *ret_trailing_bytes)
{
	hm_arena_init(arena, SIZE_MAX);
	return hm_gzip_unpack(arena, data, size_bytes, size_bytes_max, ret_unpacked, ret_unpacked_bytes,
			      ret_trailing_bytes);
}

/* Compressible, but not trivially so. */
static uint8_t *make_data(size_t size_bytes)
{
	uint8_t *const data = malloc(size_bytes + 1);

	for (size_t i = 0; i < size_bytes; i++)
		data[i] = (uint8_t)((i * i >> 7) ^ (i % 100 == 0 ? i >> 3 : 0));
	return data;
}

static void test_round_trip(void)
{
	static const size_t sizes[] = { 0, 1, 2, 100, 32767, 32768, 32769, 1000000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *const data = make_data(sizes[i]);
		struct buffer whole = { 0 };
		struct buffer again = { 0 };
		struct hm_arena arena;
		uint8_t *unpacked;
		size_t unpacked_bytes;
		size_t trailing_bytes;

		CHECK_EQ(pack(data, sizes[i], SIZE_MAX / 2, &whole), 0);
		CHECK_EQ(pack(data, sizes[i], SIZE_MAX / 2, &again), 0);
		CHECK(whole.size_bytes == again.size_bytes &&
		      memcmp(whole.bytes, again.bytes, whole.size_bytes) == 0);
		CHECK(hm_gzip_is_member(whole.bytes, whole.size_bytes));
		const uint8_t no_time[4] = { 0 };
		CHECK_EQ(memcmp(whole.bytes + 4, no_time, 4), 0);
		if (CHECK_EQ(unpack(whole.bytes, whole.size_bytes, sizes[i], &arena, &unpacked,
				    &unpacked_bytes, &trailing_bytes),
			     0)) {
			CHECK_EQ(unpacked_bytes, sizes[i]);
			CHECK_EQ(trailing_bytes, 0);
			CHECK_EQ(memcmp(unpacked, data, sizes[i]), 0);
		}
		hm_arena_done(&arena);
		free(whole.bytes);
		free(again.bytes);
		free(data);
	}
}

static void test_limits(void)
{
	uint8_t *const data = calloc(1, 4 << 20);
	struct buffer packed = { 0 };
	struct hm_arena arena;
	uint8_t *unpacked;
	size_t unpacked_bytes;
	size_t trailing_bytes;

	CHECK_EQ(pack(data, 4 << 20, 1000, &packed), 0);
	CHECK(packed.size_bytes < 64 << 10); /* a bomb */
	CHECK_EQ(unpack(packed.bytes, packed.size_bytes, (4 << 20) - 1, &arena, &unpacked, &unpacked_bytes,
			&trailing_bytes),
		 -EFBIG);
	CHECK(arena.mapped_bytes < 1 << 20); /* found out before any of it was kept */
	hm_arena_done(&arena);
	CHECK_EQ(unpack(packed.bytes, packed.size_bytes, 4 << 20, &arena, &unpacked, &unpacked_bytes,
			&trailing_bytes),
		 0);
	hm_arena_done(&arena);

	append(&packed, "more", 4);
	CHECK_EQ(unpack(packed.bytes, packed.size_bytes, 4 << 20, &arena, &unpacked, &unpacked_bytes,
			&trailing_bytes),
		 0);
	CHECK_EQ(trailing_bytes, 4);
	hm_arena_done(&arena);
	free(packed.bytes);
	free(data);
}

static void test_sink_errors(void)
{
	uint8_t *const data = make_data(1000000);
	struct buffer full = { .fail_at_bytes = 40000 };
	struct buffer full_at_once = { .fail_at_bytes = 1 };

	CHECK_EQ(pack(data, 1000000, 5000, &full), -ENOSPC);
	CHECK(full.size_bytes <= 40000);
	CHECK_EQ(pack(data, 10, 5000, &full_at_once), -ENOSPC);
	free(full.bytes);
	free(full_at_once.bytes);
	free(data);
}

/* Every shortening is refused, and nearly every change of one byte: the checksum sees it. */
static void test_damage(void)
{
	uint8_t *const data = make_data(3000);
	struct buffer packed = { 0 };
	struct hm_arena arena;
	uint8_t *unpacked;
	size_t unpacked_bytes;
	size_t trailing_bytes;
	uint64_t refused_count = 0;

	CHECK_EQ(pack(data, 3000, 3000, &packed), 0);
	for (size_t size = 2; size < packed.size_bytes; size += 3) {
		CHECK_EQ(unpack(packed.bytes, size, 1 << 20, &arena, &unpacked, &unpacked_bytes,
				&trailing_bytes),
			 -EBADMSG);
		hm_arena_done(&arena);
	}
	for (size_t i = 10; i < packed.size_bytes; i++) { /* the ten bytes before hold nothing that counts */
		packed.bytes[i] ^= 0x55;
		refused_count += unpack(packed.bytes, packed.size_bytes, 1 << 20, &arena, &unpacked,
					&unpacked_bytes, &trailing_bytes) != 0;
		hm_arena_done(&arena);
		packed.bytes[i] ^= 0x55;
	}
	CHECK_EQ(refused_count, packed.size_bytes - 10);
	CHECK(!hm_gzip_is_member("\x1f", 1));
	CHECK(!hm_gzip_is_member("PK", 2));
	free(packed.bytes);
	free(data);
}

/* --- Files -------------------------------------------------------------------------------------------- */

static char directory[PATH_MAX];

static const char *in_directory(const char *name)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int write_file(const char *path, enum hm_output_mode mode, size_t size_bytes)
{
	struct hm_output_file file;
	char *const data = calloc(1, size_bytes);
	int error = hm_output_open(path, mode, &file);

	if (error == 0) {
		const struct hm_sink sink = hm_output_sink(&file);

		error = sink.write(sink.context, data, size_bytes);
		if (error == 0)
			error = hm_output_commit(&file);
		else
			hm_output_abandon(&file);
	}
	free(data);
	return error;
}

static int64_t size_of(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 ? status.st_size : -1;
}

static void test_new_file(void)
{
	struct hm_output_file file;
	struct stat status;
	const mode_t old_mask = umask(0777); /* the mode is ours to choose */

	CHECK_EQ(write_file(in_directory("a"), HM_OUTPUT_NEW, 100), 0);
	umask(old_mask);
	CHECK_EQ(stat(in_directory("a"), &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0600);
	CHECK_EQ(status.st_size, 100);
	CHECK_EQ(write_file(in_directory("a"), HM_OUTPUT_NEW, 200), -EEXIST);
	CHECK_EQ(size_of(in_directory("a")), 100);
	CHECK_EQ(hm_output_open(in_directory("a"), HM_OUTPUT_NEW, &file),
		 -EEXIST); /* known before the work */

	/* Somebody takes the name between our first look and the end. */
	CHECK_EQ(hm_output_open(in_directory("b"), HM_OUTPUT_NEW, &file), 0);
	CHECK_EQ(size_of(in_directory("b")), -1); /* not there before it is whole */
	CHECK_EQ(symlink("nowhere", in_directory("b")), 0);
	CHECK_EQ(hm_output_commit(&file), -EEXIST);
	CHECK_EQ(unlink(in_directory("b")), 0);

	/* Left behind by a predecessor with our pid: another name is taken. */
	CHECK_EQ(hm_output_open(in_directory("c"), HM_OUTPUT_NEW, &file), 0);
	CHECK_EQ(write_file(in_directory("d"), HM_OUTPUT_NEW, 1), 0);
	hm_output_abandon(&file);
	CHECK_EQ(size_of(in_directory("c")), -1);
	CHECK_EQ(unlink(in_directory("d")), 0);

	CHECK_EQ(write_file(in_directory("no/such/directory"), HM_OUTPUT_NEW, 1), -ENOENT);
	CHECK_EQ(unlink(in_directory("a")), 0);
}

static void test_replaced_file(void)
{
	CHECK_EQ(write_file(in_directory("a"), HM_OUTPUT_REPLACE, 10), 0);
	CHECK_EQ(write_file(in_directory("a"), HM_OUTPUT_REPLACE, 20), 0);
	CHECK_EQ(size_of(in_directory("a")), 20);
	struct stat status;
	int64_t got = 0;

	/* What is no regular file stays what it is, and is written into.  (In our own directory: a test that
	 * asked for /dev/null would take it away from the machine on the day it fails.) */
	CHECK_EQ(mkfifo(in_directory("pipe"), 0600), 0);
	const int reader = open(in_directory("pipe"), O_RDONLY | O_NONBLOCK);
	CHECK_EQ(write_file(in_directory("pipe"), HM_OUTPUT_REPLACE, 8), 0);
	CHECK_EQ(read(reader, &got, sizeof(got)), 8);
	CHECK(lstat(in_directory("pipe"), &status) == 0 && S_ISFIFO(status.st_mode));
	close(reader);
	CHECK_EQ(unlink(in_directory("pipe")), 0);
	CHECK_EQ(symlink("/dev/full", in_directory("full")), 0);
	CHECK_EQ(write_file(in_directory("full"), HM_OUTPUT_REPLACE, 10), -ENOSPC);
	CHECK_EQ(unlink(in_directory("full")), 0);
	char target[PATH_MAX + 64];
	strcpy(target, in_directory("a"));
	CHECK_EQ(symlink(target, in_directory("link")), 0);
	CHECK_EQ(write_file(in_directory("link"), HM_OUTPUT_REPLACE, 5), 0);
	CHECK_EQ(size_of(target), 5);
	CHECK(lstat(in_directory("link"), &status) == 0 && S_ISLNK(status.st_mode));
	CHECK_EQ(unlink(in_directory("link")), 0);
	CHECK_EQ(unlink(target), 0);
}

static volatile sig_atomic_t signalled;

static void note_signal(int number)
{
	(void)number;
	signalled = 1;
}

static void test_size_limit(void)
{
	struct rlimit limit = { 50, 50 };
	struct rlimit old;

	signal(SIGXFSZ, note_signal);
	getrlimit(RLIMIT_FSIZE, &old);
	limit.rlim_max = old.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK_EQ(write_file(in_directory("a"), HM_OUTPUT_NEW, 50), 0);
	CHECK_EQ(write_file(in_directory("b"), HM_OUTPUT_NEW, 51), -EFBIG);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	CHECK_EQ(signalled, 0);
	CHECK_EQ(size_of(in_directory("b")), -1);
	CHECK_EQ(unlink(in_directory("a")), 0);
}

static void test_descriptor(void)
{
	int ends[2];
	char got[8];

	CHECK_EQ(pipe(ends), 0);
	const struct hm_sink sink = hm_descriptor_sink(&ends[1]);
	CHECK_EQ(sink.write(sink.context, "heapmark", 8), 0);
	CHECK_EQ(read(ends[0], got, 8), 8);
	CHECK_EQ(memcmp(got, "heapmark", 8), 0);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(sink.write(sink.context, "x", 1), -EPIPE);
	close(ends[1]);
}

int main(void)
{
	test_round_trip();
	test_limits();
	test_sink_errors();
	test_damage();
	scratch_make(directory);
	test_new_file();
	test_replaced_file();
	test_size_limit();
	scratch_remove(directory); /* complains of temporary files left behind */
	CHECK_EQ(size_of(directory), -1);
	test_descriptor();
	return check_result();
}
