// SPDX-License-Identifier: Apache-2.0
#include "preload/ledger_file.h"

#include "preload/memory.h"
#include "preload/process.h"
#include "preload/sandbox.h"
#include "preload/say.h"
#include "preload/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
enum { MADV_POPULATE_WRITE = 23 };
#endif

enum {
	PAGE_BYTES = 4096,
	/* With room for a process that may not let it grow later: sshd sets RLIMIT_FSIZE to 0. */
	FIRST_GRANT_BYTES = 256 * 1024,
	GROWTH_MIN_BYTES = 128 * 1024,
	GROWTH_MAX_BYTES = 1024 * 1024, /* what can be on the disk and not yet used */
	NAME_TRIES_MAX = 10000,
	DESCRIPTOR_MIN = 10,       /* shells and daemons give meanings to the numbers below */
	GROWTH_WAITS_MAX = 100000, /* some 50 ms; a segment of 32 MiB takes 10 */
};

static uint64_t round_up(uint64_t bytes, uint64_t alignment)
{
	return (bytes + alignment - 1) & ~(alignment - 1);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t limit_of(const struct hm_ledger_file *ledger)
{
	return atomic_load_explicit(&ledger->limit_bytes, memory_order_relaxed);
}

/* Growing beyond RLIMIT_FSIZE would send SIGXFSZ, so the limit is asked for every time: programs change it.
 */
static bool file_size_is_allowed(uint64_t size_bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	       size_bytes <= limit.rlim_cur;
}

/* A number out of the way of programs that count on getting low ones, or that select(): below 1024. */
static int move_high(int descriptor)
{
	enum { ROOM_BELOW_THE_LIMIT = 32, SELECT_LIMIT = 1024 };
	struct rlimit limit;
	uint64_t top = SELECT_LIMIT;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		top = min_u64(top, limit.rlim_cur);

	const int lowest = top > DESCRIPTOR_MIN + ROOM_BELOW_THE_LIMIT ? (int)top - ROOM_BELOW_THE_LIMIT
								       : DESCRIPTOR_MIN;
	const int high = fcntl(descriptor, F_DUPFD_CLOEXEC, lowest);

	(void)close(descriptor);
	return high;
}

static bool is_ours(const struct hm_ledger_file *ledger, const struct stat *status)
{
	return status->st_dev == ledger->device && status->st_ino == ledger->inode;
}

bool hm_ledger_has_descriptor(const struct hm_ledger_file *ledger)
{
	const int saved_errno = errno;
	struct stat status;
	const bool is_there = ledger->descriptor >= 0 && fstat(ledger->descriptor, &status) == 0 &&
			      is_ours(ledger, &status);

	errno = saved_errno;
	return is_there;
}

bool hm_ledger_is_removed(const struct hm_ledger_file *ledger)
{
	const int saved_errno = errno;
	struct stat status;
	const bool is_removed = ledger->descriptor >= 0 && fstat(ledger->descriptor, &status) == 0 &&
				is_ours(ledger, &status) && status.st_nlink == 0;

	errno = saved_errno;
	return is_removed;
}

static bool path_is_ours(const struct hm_ledger_file *ledger)
{
	struct stat status;

	return ledger->path[0] != '\0' && lstat(ledger->path, &status) == 0 && is_ours(ledger, &status);
}

/*
 * Makes the file longer by writing zeros, which allocates blocks as fallocate does, or promises them, on
 * every file system.  It is the cheaper way: a page that was written is in the cache and costs a tenth to
 * store to for the first time; on ext4 a process that starts and ends takes 75 microseconds for its ledger
 * instead of 180.
 *
 * Raw: the wrapper of the C library is a cancellation point, and we run inside malloc.
 */
static int append_zeros(int descriptor, uint64_t start, uint64_t end)
{
	static uint8_t zeros[16 * 1024]; /* never written to: all its pages are the kernel's one of zeros */

	while (start < end) {
		const long count =
			syscall(SYS_pwrite64, descriptor, zeros, min_u64(end - start, sizeof(zeros)), start);

		if (count <= 0)
			return count < 0 ? -errno : -ENOSPC;
		start += (uint64_t)count;
	}
	return 0;
}

/*
 * Makes the file longer without a descriptor.  The blocks are allocated by writing to each page through the
 * mapping, which the kernel can be asked to do (since 5.14) with an error code in place of a SIGBUS.
 */
static int extend_and_populate(struct hm_ledger_file *ledger, uint64_t start, uint64_t end)
{
	if (truncate(ledger->path, (off_t)end) != 0 ||
	    madvise(ledger->base + start, end - start, MADV_POPULATE_WRITE) != 0)
		return -errno;
	return 0;
}

static int make_longer(struct hm_ledger_file *ledger, uint64_t start, uint64_t end)
{
	if (!file_size_is_allowed(end))
		return -EFBIG;
	if (!hm_ledger_has_descriptor(ledger))
		return hm_may(HM_MAY_TRUNCATE) && path_is_ours(ledger)
			       ? extend_and_populate(ledger, start, end)
			       : -EBADF;

	return append_zeros(ledger->descriptor, start, end);
}

/*
 * One thread makes the file longer, others wait for it: a second truncate with a smaller length would cut
 * off what the first has granted.  The wait is bounded, so that a holder that will never come back (a thread
 * that another one killed) costs samples and not the program: he is waited for once a second.
 */
static bool growth_begin(struct hm_ledger_file *ledger)
{
	for (int tries = 0; tries < GROWTH_WAITS_MAX; tries++) {
		int idle = 0;

		/* acquire: pairs with growth_end; sees the granted_bytes of whoever grew before us */
		if (atomic_compare_exchange_strong_explicit(&ledger->growing, &idle, 1, memory_order_acquire,
							    memory_order_relaxed))
			return true;
		hm_sandbox_yield();
	}
	return false;
}

static void growth_end(struct hm_ledger_file *ledger)
{
	/* release: pairs with growth_begin */
	atomic_store_explicit(&ledger->growing, 0, memory_order_release);
}

/* Whether a system call less than a second ago has said that there is no room. */
static bool was_just_refused(const struct hm_ledger_file *ledger)
{
	/* relaxed: a hint */
	const uint64_t ticks = atomic_load_explicit(&ledger->refused_ticks, memory_order_relaxed);

	return ticks != 0 && hm_process_ticks() - ticks < HM_TICKS_PER_SECOND;
}

/* Grants at least up to `end`, and more where there is room.  Under growth_begin. */
static int grow_to(struct hm_ledger_file *ledger, uint64_t end)
{
	struct hm_ledger_header *const header = hm_ledger_header(ledger);
	/* relaxed: only the holder of `growing` writes it */
	const uint64_t granted = atomic_load_explicit(&header->granted_bytes, memory_order_relaxed);
	const uint64_t limit_bytes = limit_of(ledger);
	uint64_t step = granted / 4;

	if (end <= granted)
		return 0; /* another thread did it while we waited */
	if (end > limit_bytes)
		return -ENOSPC; /* another thread has cut the mapping off */
	if (step < GROWTH_MIN_BYTES)
		step = GROWTH_MIN_BYTES;
	if (step > GROWTH_MAX_BYTES)
		step = GROWTH_MAX_BYTES;

	uint64_t target = min_u64(round_up(end + step, PAGE_BYTES), limit_bytes);
	int error = make_longer(ledger, granted, target);

	if (error != 0) { /* perhaps there is room for just this */
		target = min_u64(round_up(end, PAGE_BYTES), limit_bytes);
		error = make_longer(ledger, granted, target);
	}
	if (error == 0)
		/* relaxed: the bytes are the kernel's zeros; nothing is read on the strength of it */
		atomic_store_explicit(&header->granted_bytes, target, memory_order_relaxed);
	return error;
}

/* Asks for room up to `end`; what comes of it is remembered. */
static bool grow(struct hm_ledger_file *ledger, uint64_t end)
{
	const int saved_errno = errno;
	struct hm_signals_saved saved;
	bool granted = false;

	hm_signals_block(&saved); /* a handler that leaves by longjmp would leave `growing` set */
	if (growth_begin(ledger)) {
		granted = grow_to(ledger, end) == 0;
		/* relaxed: a hint */
		atomic_store_explicit(&ledger->refused_ticks, granted ? 0 : hm_process_ticks(),
				      memory_order_relaxed);
		growth_end(ledger);
	} else {
		/* relaxed: as above */
		atomic_store_explicit(&ledger->refused_ticks, hm_process_ticks(), memory_order_relaxed);
	}
	hm_signals_restore(&saved);
	errno = saved_errno;
	return granted;
}

static bool ensure_granted(struct hm_ledger_file *ledger, uint64_t end)
{
	/* relaxed: see grow_to */
	if (end <= atomic_load_explicit(&hm_ledger_header(ledger)->granted_bytes, memory_order_relaxed))
		return true;
	return hm_may(HM_MAY_GROW) && !was_just_refused(ledger) && grow(ledger, end);
}

uint64_t hm_ledger_allocate(struct hm_ledger_file *ledger, uint64_t size_bytes)
{
	_Atomic uint64_t *const next = &hm_ledger_header(ledger)->arena_next;
	/* acquire on success: space that was given back is zeroed before it is granted again.
	 * Otherwise relaxed: whoever publishes what he puts there orders it. */
	uint64_t start = atomic_load_explicit(next, memory_order_relaxed);

	size_bytes = round_up(size_bytes, HM_UNIT);
	do {
		if (start + size_bytes > limit_of(ledger) || !ensure_granted(ledger, start + size_bytes)) {
			hm_ledger_lose(ledger, HM_LOSS_GROWTH);
			return 0;
		}
	} while (!atomic_compare_exchange_weak_explicit(next, &start, start + size_bytes,
							memory_order_acquire, memory_order_relaxed));
	return start;
}

void hm_ledger_grow_ahead(struct hm_ledger_file *ledger, uint64_t ahead_bytes)
{
	/* relaxed: a guess; whoever is granted something meanwhile uses up some of it */
	const uint64_t next =
		atomic_load_explicit(&hm_ledger_header(ledger)->arena_next, memory_order_relaxed);

	/* Each try asks: that there is no room for more says nothing of less. */
	for (; hm_may(HM_MAY_GROW) && ahead_bytes >= GROWTH_MIN_BYTES; ahead_bytes /= 2)
		if (grow(ledger, min_u64(next + ahead_bytes, limit_of(ledger))))
			return;
}

void hm_ledger_give_back(struct hm_ledger_file *ledger, uint64_t offset, uint64_t size_bytes)
{
	uint64_t end = offset + round_up(size_bytes, HM_UNIT);

	/* release: the caller's zeros come before the next owner's compare-and-swap, which follows this one
	 */
	(void)atomic_compare_exchange_strong_explicit(&hm_ledger_header(ledger)->arena_next, &end, offset,
						      memory_order_release, memory_order_relaxed);
}

uint32_t hm_ledger_store_string(struct hm_ledger_file *ledger, const char *text, size_t length_bytes)
{
	const uint64_t offset = hm_ledger_allocate(ledger, sizeof(struct hm_ledger_string) + length_bytes);

	if (offset == 0)
		return 0;

	struct hm_ledger_string *const string = hm_ledger_at(ledger, offset);

	string->length_bytes = (uint32_t)length_bytes;
	memcpy(string->text, text, length_bytes);
	return (uint32_t)(offset / HM_UNIT);
}

void *hm_ledger_segment(struct hm_ledger_file *ledger, struct hm_ledger_segment *segment, uint64_t size_bytes)
{
	/* acquire [segment.publish] */
	uint64_t offset = atomic_load_explicit(&segment->offset, memory_order_acquire);

	if (offset != 0)
		return hm_ledger_at(ledger, offset);

	const uint64_t fresh = hm_ledger_allocate(ledger, size_bytes);

	if (fresh == 0)
		return NULL;
	/* release [segment.publish]: slots are zero, that is empty, before they can be found */
	if (atomic_compare_exchange_strong_explicit(&segment->offset, &offset, fresh, memory_order_release,
						    memory_order_acquire))
		return hm_ledger_at(ledger, fresh);
	hm_ledger_give_back(ledger, fresh, size_bytes);
	return hm_ledger_at(ledger, offset);
}

static void lay_out(struct hm_ledger_file *ledger, uint64_t granted_bytes)
{
	struct hm_ledger_header *const header = hm_ledger_header(ledger);

	memcpy(header->magic, HM_LEDGER_MAGIC, sizeof(header->magic));
	header->version = HM_LEDGER_VERSION;
	header->byte_order = HM_LEDGER_BYTE_ORDER;
	header->limit_bytes = limit_of(ledger);
	atomic_init(&header->arena_next, HM_LEDGER_ARENA_OFFSET);
	atomic_init(&header->granted_bytes, granted_bytes);
}

static bool name_is_taken(const char *profile_path)
{
	struct stat status;

	return lstat(profile_path, &status) == 0;
}

/* Opens a file that did not exist, or returns a negative errno. */
static int open_new(const char *directory, const char *comm, uint32_t pid, struct hm_ledger_file *ledger)
{
	char profile_path[PATH_MAX];

	for (unsigned int number = 1; number <= NAME_TRIES_MAX; number++) {
		char suffix[16] = "";

		if (number > 1)
			(void)hm_format(suffix, sizeof(suffix), "-%u", number);
		if (!hm_format(ledger->path, sizeof(ledger->path), "%s/heapmark.%s.%u%s.ledger", directory,
			       comm, pid, suffix) ||
		    !hm_format(profile_path, sizeof(profile_path), "%s/heapmark.%s.%u%s.pb.gz", directory,
			       comm, pid, suffix))
			return -ENAMETOOLONG;
		if (name_is_taken(profile_path))
			continue;

		const int descriptor = open(ledger->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
					    S_IRUSR | S_IWUSR);

		if (descriptor >= 0) {
			(void)fchmod(descriptor, S_IRUSR | S_IWUSR); /* whatever the umask */
			return descriptor;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int set_up_file(int descriptor, struct hm_ledger_file *ledger)
{
	struct stat status;

	if (fstat(descriptor, &status) != 0)
		return -errno;
	ledger->device = status.st_dev;
	ledger->inode = status.st_ino;
	/* The mapping is longer than the file: pages beyond its end are never touched before they are
	 * granted. */
	ledger->base = mmap(NULL, limit_of(ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			    descriptor, 0);
	if (ledger->base == MAP_FAILED) {
		ledger->base = NULL;
		return -errno;
	}
	/* Where the file has been removed, a core dump would take it for memory of the program's. */
	(void)madvise(ledger->base, limit_of(ledger), MADV_DONTDUMP);
	ledger->descriptor = descriptor;

	const int error = make_longer(ledger, 0, FIRST_GRANT_BYTES);

	if (error != 0) {
		(void)munmap(ledger->base, limit_of(ledger));
		ledger->base = NULL;
	}
	return error;
}

static int create_file(const char *directory, const char *comm, uint32_t pid, struct hm_ledger_file *ledger)
{
	const int descriptor = open_new(directory, comm, pid, ledger);

	if (descriptor < 0)
		return descriptor;

	const int error = set_up_file(descriptor, ledger);

	if (error != 0) {
		(void)unlink(ledger->path);
		(void)close(descriptor);
		return error;
	}
	ledger->descriptor = move_high(descriptor);
	return 0;
}

int hm_ledger_create(const char *directory, const char *comm, uint32_t pid, uint64_t limit_bytes,
		     struct hm_ledger_file *ret_ledger)
{
	const int saved_errno = errno;
	struct hm_ledger_file *const ledger = ret_ledger;

	limit_bytes = round_up(limit_bytes, PAGE_BYTES);
	if (limit_bytes < FIRST_GRANT_BYTES)
		limit_bytes = FIRST_GRANT_BYTES;
	atomic_init(&ledger->limit_bytes, limit_bytes);
	atomic_init(&ledger->growing, 0);
	atomic_init(&ledger->refused_ticks, 0);
	ledger->descriptor = -1;

	const int error = create_file(directory, comm, pid, ledger);

	if (error != 0) {
		ledger->path[0] = '\0';
		ledger->descriptor = -1;
		ledger->base = hm_memory_map(limit_bytes);
	}
	if (ledger->base != NULL)
		lay_out(ledger, error == 0 ? FIRST_GRANT_BYTES : limit_bytes);
	errno = saved_errno;
	return error;
}

/* Under growth_begin, or by the only thread there is. */
static bool cut(struct hm_ledger_file *ledger)
{
	/* relaxed: see grow_to */
	const uint64_t granted =
		atomic_load_explicit(&hm_ledger_header(ledger)->granted_bytes, memory_order_relaxed);
	const uint64_t limit_bytes = limit_of(ledger);

	if (granted >= limit_bytes)
		return false;
	atomic_store_explicit(&ledger->limit_bytes, granted, memory_order_relaxed);
	(void)munmap(ledger->base + granted, limit_bytes - granted);
	return true;
}

bool hm_ledger_cut(struct hm_ledger_file *ledger)
{
	const int saved_errno = errno;
	struct hm_signals_saved saved;
	bool is_cut = false;

	hm_signals_block(&saved);
	if (growth_begin(ledger)) {
		is_cut = cut(ledger);
		growth_end(ledger);
	}
	hm_signals_restore(&saved);
	errno = saved_errno;
	return is_cut;
}

void hm_ledger_detach(struct hm_ledger_file *ledger)
{
	const int saved_errno = errno;

	(void)cut(ledger); /* whoever was growing it did so in the parent */
	if (hm_ledger_has_descriptor(ledger) &&
	    mmap(ledger->base, limit_of(ledger), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, ledger->descriptor, 0) == ledger->base) {
		hm_ledger_close_descriptor(ledger);
		ledger->path[0] = '\0'; /* neither grown nor removed */
	}
	errno = saved_errno;
}

void hm_ledger_close_descriptor(struct hm_ledger_file *ledger)
{
	const int saved_errno = errno;

	/* Raw: close() is a cancellation point, and fork is none. */
	if (hm_ledger_has_descriptor(ledger))
		(void)syscall(SYS_close, ledger->descriptor);
	ledger->descriptor = -1;
	errno = saved_errno;
}

void hm_ledger_remove(struct hm_ledger_file *ledger)
{
	const int saved_errno = errno;

	if (hm_may(HM_MAY_REMOVE) && path_is_ours(ledger))
		(void)unlink(ledger->path);
	errno = saved_errno;
}
