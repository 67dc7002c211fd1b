// SPDX-License-Identifier: Apache-2.0
#include "preload/exit_writer.h"

#include "preload/float.h"
#include "preload/image.h"
#include "preload/ledger_file.h"
#include "preload/process.h"
#include "preload/sandbox.h"
#include "preload/say.h"
#include "proto/elf_symbols.h"
#include "proto/ledger.h"
#include "proto/profile_write.h"
#include "proto/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COMMENT_BYTES = 128, COMMENTS_MAX = 2 };

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* From the file where we still have it, for reading memory behind a file that was cut off would fault. */
static struct hm_source source_of(const struct hm_ledger_file *ledger)
{
	struct hm_source source;
	/* relaxed: what is granted stays granted, and the limit is never less */
	uint64_t length_bytes =
		atomic_load_explicit(&hm_ledger_header(ledger)->granted_bytes, memory_order_relaxed);
	const uint64_t limit_bytes = atomic_load_explicit(&ledger->limit_bytes, memory_order_relaxed);

	if (hm_ledger_has_descriptor(ledger) && hm_source_from_descriptor(ledger->descriptor, &source) == 0)
		return source;
	if (length_bytes > limit_bytes)
		length_bytes = limit_bytes;
	return hm_source_from_memory(ledger->base, length_bytes);
}

static int take_snapshot(const struct hm_ledger_file *ledger, struct hm_snapshot *ret_snapshot)
{
	const struct hm_source source = source_of(ledger);
	const struct hm_snapshot_options options = {
		.realtime_ns = now_ns(CLOCK_REALTIME),
		.monotonic_ticks = hm_process_ticks(),
		.ages = true,
	};

	return hm_snapshot_take(&source, &options, ret_snapshot, NULL);
}

/* "VmRSS:	  1234 kB" in /proc/self/status; 0: not there. */
static uint64_t status_kib(const char *status, const char *key)
{
	const char *const line = strstr(status, key);

	return line == NULL ? 0 : strtoull(line + strlen(key), NULL, 10);
}

/* How much memory the process has, for whoever compares it with the figures; needs /proc. */
static size_t describe_memory(char comments[COMMENTS_MAX][COMMENT_BYTES])
{
	char status[4096];
	const int descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	if (descriptor < 0)
		return 0;

	const ssize_t length = read(descriptor, status, sizeof(status) - 1);

	(void)close(descriptor);
	status[length > 0 ? length : 0] = '\0';

	const uint64_t resident_kib = status_kib(status, "\nVmRSS:");
	const uint64_t peak_kib = status_kib(status, "\nVmHWM:");

	if (resident_kib == 0)
		return 0;
	(void)hm_format(comments[0], COMMENT_BYTES,
			"resident memory: %" PRIu64 " MiB when this was written, %" PRIu64
			" MiB at its highest",
			resident_kib / 1024, peak_kib / 1024);
	(void)hm_format(comments[1], COMMENT_BYTES, "#heapmark.resident_bytes=%" PRIu64, resident_kib * 1024);
	return 2;
}

/*
 * As on disk; but a program that was removed or replaced since it started, or never had a name, is still to
 * be had as long as it runs.  Each try names every address anew, and where none succeeds, the first decides.
 */
static int resolve(void *unused, struct hm_arena *arena, const struct hm_snapshot_module *module,
		   const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		   enum hm_names_outcome *ret_outcome)
{
	int error = hm_elf_resolve_at(module->path, arena, module, addresses, count, ret_names, ret_outcome);

	(void)unused;
	if (error != 0 || *ret_outcome == HM_NAMES_FOUND || (module->flags & HM_MODULE_MAIN) == 0)
		return error;
	error = hm_elf_resolve_at("/proc/self/exe", arena, module, addresses, count, ret_names, ret_outcome);
	if (error != 0 || *ret_outcome == HM_NAMES_FOUND)
		return error;
	return hm_elf_resolve_at(module->path, arena, module, addresses, count, ret_names, ret_outcome);
}

static int write_profile(const struct hm_snapshot *snapshot, const char *path)
{
	char texts[COMMENTS_MAX][COMMENT_BYTES];
	const char *const comments[COMMENTS_MAX] = { texts[0], texts[1] };
	const struct hm_profile_options options = {
		.resolver = { .resolve = resolve },
		.producer = "libheapmark " HM_VERSION,
		.comments = comments,
		.comment_count = describe_memory(texts),
	};

	return hm_profile_write_file(snapshot, &options, path, HM_OUTPUT_NEW, NULL);
}

/* Where it is the last, the ledger's descriptor is given up when it has been read: it may be the only one. */
static int make_profile(struct hm_ledger_file *ledger, const char *path, bool is_last)
{
	struct hm_snapshot snapshot;
	const uint32_t saved = hm_float_enter(); /* variances are added up */
	int error = take_snapshot(ledger, &snapshot);

	if (error == 0) {
		if (is_last)
			hm_ledger_close_descriptor(ledger);
		error = write_profile(&snapshot, path);
		hm_snapshot_done(&snapshot);
	}
	hm_float_leave(saved);
	return error;
}

int hm_exit_dump(struct hm_ledger_file *ledger, const char *path)
{
	return make_profile(ledger, path, false);
}

/* heapmark.x.1.ledger -> heapmark.x.1.pb.gz */
static bool profile_path_of(const char *ledger_path, char *ret_path, size_t path_bytes)
{
	const size_t stem_length = strlen(ledger_path) - strlen(".ledger");

	return hm_format(ret_path, path_bytes, "%.*s.pb.gz", (int)stem_length, ledger_path);
}

static void turn_into_profile(struct hm_ledger_file *ledger, const struct hm_image *image)
{
	const uint32_t pid = hm_ledger_header(ledger)->pid;
	const bool is_removed = hm_ledger_is_removed(ledger);
	char path[PATH_MAX];
	const int error = profile_path_of(ledger->path, path, sizeof(path)) ? make_profile(ledger, path, true)
									    : -ENAMETOOLONG;

	if (error != 0 && is_removed) {
		hm_say("%s[%" PRIu32 "]: cannot write %s (%s); the figures are lost, %s was removed",
		       image->comm, pid, path, hm_error_text(-error), ledger->path);
		return;
	}
	if (error != 0) {
		hm_say("%s[%" PRIu32 "]: cannot write %s (%s); the figures are in %s: heapmark dump %s",
		       image->comm, pid, path, hm_error_text(-error), ledger->path, ledger->path);
		return;
	}
	hm_ledger_remove(ledger);
	if (image->config.verbose)
		hm_say("%s[%" PRIu32 "]: wrote %s", image->comm, pid, path);
}

static void leave_ledger(const struct hm_ledger_file *ledger, const struct hm_image *image)
{
	hm_say("%s[%" PRIu32 "]: its seccomp filter forbids what writing a profile takes; the figures are in "
	       "%s: heapmark dump %s",
	       image->comm, hm_ledger_header(ledger)->pid, ledger->path, ledger->path);
}

void hm_exit_write(struct hm_ledger_file *ledger, const struct hm_image *image)
{
	struct hm_ledger_header *const header = hm_ledger_header(ledger);

	if (ledger->path[0] == '\0')
		return; /* there never was a place to write to, and that was said at the start */
	/* relaxed: read by those who see HM_LEDGER_FINISHED.  Coarse, to 4 ms: never a system call. */
	atomic_store_explicit(&header->end_realtime_ns, now_ns(CLOCK_REALTIME_COARSE), memory_order_relaxed);
	atomic_store_explicit(&header->state, HM_LEDGER_FINISHED, memory_order_release);
	if (atomic_load_explicit(&header->has_samples, memory_order_relaxed) == 0) {
		hm_ledger_remove(ledger);
		if (image->config.verbose)
			hm_say("%s[%" PRIu32 "]: nothing was sampled", image->comm, header->pid);
	} else if (atomic_load_explicit(&header->control_supervised, memory_order_relaxed) != 0) {
		return;
	} else if (hm_may(HM_MAY_WRITE_PROFILE)) {
		turn_into_profile(ledger, image);
	} else {
		leave_ledger(ledger, image);
	}
}
